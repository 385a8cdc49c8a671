"""Makes what training learns from: a good image with and without painted defects, and which windows show them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from edge_runtime.preprocessing import FITTED_SHARE, NORMALISED_SPREAD, PicturePart, scale_pixels
from tfganomaly.synthetic_defects.painter import DefectPainter
from tfganomaly.synthetic_defects.shapes import moved

GOOD_WINDOW, DAMAGED_WINDOW, UNCERTAIN_WINDOW = 0, 1, -1

# In [-1, 1], of images of usual contrast.
_LEAST_CHANGE, _LEAST_VISIBLE_CHANGE = 0.02, 0.08
_LEAST_VISIBLE_PIXELS = 4
_SHIFT_SHARE = 0.04
_LARGEST_RESTRETCH = 2.0
_NEARLY_ALL = 0.98  # of the range: farther than its farthest fitted values no picture is stretched


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
    part: PicturePart | None = None,
    most_defects: int = 4,
    is_as_photographed: bool = False,
) -> TrainingPair:
    """Changes a good image harmlessly, then paints defects into it.

    Args:
        pixels: uint8 (S, S, C), a good image of fitted contrast.
        other_pixels: uint8 (S, S, C), another good image, for pieces that do not belong.
        painter: What paints; None: the image stays good.
        rng: Source of every random choice.
        window_stride_px: Side of the square that one window stands for; divides S.
        part: The rows and columns that show the picture, in which the defects lie; None: all.
        most_defects: One to so many are painted.
        is_as_photographed: Leaves the harmless changes out.
    """
    original = good = scale_pixels(pixels)
    whole = (slice(0, original.shape[0]), slice(0, original.shape[1]))
    seen = shown = part or whole
    if not is_as_photographed:
        good, shown = harmlessly_changed(original, rng, seen)
    painted = good
    if painter is not None:
        painted = painter.paint_several(good, scale_pixels(other_pixels), rng, most_defects, shown)
    gain, offset = _restretch(original[seen], painted[shown])
    clean = np.clip(good * gain + offset, -1, 1)
    damaged = np.clip(painted * gain + offset, -1, 1)
    return TrainingPair(damaged, clean, label_windows(clean, damaged, window_stride_px))


def harmlessly_changed(
    image: np.ndarray, rng: np.random.Generator, part: PicturePart
) -> tuple[np.ndarray, PicturePart]:
    """A good image as it could have been photographed as well: shifted a little, in other light, with more noise.

    Args:
        image: float32 (S, S, C) in [-1, 1], of fitted contrast.
        rng: Source of every random choice.
        part: The rows and columns that show the picture.

    Returns:
        The changed image, float32 (S, S, C), not clipped; and where the picture lies in it.
    """
    side = image.shape[0]
    if rng.random() < 0.7:
        reach_px = max(1, int(side * _SHIFT_SHARE))
        down_px, right_px = (int(reach_px - drawn) for drawn in rng.integers(0, 2 * reach_px + 1, 2))
        image = moved(image, down_px, right_px)
        part = _moved_along(part[0], down_px, side), _moved_along(part[1], right_px, side)
    if rng.random() < 0.5:
        gamma = np.float32(np.exp(rng.normal(0, 0.15)))
        image = 2 * np.power((image + 1) / 2, gamma) - 1
    if rng.random() < 0.5:
        slope = np.linspace(-1, 1, side, dtype=np.float32)
        down, right = rng.normal(0, 0.1, 2).astype(np.float32)
        image = image + (down * slope[:, np.newaxis] + right * slope)[:, :, np.newaxis]
    if rng.random() < 0.3:
        image = image + np.float32(0.03) * rng.standard_normal(image.shape, np.float32)
    return image.astype(np.float32, copy=False), part


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


def _moved_along(shown: slice, by_px: int, side_px: int) -> slice:
    """The picture's rows or columns after a shift. Where they fill the square, what came in goes on the picture."""
    if shown.stop - shown.start == side_px:
        return shown
    return slice(max(0, shown.start + by_px), min(side_px, shown.stop + by_px))


def _restretch(original: np.ndarray, changed: np.ndarray) -> tuple[np.float32, np.float32]:
    """Gain and offset that bring a changed picture to the contrast that a device will give it.

    The device stretches a picture to `NORMALISED_SPREAD` or as far as it fits (`fit_contrast`), and clips what lies
    outside [-1, 1] then, so the original may have another mean and less spread: what counts is what the change added
    to both. An original that was not stretched so far, for want of room or of contrast, is stretched no further after
    the change either.

    Args:
        original: float32 (h, w, C) in [-1, 1], as the device prepares the good picture, without a border.
        changed: float32 (h', w', C), not clipped.

    Returns:
        1 and 0 where nothing has changed.
    """
    spread, reach = float(original.std()), _reach(original)
    is_fitted = reach >= _NEARLY_ALL
    is_faint = not is_fitted and spread < 0.9 * NORMALISED_SPREAD and float(np.abs(original).max()) < 1
    usual_spread = spread if is_fitted or is_faint else NORMALISED_SPREAD
    added = (float(changed.var()) - float(original.var())) / max(usual_spread, 1e-6) ** 2
    most = 1.0 if is_faint else _LARGEST_RESTRETCH
    to_spread = NORMALISED_SPREAD / max(usual_spread, 1e-6) / math.sqrt(max(1 + added, 1e-6))
    to_reach = (reach if is_fitted else 1.0) / max(_reach(changed), 1e-6)
    gain = min(to_spread, to_reach, most)
    return np.float32(gain), np.float32(float(original.mean()) - gain * float(changed.mean()))


def _reach(picture: np.ndarray) -> float:
    """How far from their mean `FITTED_SHARE` of a picture's values are at most."""
    distances = np.abs(picture - picture.mean()).reshape(-1)
    rank = min(math.ceil(FITTED_SHARE * distances.size), distances.size) - 1
    return float(np.partition(distances, rank)[rank])
