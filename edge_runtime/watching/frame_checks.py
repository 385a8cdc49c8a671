"""Tells a camera that has gone blind: a frozen, black or overexposed picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edge_runtime.sources.source import Picture

SAMPLE_SIDE_PX = 16
BLACK_UP_TO = 12
WHITE_FROM = 250
LARGEST_SHARE_SEEING = 0.02
"""A picture is blind when at most this share of its sampled pixels is not black, or not white."""

_BLACK = bytes(range(BLACK_UP_TO + 1))
_WHITE = bytes(range(WHITE_FROM, 256))
_BLACK_OR_WHITE = _BLACK + _WHITE
_FIRST_LOOK = 128
_SMALL_FRAME = 4096  # values


class FrameChecks:
    """Looks at a sample of each frame's pixels; costs microseconds whatever the frame's size.

    Args:
        frozen_frames: So many equal frames in a row are a frozen picture, 2 or more. No camera gives the same noise
            twice, and the sample takes single pixels, without averaging, so that noise shows.
        patience_frames: So many black or overexposed frames in a row until it is reported; a single one may be a flash.
    """

    def __init__(self, frozen_frames: int = 30, patience_frames: int = 3) -> None:
        self._frozen_frames = frozen_frames
        self._patience_frames = patience_frames
        self._latest = b""
        self._equal_frames = 1
        self._blind_frames = 0
        self.problem = ""

    def is_blind(self, frame: Picture) -> bool:
        """Look at the next frame.

        `problem` afterwards holds one line for people, or nothing when the camera sees.

        Args:
            frame: Grey or RGB, 8 bits.

        Returns:
            Whether this frame tells nothing about a part: black, overexposed, or one of a frozen series.
        """
        sample = _sample(frame)
        is_equal = sample == self._latest
        self._latest = sample
        if not is_equal and _num_seeing(sample[:_FIRST_LOOK]) > LARGEST_SHARE_SEEING * len(sample):
            self._equal_frames, self._blind_frames, self.problem = 1, 0, ""  # as nearly every frame is
            return False
        self._equal_frames = self._equal_frames + 1 if is_equal else 1
        darkness = _darkness(sample)
        self._blind_frames = self._blind_frames + 1 if darkness else 0
        is_frozen = self._equal_frames >= self._frozen_frames
        if darkness and self._blind_frames >= self._patience_frames:
            self.problem = darkness
        elif is_frozen:
            self.problem = f"The picture is frozen: {self._frozen_frames} or more frames in a row are equal."
        elif not darkness:
            self.problem = ""
        return bool(darkness) or is_frozen


def _num_seeing(sample: bytes) -> int:
    """Count the pixels that are neither black nor white: to delete some values from bytes is to count them."""
    return len(sample.translate(None, _BLACK_OR_WHITE))


def _darkness(sample: bytes) -> str:
    """Return what makes a picture blind, nothing if it is not."""
    seeing_up_to = LARGEST_SHARE_SEEING * len(sample)
    if _num_seeing(sample) > seeing_up_to:
        return ""
    if len(sample.translate(None, _BLACK)) <= seeing_up_to:
        return "The frames are black: the lamp or the camera is off, or the lens is covered."
    if len(sample.translate(None, _WHITE)) <= seeing_up_to:
        return "The frames are overexposed: check lamp and exposure."
    return ""


def _sample(frame: Picture) -> bytes:
    """Return the pixels of a small frame, and of a larger one single pixels, spread over it."""
    if isinstance(frame, np.ndarray):
        if frame.size <= _SMALL_FRAME:
            return frame.tobytes()  # quicker than to pick some
        height, width = frame.shape[:2]
        return frame[:: 1 + (height - 1) // SAMPLE_SIDE_PX, :: 1 + (width - 1) // SAMPLE_SIDE_PX].tobytes()
    size = (min(frame.width, SAMPLE_SIDE_PX), min(frame.height, SAMPLE_SIDE_PX))
    return frame.resize(size, Image.Resampling.NEAREST).tobytes()
