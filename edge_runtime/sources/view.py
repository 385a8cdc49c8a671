"""What of a frame is judged: a region of interest, turned upright."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from edge_runtime.errors import ImageError, OptionError
from edge_runtime.sources.source import Picture

ROTATIONS = (0, 90, 180, 270)
_TURNS = {
    90: Image.Transpose.ROTATE_270,  # Pillow turns the other way round
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class View:
    """A part of the camera's picture.

    Attributes:
        region: (left, top, width, height) in pixels of the frame as it comes; None for all of it.
        rotate_degrees: Turned so far clockwise, after the region was cut out: 0, 90, 180 or 270.

    Raises:
        OptionError: A value is impossible.
    """

    region: tuple[int, int, int, int] | None = None
    rotate_degrees: int = 0

    def __post_init__(self) -> None:
        if self.rotate_degrees not in ROTATIONS:
            raise OptionError(f"--rotate is {self.rotate_degrees}; expected one of {ROTATIONS}.")
        if self.region is not None and (min(self.region) < 0 or min(self.region[2:]) < 1):
            raise OptionError(
                f"--roi is {self.region}; X,Y,WIDTH,HEIGHT in pixels, the last two above 0, was expected."
            )

    def of(self, frame: Picture, name: str = "") -> Picture:
        """Return the part of a frame that is judged.

        Args:
            frame: The whole frame.
            name: Which frame, for errors.

        Raises:
            ImageError: The region does not lie in the frame.
        """
        if self.region is not None:
            frame = self._cut_out(frame, self.region, name)
        if not self.rotate_degrees:
            return frame
        if isinstance(frame, np.ndarray):
            return np.ascontiguousarray(np.rot90(frame, -self.rotate_degrees // 90))  # numpy turns the other way too
        return frame.transpose(_TURNS[self.rotate_degrees])

    @staticmethod
    def _cut_out(frame: Picture, region: tuple[int, int, int, int], name: str) -> Picture:
        left, top, width, height = region
        size = (frame.shape[1], frame.shape[0]) if isinstance(frame, np.ndarray) else frame.size
        frame_width, frame_height = size
        if left + width > frame_width or top + height > frame_height:
            which = f"Image '{name}'" if name else "The frame"
            raise ImageError(
                f"{which} has {frame_width} x {frame_height} pixels; --roi {left},{top},{width},{height} does not "
                "lie in it."
            )
        if isinstance(frame, np.ndarray):
            return np.ascontiguousarray(frame[top : top + height, left : left + width])
        return frame.crop((left, top, left + width, top + height))


def parse_region(text: str) -> tuple[int, int, int, int]:
    """Return the region that "X,Y,WIDTH,HEIGHT" names.

    Raises:
        OptionError: It is not four whole numbers.
    """
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*", text)
    if match is None:
        raise OptionError(f"--roi is '{text}'; X,Y,WIDTH,HEIGHT in pixels was expected, such as 80,0,480,480.")
    left, top, width, height = map(int, match.groups())
    return left, top, width, height
