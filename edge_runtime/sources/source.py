"""What a source of frames promises: the seam between the loop and folders, cameras, files and streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.image_reading import decode_image
from edge_runtime.watching.events import ComponentHealth

SOURCE_COMPONENT = "source"
"""The component under which a source's health is reported."""


Picture = Image.Image | np.ndarray
"""A decoded frame: a Pillow image, or an array (H, W) or (H, W, 3) RGB, uint8.

An array stays one: copying a camera's frames into Pillow and back would cost more than a small model.
"""


@dataclass(frozen=True)
class Frame:
    """One picture as it came.

    Attributes:
        name: Which frame: a file's path, or such as "frame 4711".
        content: The bytes of an image file, not decoded yet; or an array (H, W) or (H, W, 3) RGB, uint8.
        problem: Why the source knows already that this is no picture; empty for all others.
        picture: What `decode` returns, where the source has decoded it already.
    """

    name: str
    content: bytes | np.ndarray
    problem: str = ""
    picture: Picture | None = None

    def decode(self) -> Picture:
        """Return the picture: of a file mode "L" or "RGB", of a camera the array as it is.

        Raises:
            ImageError: It is no picture; the text names the frame.
        """
        if self.problem:
            raise ImageError(self.problem)
        if self.picture is not None:
            return self.picture
        if isinstance(self.content, bytes):
            return decode_image(self.content, f"Image '{self.name}'")
        return self.content


class Source(Protocol):
    """Somewhere that frames come from. Used by one thread; an outage is a state of `health`, never an exception."""

    @property
    def name(self) -> str:
        """As the user named it, with passwords left out."""

    @property
    def dropped(self) -> int:
        """Frames that came while the loop was busy and were passed over for newer ones."""

    @property
    def exhausted(self) -> bool:
        """Whether no frame will ever come again: the end of a video file, or of a folder that was to be read once."""

    def start(self) -> None:
        """Begin to watch or to record.

        Raises:
            SourceError: What the user named can never work, such as a video file that does not exist.
            MissingExtraError: A package is not installed.
        """

    def next_frame(self, timeout_seconds: float) -> Frame | None:
        """Return the next frame, or None if none came within the time."""

    def give_back(self) -> None:
        """Take it that the latest frame was not dealt with: what is kept over a restart does not name it."""

    def health(self) -> ComponentHealth:
        """How the source does now; its component is `SOURCE_COMPONENT`."""

    def close(self) -> None:
        """Release camera, files and threads. Never raises."""
