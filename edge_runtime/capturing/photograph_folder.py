"""Writes photographs into a folder: lossless, under names that sort by time, never over another file."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import Image

from edge_runtime.atomic_files import atomic_path, output_error
from edge_runtime.errors import OutputError
from edge_runtime.watching.events import compact_milliseconds

_ORIGINAL_CHARACTERS = 50  # of up to 4 bytes; a name may have 255 bytes
_PNG_COMPRESSION = 1  # of a noisy frame a fifth larger than Pillow's 6, in a quarter of the time


class PhotographFolder:
    """A folder of photographs `TIME_NUMBER.png`, or `TIME_NUMBER_ORIGINAL.png`; what it holds already stays.

    Args:
        path: The folder. It need not exist yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._number = 0

    def prepare(self) -> None:
        """Make the folder, with its parents, if it does not exist.

        Raises:
            OutputError: It is a file, or cannot be made.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"'{self.path}' is a file; a folder for photographs was expected.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(self.path, error) from error

    def save(self, pixels: np.ndarray, time: datetime, original: str = "") -> Path:
        """Write one photograph.

        Args:
            pixels: uint8, grey (H, W), which stays grey, or RGB (H, W, 3).
            time: When it was taken, aware, UTC.
            original: The name, without suffix, of the file that it was taken from; of a long one the beginning is kept.

        Returns:
            The file.

        Raises:
            OutputError: It cannot be written.
        """
        target = self._free_path(time, f"_{original[:_ORIGINAL_CHARACTERS]}" if original else "")
        image = Image.fromarray(pixels)
        with atomic_path(target) as temporary:
            image.save(temporary, compress_level=_PNG_COMPRESSION)
        return target

    def _free_path(self, time: datetime, ending: str) -> Path:
        while True:
            self._number += 1
            path = self.path / f"{compact_milliseconds(time)}_{self._number:06d}{ending}.png"
            if not os.path.lexists(path):
                return path
