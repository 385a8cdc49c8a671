"""Errors of the export, all of them caught by the command line as one line.

TfganomalyError
└── ExportError        the run cannot be exported, or the exported file is not what it should be
    └── ParityError    the exported file scores differently from the run by more than was allowed
"""

from __future__ import annotations

from pathlib import Path

from edge_runtime.errors import TfganomalyError


class ExportError(TfganomalyError):
    """The export cannot be done; no artefact was written and a previous one is untouched."""


class ParityError(ExportError):
    """The exported file drifted from the run past the stated bound; the report was kept.

    Attributes:
        report_path: The parity report (HTML) that shows the drift.
    """

    def __init__(self, message: str, report_path: Path) -> None:
        super().__init__(message)
        self.report_path = report_path
