"""Shows how a capture goes on, on standard error."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from time import monotonic
from typing import TextIO

from edge_runtime.printable_text import printable

_LINE_EVERY_SECONDS = 10.0


class CaptureConsole:
    """On a terminal one progress line that is written anew; elsewhere, as in a log, a line every ten seconds.

    Args:
        stream: Where to write; None, as a closed standard error is: nowhere.
        clock: Seconds that only grow.
    """

    def __init__(self, stream: TextIO | None = sys.stderr, clock: Callable[[], float] = monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_terminal = stream is not None and stream.isatty()
        self._width = 0  # of the progress line that the cursor stands in
        self._next_line_seconds = float("-inf")

    def progress(self, line: str) -> None:
        """Show how far it is."""
        if not self._is_terminal:
            now_seconds = self._clock()
            if now_seconds >= self._next_line_seconds:
                self._next_line_seconds = now_seconds + _LINE_EVERY_SECONDS
                self.say(line)
            return
        line = printable(line)[: shutil.get_terminal_size().columns - 1]
        self._write(f"\r{line:{self._width}}")
        self._width = len(line)

    def say(self, line: str) -> None:
        """Show a line that stays."""
        self.end_progress()
        self._write(f"{printable(line)}\n")

    def end_progress(self) -> None:
        """Leave the progress line as it is; what is written next stands below."""
        if self._width:
            self._write("\n")
        self._width = 0

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()
