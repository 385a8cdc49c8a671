"""Makes what training learns from: a good image with and without painted defects, and which windows show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from edge_runtime.preprocessing import NORMALISED_SPREAD, scale_pixels
from tfganomaly.synthetic_defects.painter import DefectPainter

GOOD_WINDOW, DAMAGED_WINDOW, UNCERTAIN_WINDOW = 0, 1, -1

# In [-1, 1], of images of usual contrast.
_LEAST_CHANGE, _LEAST_VISIBLE_CHANGE = 0.02, 0.08
_LEAST_VISIBLE_PIXELS = 4
_SHIFT_SHARE = 0.04
_LARGEST_RESTRETCH = 2.0


@dataclass(frozen=True)
class TrainingPair:
    """One good image, damaged and not.

    Attributes:
        damaged: float32 (S, S, C) in [-1, 1], what the model sees.
        clean: float32 (S, S, C) in [-1, 1], the same without the defects, in the damaged one's contrast: what the
            decoder is to draw.
        windows: int8 (S / stride, S / stride): `GOOD_WINDOW`, `DAMAGED_WINDOW`, or `UNCERTAIN_WINDOW` where the
            change is hidden by the grain of the surface or only touches the neighbour.
    """

    damaged: np.ndarray
    clean: np.ndarray
    windows: np.ndarray


def make_pair(
    pixels: np.ndarray,
    other_pixels: np.ndarray,
    painter: DefectPainter | None,
    rng: np.random.Generator,
    *,
    window_stride_px: int,
    most_defects: int = 4,
    is_as_photographed: bool = False,
) -> TrainingPair:
    """Changes a good image harmlessly, then paints defects into it.

    Args:
        pixels: uint8 (S, S, C), a good image of normalised contrast.
        other_pixels: uint8 (S, S, C), another good image, for pieces that do not belong.
        painter: What paints; None: the image stays good.
        rng: Source of every random choice.
        window_stride_px: Side of the square that one window stands for; divides S.
        most_defects: One to so many are painted.
        is_as_photographed: Leaves the harmless changes out.
    """
    good = scale_pixels(pixels) if is_as_photographed else harmlessly_changed(pixels, rng)
    painted = good
    if painter is not None:
        painted = painter.paint_several(good, scale_pixels(other_pixels), rng, most_defects)
    mean, gain = _restretch(good, painted)
    clean = np.clip((good - mean) * gain, -1, 1)
    damaged = np.clip((painted - mean) * gain, -1, 1)
    return TrainingPair(damaged, clean, label_windows(clean, damaged, window_stride_px))


def harmlessly_changed(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A good image as it could have been photographed as well: shifted a little, in other light, with more noise.

    Args:
        pixels: uint8 (S, S, C), of normalised contrast.
        rng: Source of every random choice.

    Returns:
        float32 (S, S, C), of usual contrast, not clipped.
    """
    image = scale_pixels(pixels)
    side = image.shape[0]
    if rng.random() < 0.7:
        reach_px = max(1, int(side * _SHIFT_SHARE))
        top, left = rng.integers(0, 2 * reach_px + 1, 2)
        padded = np.pad(image, ((reach_px, reach_px), (reach_px, reach_px), (0, 0)), mode="edge")
        image = padded[top : top + side, left : left + side]
    if rng.random() < 0.5:
        gamma = np.float32(np.exp(rng.normal(0, 0.15)))
        image = 2 * np.power((image + 1) / 2, gamma) - 1
    if rng.random() < 0.5:
        slope = np.linspace(-1, 1, side, dtype=np.float32)
        down, right = rng.normal(0, 0.1, 2).astype(np.float32)
        image = image + (down * slope[:, np.newaxis] + right * slope)[:, :, np.newaxis]
    if rng.random() < 0.3:
        image = image + np.float32(0.03) * rng.standard_normal(image.shape, np.float32)
    return image.astype(np.float32, copy=False)


def label_windows(clean: np.ndarray, damaged: np.ndarray, window_stride_px: int) -> np.ndarray:
    """Tells which windows show a defect.

    A pixel shows it where the change, averaged over 3 x 3 pixels, is larger than the grain around it: teaching a
    model to see what no eye sees teaches it to raise false alarms.

    Args:
        clean: float32 (S, S, C) in [-1, 1].
        damaged: float32 (S, S, C) in [-1, 1].
        window_stride_px: Side of a window's square; divides S.

    Returns:
        int8 (S / stride, S / stride) of the labels of `TrainingPair.windows`.
    """
    difference = np.abs(damaged - clean).max(axis=2)
    if not difference.any():
        return np.full((clean.shape[0] // window_stride_px,) * 2, GOOD_WINDOW, np.int8)
    change = ndimage.uniform_filter(difference, 3)
    grey = clean.mean(axis=2)
    roughness = np.square(grey - ndimage.uniform_filter(grey, 5))
    grain = np.sqrt(np.maximum(ndimage.uniform_filter(roughness, 15), 0))
    visible = _count(change > np.maximum(_LEAST_VISIBLE_CHANGE, grain), window_stride_px)
    touched = _count(change > _LEAST_CHANGE, window_stride_px)
    damaged_windows = visible >= _LEAST_VISIBLE_PIXELS
    uncertain = (touched > 0) | ndimage.maximum_filter(damaged_windows, 3)
    labels = np.where(damaged_windows, DAMAGED_WINDOW, np.where(uncertain, UNCERTAIN_WINDOW, GOOD_WINDOW))
    return labels.astype(np.int8)


def _count(mask: np.ndarray, stride_px: int) -> np.ndarray:
    rows, columns = mask.shape[0] // stride_px, mask.shape[1] // stride_px
    return mask.reshape(rows, stride_px, columns, stride_px).sum((1, 3))


def _restretch(good: np.ndarray, painted: np.ndarray) -> tuple[np.float32, np.float32]:
    """Mean and gain that bring the painted image to normalised contrast, as a device will do with a real defect.

    A good image of little contrast was stretched no further than `LEAST_SPREAD` allows; its painted copy is not either.
    """
    is_faint = float(good.std()) < 0.9 * NORMALISED_SPREAD
    largest_gain = 1.0 if is_faint else _LARGEST_RESTRETCH
    gain = min(NORMALISED_SPREAD / max(float(painted.std()), 1e-6), largest_gain)
    return np.float32(painted.mean()), np.float32(gain)
