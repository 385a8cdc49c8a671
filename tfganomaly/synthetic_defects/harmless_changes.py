"""Changes a good image as another photograph of a good part differs: place, angle, size, light, focus and noise.

Training sees a few hundred good images dozens of times each. As they are, it learns them by heart, and good parts that
it has not seen score like defects.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from edge_runtime.preprocessing import scale_pixels

_MOVED_SHARE = 0.7
_LARGEST_ANGLE_DEG = 3.0
_LARGEST_STRETCH = 0.06
_LARGEST_SHIFT = 0.04

_GAMMA_SHARE, _GAMMA_SPREAD = 0.5, 0.15
_SLOPE_SHARE, _SLOPE_SPREAD = 0.5, 0.1
_SOFTER_SHARE, _SHARPER_SHARE = 0.1, 0.1
_NOISE_SHARE = 0.3
_LEAST_NOISE, _MOST_NOISE = 0.01, 0.05


def harmlessly_changed(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A good image as it could have been photographed as well.

    Args:
        pixels: uint8 (S, S, C), of normalised contrast.
        rng: Source of every random choice.

    Returns:
        float32 (S, S, C), of usual contrast, not clipped.
    """
    image = scale_pixels(pixels)
    if rng.random() < _MOVED_SHARE:
        image = _moved(image, rng)
    if rng.random() < _GAMMA_SHARE:
        gamma = np.float32(np.exp(rng.normal(0, _GAMMA_SPREAD)))
        image = 2 * np.power(np.clip((image + 1) / 2, 0, 1), gamma) - 1
    if rng.random() < _SLOPE_SHARE:
        slope = np.linspace(-1, 1, image.shape[0], dtype=np.float32)
        down, right = rng.normal(0, _SLOPE_SPREAD, 2).astype(np.float32)
        image = image + (down * slope[:, np.newaxis] + right * slope)[:, :, np.newaxis]
    focus = rng.random()
    if focus < _SOFTER_SHARE:
        sigma_px = rng.uniform(0.3, 0.7)
        image = ndimage.gaussian_filter(image, (sigma_px, sigma_px, 0))
    elif focus < _SOFTER_SHARE + _SHARPER_SHARE:
        amount = np.float32(rng.uniform(0.3, 0.8))
        image = image + amount * (image - ndimage.gaussian_filter(image, (1, 1, 0)))
    if rng.random() < _NOISE_SHARE:
        noise = np.float32(rng.uniform(_LEAST_NOISE, _MOST_NOISE))
        image = image + noise * rng.standard_normal(image.shape, np.float32)
    return image.astype(np.float32, copy=False)


def _moved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turns, stretches and shifts a float32 (S, S, C) about its middle; the border goes on beyond it."""
    side = image.shape[0]
    angle = np.deg2rad(rng.uniform(-_LARGEST_ANGLE_DEG, _LARGEST_ANGLE_DEG))
    stretch = np.exp(rng.uniform(-_LARGEST_STRETCH, _LARGEST_STRETCH, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = stretch[:, np.newaxis] * turn
    margin_px = side // 4
    middle = np.full(2, side / 2)
    offset = middle - matrix @ middle + rng.uniform(-_LARGEST_SHIFT, _LARGEST_SHIFT, 2) * side + margin_px
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    padded = np.pad(image, ((margin_px, margin_px), (margin_px, margin_px), (0, 0)), mode="edge")
    # Bicubic, because a bilinear filter would take the grain away with which faint defects are compared.
    channels = [
        Image.fromarray(np.ascontiguousarray(padded[:, :, channel])).transform(
            (side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
        )
        for channel in range(image.shape[2])
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)
