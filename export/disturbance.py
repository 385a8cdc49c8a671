"""Disturbs good images locally, as stand-ins for the defects that export never sees.

An int8 model must follow the float model where it matters most: on images unlike those it was trained on.
Ranges taken from good images alone clip the large activations of a defect, and on solar cells such a model's
scores correlate with the float model's by 0.87 instead of 0.999.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from edge_runtime.preprocessing import unscale_pixels
from export.lazy_images import LazyImages, scaled

# Semi-axes of a disturbed ellipse, as shares of the image's height.
_SEMI_AXIS_RANGE = (0.05, 0.45)
_BRIGHTNESS_STEP_RANGE = (0.3, 1.6)
_MOST_ELLIPSES = 3


class Purpose(IntEnum):
    """What disturbed copies are for. Each has its own random numbers: those that tune a file do not judge it."""

    RANGES = 1
    AGREEMENT = 2
    THRESHOLD = 3
    COMPARISON = 4


class _Ellipse(NamedTuple):
    """What is painted, drawn before any image is looked at.

    Attributes:
        along: Semi-axis in pixels, turned by `angle`; `across` is the other one.
        angle: In radians.
        row, column: The centre in pixels.
        filled_from: Number of the image that fills it; None where brightness changes.
        brightness_step: What is added otherwise, in [-1.6, 1.6].
    """

    along: float
    across: float
    angle: float
    row: float
    column: float
    filled_from: int | None
    brightness_step: float


def disturb_images(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paints one to three ellipses into each image.

    Each ellipse is filled with a turned part of another image of the batch, or made brighter or darker.

    Args:
        images: float32 `(B, H, W, C)` in [-1, 1].
        rng: Source of every random choice.

    Returns:
        New float32 `(B, H, W, C)` in [-1, 1].
    """
    ellipses = [_draw_ellipses(images.shape, rng) for _ in images]
    return np.stack([_painted(images.__getitem__, index, drawn) for index, drawn in enumerate(ellipses)])


def with_disturbed(pixels: np.ndarray, seed: int, purpose: Purpose) -> LazyImages:
    """Return images followed by one disturbed copy of each.

    Args:
        pixels: uint8 `(B, H, W, C)`.
        seed: Decides the disturbances, together with `purpose`.
        purpose: What the copies are for.

    Returns:
        2 B images in [-1, 1], painted when they are read.
    """
    rng = np.random.default_rng((seed, purpose))
    ellipses = [_draw_ellipses(pixels.shape, rng) for _ in pixels]
    originals = scaled(pixels)

    def read_original(index: int) -> np.ndarray:
        return originals[index : index + 1][0]

    def make(index: int) -> np.ndarray:
        number = index - len(pixels)
        return read_original(index) if number < 0 else _painted(read_original, number, ellipses[number])

    return LazyImages(2 * len(pixels), make)


def with_disturbed_pixels(pixels: np.ndarray, seed: int, purpose: Purpose) -> np.ndarray:
    """Does the same as `with_disturbed`, rounded to whole grey levels: uint8 `(2 B, H, W, C)`."""
    images = with_disturbed(pixels, seed, purpose)
    both = np.concatenate([pixels, pixels])
    for index in range(len(pixels), len(both)):
        both[index] = unscale_pixels(images[index : index + 1][0])
    return both


def _draw_ellipses(images_shape: Sequence[int], rng: np.random.Generator) -> list[_Ellipse]:
    """Draws the ellipses of one of the images of shape (B, H, W, C), which they may be filled from."""
    num_images, height, width, _ = images_shape
    ellipses = []
    for _ in range(rng.integers(1, _MOST_ELLIPSES + 1)):
        along, across = rng.uniform(*_SEMI_AXIS_RANGE, 2) * height
        angle, row, column = rng.uniform(0, np.pi), rng.uniform(0, height), rng.uniform(0, width)
        filled_from, step = None, 0.0
        if rng.random() < 0.5:
            filled_from = int(rng.integers(num_images))
        else:
            step = rng.uniform(*_BRIGHTNESS_STEP_RANGE) * rng.choice([-1.0, 1.0])
        ellipses.append(_Ellipse(along, across, angle, row, column, filled_from, step))
    return ellipses


def _painted(read_original: Callable[[int], np.ndarray], number: int, ellipses: Sequence[_Ellipse]) -> np.ndarray:
    """Return a copy of an original, float32 `(H, W, C)`, with ellipses painted into it."""
    image = read_original(number).copy()
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    for ellipse in ellipses:
        cosine, sine = np.cos(ellipse.angle), np.sin(ellipse.angle)
        u = (columns - ellipse.column) * cosine + (rows - ellipse.row) * sine
        v = (rows - ellipse.row) * cosine - (columns - ellipse.column) * sine
        inside = (u / ellipse.along) ** 2 + (v / ellipse.across) ** 2 < 1
        if ellipse.filled_from is not None:
            other = read_original(ellipse.filled_from)
            image[inside] = other[::-1, ::-1][inside]  # half a turn, which fits any aspect ratio
        else:
            image[inside] = np.clip(image[inside] + ellipse.brightness_step, -1.0, 1.0)
    return image
