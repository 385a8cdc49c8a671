"""Keeps the files of a folder of evidence within a size budget: the oldest go first."""

from __future__ import annotations

import os
import re
from collections import deque
from contextlib import suppress
from pathlib import Path

# Only what bears such a name is ever removed: a user's own files in the folder are not touched.
_OWN_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z_\d{6,}_(anomalous|blind|good)(_heatmap)?\.(jpg|json)")
_OWN_LEFTOVER = re.compile(
    r"\.\d{8}T\d{6}\.\d{3}Z_\d{6,}_(anomalous|blind|good)(_heatmap)?\.\d+-[0-9a-f]{8}\.part\.(jpg|json)"
)


class EvidenceFolder:
    """The files that an evidence sink has written into a folder, oldest first.

    Args:
        path: The folder. It need not exist yet.
        max_bytes: How large all own files together may become.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._files: deque[tuple[str, int]] = deque()
        self.size_bytes = 0
        self._is_read = False

    def prepare(self) -> None:
        """Make the folder, and once read what earlier processes left in it.

        Raises:
            OSError: It cannot be made or read.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self._is_read:
            return
        sizes: dict[str, int] = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if _OWN_LEFTOVER.fullmatch(entry.name):
                    with suppress(OSError):
                        Path(entry.path).unlink()
                elif _OWN_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
        self._files = deque(sorted(sizes.items()))
        self.size_bytes = sum(sizes.values())
        self._is_read = True

    def add(self, name: str) -> None:
        """Count a file that was just written, and remove the oldest until all fit into the budget.

        Raises:
            OSError: A file cannot be read or removed.
        """
        size = (self.path / name).stat().st_size
        self._files.append((name, size))
        self.size_bytes += size
        while self.size_bytes > self._max_bytes and len(self._files) > 1:
            self.remove_oldest()

    def remove_oldest(self, not_of: str = "") -> bool:
        """Remove the oldest own file, also to make room on a full disk.

        Args:
            not_of: Name of a file that room is made for; others of the same frame stay.

        Returns:
            Whether there was one.

        Raises:
            OSError: It cannot be removed.
        """
        if not self._files or (not_of and _frame(self._files[0][0]) == _frame(not_of)):
            return False
        name, size = self._files[0]
        (self.path / name).unlink(missing_ok=True)
        self._files.popleft()
        self.size_bytes -= size
        return True


def _frame(name: str) -> str:
    """Return what the names of a frame's files have in common: time and number."""
    return "_".join(name.split("_")[:2])
