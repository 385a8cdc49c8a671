"""What of a frame is judged: a region of interest, turned upright."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import Image

from edge_runtime.errors import ImageError, OptionError

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

    def of(self, frame: Image.Image, name: str = "The frame") -> Image.Image:
        """Return the part of a frame that is judged.

        Raises:
            ImageError: The region does not lie in the frame.
        """
        if self.region is not None:
            left, top, width, height = self.region
            if left + width > frame.width or top + height > frame.height:
                raise ImageError(
                    f"{name} has {frame.width} x {frame.height} pixels; --roi {left},{top},{width},{height} does not "
                    "lie in it."
                )
            frame = frame.crop((left, top, left + width, top + height))
        if self.rotate_degrees:
            frame = frame.transpose(_TURNS[self.rotate_degrees])
        return frame


def parse_region(text: str) -> tuple[int, int, int, int]:
    """Return the region that "X,Y,WIDTH,HEIGHT" names.

    Raises:
        OptionError: It is not four whole numbers.
    """
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*", text)
    if match is None:
        raise OptionError(f"--roi is '{text}'; X,Y,WIDTH,HEIGHT in pixels was expected, such as 100,0,640,480.")
    left, top, width, height = map(int, match.groups())
    return left, top, width, height
