"""Keeps TensorFlow's own log lines away from the user's terminal.

TensorFlow and its converter write from C++ to file descriptor 2, past `sys.stderr` and past Python's logging, so the
descriptor itself is pointed at a temporary file while they work.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO


@dataclass(frozen=True)
class TensorFlowLog:
    """What TensorFlow wrote while it was kept quiet."""

    file: IO[bytes]

    def last_lines(self, count: int = 1) -> list[str]:
        """The last non-empty lines, for an error message."""
        self.file.seek(0)
        lines = self.file.read().decode(errors="replace").splitlines()
        return [line.strip() for line in lines if line.strip()][-count:]


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[TensorFlowLog]:
    """Swallows everything written to standard error, from Python and from C++, while the block runs.

    Do not report progress inside the block: it would be swallowed too.
    """
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    with tempfile.TemporaryFile() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(file.fileno(), 2)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield TensorFlowLog(file)
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def import_quietly() -> None:
    """Imports TensorFlow without the lines that it writes when it starts, and keeps it at errors from then on.

    Costs nothing when it is imported already. Whoever wants its log sets TF_CPP_MIN_LOG_LEVEL.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with quiet_tensorflow():
        import tensorflow  # noqa: F401
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its advice on tracing is not for our users
