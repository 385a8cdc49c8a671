"""The seam between the loop and hardware that takes pictures; tests put a fake in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np


class CameraLost(Exception):
    """A camera or stream gave no picture: unplugged, gone from the network, or never there. It is tried again."""


class EndOfVideo(Exception):
    """A video file has no further frame."""


class Camera(Protocol):
    """Something open that takes pictures."""

    def read(self) -> np.ndarray:
        """Wait for the next picture.

        Returns:
            uint8 (H, W, 3) in RGB order, or (H, W).

        Raises:
            CameraLost: None came within the camera's own time limit.
            EndOfVideo: None will come any more.
        """

    def close(self) -> None:
        """Release the hardware."""


class Video(Camera, Protocol):
    """An open video file."""

    @property
    def frame_rate(self) -> float:
        """Frames in a second, as the file says; 0 if it says nothing."""


CameraOpener = Callable[[], Camera]
"""Opens a camera. Raises `CameraLost` when it is not there now, `SourceError` or `MissingExtraError` when it never
will be.
"""

VideoOpener = Callable[[], Video]
"""Opens a video file. Raises `SourceError` or `MissingExtraError` when it cannot be read."""
