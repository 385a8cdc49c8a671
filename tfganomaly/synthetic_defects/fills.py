"""What a synthetic defect is filled with: another tone, texture, or a piece cut from elsewhere.

Images are float32 (H, W, C); a fill is what the image would look like if the defect covered all of it. Tones are in
units in which a usual image has a spread of 0.4 (see `edge_runtime.preprocessing`), and reach from barely visible
to plain.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from tfganomaly.synthetic_defects.shapes import log_uniform, smooth_noise

Fill = Callable[[np.random.Generator, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Called as `fill(rng, image, other_image, alpha)`; returns float32 (H, W, C)."""

_FAINTEST_STEP, _PLAINEST_STEP = 0.15, 1.3
_DARKER_SHARE = 0.6


def tone_step(rng: np.random.Generator, image: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The same texture, darker or brighter."""
    return image + _tone(rng, image)


def flat_tone(rng: np.random.Generator, image: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """One tone with at most a half of the texture left: what lies beneath, or a smear over it."""
    level = np.full(image.shape[2], rng.uniform(-1.2, 1.2), np.float32) + _tint(rng, image)
    return level + np.float32(rng.uniform(0, 0.5)) * (image - image.mean((0, 1)))


def contrast_change(rng: np.random.Generator, image: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The same texture, fainter or stronger: polished or rough."""
    mean = (image * alpha[:, :, np.newaxis]).sum((0, 1)) / np.float32(max(float(alpha.sum()), 1.0))  # (C,)
    gain = np.float32(rng.uniform(0.1, 0.6) if rng.random() < 0.5 else rng.uniform(1.5, 3))
    return mean + gain * (image - mean) + np.float32(rng.normal(0, 0.15))


def foreign_piece(rng: np.random.Generator, image: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A piece of another image, from another place of it."""
    shift = np.float32(rng.normal(0, 0.3)) if rng.random() < 0.5 else np.float32(0)
    return _moved(rng, other, 0) + shift


def displaced_piece(rng: np.random.Generator, image: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A piece of the same image from another place, often turned."""
    moved = _moved(rng, image, image.shape[0] // 8)
    turned = (moved, np.rot90(moved), moved[::-1], np.rot90(moved, 3))[rng.integers(4)]
    return turned + np.float32(rng.normal(0, 0.1))


def blurred(rng: np.random.Generator, image: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The image out of focus: a film over it, a polished place."""
    size = int(image.shape[0] * rng.uniform(0.016, 0.055))
    return ndimage.uniform_filter(image, (size, size, 1))


def grain(rng: np.random.Generator, image: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The image with a grain that it did not have: rough, dusty."""
    noise = smooth_noise(rng, int(image.shape[0] / rng.uniform(1.5, 8)), image.shape[0])
    return image + np.float32(log_uniform(rng, 0.15, 0.8)) * noise[:, :, np.newaxis]


def twisted(rng: np.random.Generator, image: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The image pulled aside by waves: bent, swollen."""
    side = image.shape[0]
    reach_px = side * rng.uniform(0.02, 0.06)
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    cells = int(rng.integers(6, 16))
    rows = np.clip(np.rint(rows + reach_px * smooth_noise(rng, cells, side)), 0, side - 1).astype(np.intp)
    columns = np.clip(np.rint(columns + reach_px * smooth_noise(rng, cells, side)), 0, side - 1).astype(np.intp)
    return image[rows, columns]


def weave(rng: np.random.Generator, image: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A regular pattern over the image: a print, an imprint of a tool."""
    side = image.shape[0]
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    angle, period_px = rng.uniform(0, np.pi), side * rng.uniform(0.015, 0.05)
    waves: np.ndarray = np.sin((columns * np.cos(angle) + rows * np.sin(angle)) * (2 * np.pi / period_px))
    return image + np.float32(log_uniform(rng, 0.15, 0.8)) * waves[:, :, np.newaxis].astype(np.float32)


def smeared(rng: np.random.Generator, image: np.ndarray, other: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The image dragged along one direction: a wipe, a chatter mark."""
    size = int(image.shape[0] * rng.uniform(0.05, 0.15))
    return ndimage.uniform_filter1d(image, size, axis=int(rng.integers(2)))


def _tone(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A step of brightness and, of colour images, a little of colour: float32 (C,)."""
    sign = -1 if rng.random() < _DARKER_SHARE else 1
    return np.float32(sign * log_uniform(rng, _FAINTEST_STEP, _PLAINEST_STEP)) + _tint(rng, image)


def _tint(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    if image.shape[2] == 1:
        return np.zeros(1, np.float32)
    tint = np.asarray(rng.normal(0, 0.25, image.shape[2]), np.float32)
    return tint * np.float32(rng.random() < 0.5)


def _moved(rng: np.random.Generator, image: np.ndarray, least_px: int) -> np.ndarray:
    side = image.shape[0]
    return np.roll(image, tuple(rng.integers(least_px, side - least_px, 2)), (0, 1))
