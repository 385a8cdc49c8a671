"""The exceptions that every part of the project raises for input it cannot use.

    TfganomalyError                 root of all; its text is the one line that a user reads
    ├── ImageError                  an image cannot be read, or has a shape or type that is not understood
    ├── MetadataError               a stored setting (such as the resize rule) is missing or impossible
    ├── ArtefactError               a .tflite file is damaged, foreign, incomplete or too new
    ├── BackendError                no interpreter is installed, or it cannot run the model
    │   └── DeviceError             an Edge TPU was asked for and cannot be used; `details` is the diagnosis
    ├── CalibrationError            the good images give no usable threshold
    ├── OutputError                 a file cannot be written
    ├── OptionError                 an option has a value that cannot work; names the flag
    ├── MissingExtraError           an optional package is not installed
    ├── SourceError                 a source of frames cannot be used as it was given
    ├── SinkError                   a sink of events cannot be used as it was given
    └── ServeError                  the HTTP service cannot be started as it was asked for

The command line prints `str(error)` as one line and ends with exit code 2. The packages above this one derive
their own errors from `TfganomalyError`.
"""


class TfganomalyError(Exception):
    """Root of the project's errors. The text says what came, what was expected and what to do."""


class ImageError(TfganomalyError):
    """An image cannot be read, or its shape, type or value range is not understood."""


class MetadataError(TfganomalyError, ValueError):
    """A setting that describes a model is missing, has the wrong type or an impossible value."""


class ArtefactError(TfganomalyError):
    """A `.tflite` file is missing, damaged, without metadata, or written by a newer version."""


class BackendError(TfganomalyError):
    """No TFLite interpreter is installed, or the interpreter cannot load or run the model."""


class DeviceError(BackendError):
    """An Edge TPU was asked for and cannot be used.

    Args:
        message: One line.
        details: A block of several lines: what was found on this machine, and what to do.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class CalibrationError(TfganomalyError):
    """The scores of the good images give no usable threshold."""


class OutputError(TfganomalyError):
    """A file cannot be written: no space, no permission, no such folder."""


class OptionError(TfganomalyError):
    """An option has a value of the wrong type or outside its bounds."""


class MissingExtraError(TfganomalyError):
    """A package of an optional extra is not installed."""


class SourceError(TfganomalyError):
    """A source of frames cannot be used as it was given: a wrong name, a missing file. Not for an outage."""


class SinkError(TfganomalyError):
    """A sink of events cannot be used as it was given: a wrong address, a bad credentials file. Not for an outage."""


class ServeError(TfganomalyError):
    """The HTTP service cannot be started as it was asked for: the port is taken, or a token is missing."""
