"""Images as floats that are made when they are read: those of a whole data set never are in memory at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from edge_runtime.preprocessing import scale_pixels


class ImageSequence(Protocol):
    """What ranges are observed on: an array, or `LazyImages`."""

    def __len__(self) -> int:
        """How many images there are."""

    def __getitem__(self, part: slice, /) -> np.ndarray:
        """Return some of them: float32 `(B, H, W, C)`."""


class LazyImages:
    """Images that are made anew each time.

    Args:
        count: How many there are.
        make: Makes the image of a number in 0 .. count - 1: float32 `(H, W, C)`. The same one each time.
    """

    def __init__(self, count: int, make: Callable[[int], np.ndarray]) -> None:
        self._count = count
        self._make = make

    def __len__(self) -> int:
        """How many images there are."""
        return self._count

    def __getitem__(self, part: slice, /) -> np.ndarray:
        """Make some of them: float32 `(B, H, W, C)`; an empty part is refused with a ValueError."""
        return np.stack([self._make(index) for index in range(*part.indices(self._count))])

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> LazyImages:
        """Return the same images with a change to each, which is given one `(H, W, C)` and returns another."""
        return LazyImages(self._count, lambda index: change(self._make(index)))


def scaled(pixels: np.ndarray) -> LazyImages:
    """Return uint8 `(B, H, W, C)` as floats in [-1, 1]."""
    return LazyImages(len(pixels), lambda index: scale_pixels(pixels[index]))
