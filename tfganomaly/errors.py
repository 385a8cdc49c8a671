"""Errors of the training side: data, runs, training, missing extras.

Every one of them carries a single line that says what came, what was expected and what to do; the command
line prints that line and exits with code 2.

    TfganomalyError                 (edge_runtime.errors, the root of all of the project's errors)
    ├── ImageError, ArtefactError, BackendError, CalibrationError, OutputError,  (edge_runtime.errors)
    │   OptionError, MissingExtraError, SourceError, SinkError
    ├── DataError                   a data set is missing, empty, mixed up or damaged
    ├── RunError                    a run folder is missing, incomplete, occupied or of another kind
    ├── NotExportableError          the model cannot run as one graph on a device
    └── TrainingError               training cannot start or go on (options that do not fit, NaN loss)
"""

from edge_runtime.errors import MissingExtraError, OptionError, TfganomalyError

__all__ = [
    "DataError",
    "MissingExtraError",
    "NotExportableError",
    "OptionError",
    "RunError",
    "TfganomalyError",
    "TrainingError",
]


class DataError(TfganomalyError):
    """A data set is missing, empty, mixed up or damaged, or too small for what was asked."""


class RunError(TfganomalyError):
    """A run folder is missing, incomplete, already occupied or not a run at all."""


class NotExportableError(TfganomalyError):
    """A model has no inference graph, so it cannot be exported."""


class TrainingError(TfganomalyError):
    """Training cannot start or go on, for example because a loss became NaN."""
