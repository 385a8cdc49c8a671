"""Disturbs good images locally, as stand-ins for the defects that export never sees.

An int8 model must follow the float model where it matters most: on images unlike those it was trained on.
Ranges taken from good images alone clip the large activations of a defect, and on solar cells such a model's
scores correlate with the float model's by 0.87 instead of 0.999.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np

from edge_runtime.preprocessing import scale_pixels, unscale_pixels

# Semi-axes of a disturbed ellipse, as shares of the image's height.
_SEMI_AXIS_RANGE = (0.05, 0.45)
_BRIGHTNESS_STEP_RANGE = (0.3, 1.6)
_MOST_ELLIPSES = 3


class Purpose(IntEnum):
    """What disturbed copies are for. Each has its own random numbers: a file is not judged on what it was tuned on."""

    RANGES = 1
    AGREEMENT = 2
    THRESHOLD = 3
    COMPARISON = 4


def disturb_images(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paints one to three ellipses into each image.

    Each ellipse is filled with a turned part of another image of the batch, or made brighter or darker.

    Args:
        images: float32 `(B, H, W, C)` in [-1, 1].
        rng: Source of every random choice.

    Returns:
        New float32 `(B, H, W, C)` in [-1, 1].
    """
    disturbed = images.copy()
    for image in disturbed:
        _disturb(image, images.__getitem__, len(images), rng)
    return disturbed


def with_disturbed(images: np.ndarray, seed: int, purpose: Purpose) -> np.ndarray:
    """Returns the images followed by one disturbed copy of each: float32 `(2 B, H, W, C)`."""
    return np.concatenate([images, disturb_images(images, np.random.default_rng((seed, purpose)))])


def with_disturbed_pixels(pixels: np.ndarray, seed: int, purpose: Purpose) -> np.ndarray:
    """Does the same as `with_disturbed`, to the bit, with no more than two images as floats in memory.

    Args:
        pixels: uint8 `(B, H, W, C)`.
        seed: Decides the disturbances, together with `purpose`.
        purpose: What the copies are for.

    Returns:
        uint8 `(2 B, H, W, C)`, the images followed by one disturbed copy of each.
    """
    rng = np.random.default_rng((seed, purpose))
    both = np.concatenate([pixels, pixels])
    for copy in both[len(pixels) :]:
        image = scale_pixels(copy)
        _disturb(image, lambda index: scale_pixels(pixels[index]), len(pixels), rng)
        copy[:] = unscale_pixels(image)
    return both


def _disturb(
    image: np.ndarray, read_original: Callable[[int], np.ndarray], num_originals: int, rng: np.random.Generator
) -> None:
    """Paints the ellipses into one image, float32 `(H, W, C)`, in place; they may be taken from any original."""
    height, width, _ = image.shape
    rows, columns = np.mgrid[:height, :width]
    for _ in range(rng.integers(1, _MOST_ELLIPSES + 1)):
        along, across = rng.uniform(*_SEMI_AXIS_RANGE, 2) * height
        angle, row, column = rng.uniform(0, np.pi), rng.uniform(0, height), rng.uniform(0, width)
        u = (columns - column) * np.cos(angle) + (rows - row) * np.sin(angle)
        v = (rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)
        inside = (u / along) ** 2 + (v / across) ** 2 < 1
        if rng.random() < 0.5:
            other = read_original(int(rng.integers(num_originals)))
            image[inside] = other[::-1, ::-1][inside]  # half a turn, which fits any aspect ratio
        else:
            step = rng.uniform(*_BRIGHTNESS_STEP_RANGE) * rng.choice([-1.0, 1.0])
            image[inside] = np.clip(image[inside] + step, -1.0, 1.0)
