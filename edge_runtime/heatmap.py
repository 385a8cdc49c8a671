"""Draws an anomaly map over the picture it belongs to, and an outline around what stands out.

The colours are relative to what good images show, never to the picture itself: a good part stays a plain photograph,
and the same colour means the same deviation on every picture. They begin near the highest places of usual good images
(`Calibration.map_high`) and end at `Calibration.map_threshold`, which good images exceed as seldom as the false alarm
rate says; what exceeds it is outlined.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from edge_runtime.calibration import Calibration
from edge_runtime.outline import draw_outline
from edge_runtime.preprocessing import ImageSource, Preprocessing, read_image

MAX_HEATMAP_SIDE_PX = 2048
"""Longer pictures are scaled down to this before they are drawn on; a map is far coarser than that anyway."""

_FULL_COLOUR_AT = 2.0
# In units of the good images' range: the colours end no lower than this.
_LEAST_FULL_COLOUR_RANGE = 2.0
_TRANSPARENT_UP_TO = 0.6
_OPAQUE_FROM = 1.3
_STRONGEST_OPACITY = 0.62
# From a pale yellow through orange and red to a crimson: the order is plain on a grey screen too, and to
# readers who do not see red and green apart.
_COLOUR_STOPS = (
    (0.00, (255, 246, 150)),
    (0.25, (255, 214, 64)),
    (0.50, (252, 141, 40)),
    (0.75, (226, 45, 46)),
    (1.00, (176, 12, 84)),
)


def map_excess(anomaly_map: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return an anomaly map in terms of what good images show.

    Args:
        anomaly_map: float32 array of any shape.
        calibration: Its `map_low` becomes 0, its `map_high` 1 and its `map_threshold` 2, unless that is less than twice
            as far from `map_low` as `map_high` is: then what is twice as far does.

    Returns:
        float32 array of the same shape, >= 0: linear up to 1, then logarithmic, since maps differ by powers of ten.
    """
    good_range, full_range = _ranges(calibration)
    excess = np.clip((anomaly_map - calibration.map_low) / good_range, 0, None)
    return np.where(excess <= 1, excess, 1 + np.log(np.maximum(excess, 1)) / np.log(full_range)).astype(np.float32)


def colour_ramp(calibration: Calibration, count: int) -> np.ndarray:
    """Return float32 (count,) map values of evenly rising excess, 0 to 2: the whole scale of colours."""
    good_range, full_range = _ranges(calibration)
    excess = np.linspace(0, _FULL_COLOUR_AT, count)
    ranges = np.where(excess <= 1, excess, full_range ** np.maximum(excess - 1, 0))
    return (calibration.map_low + good_range * ranges).astype(np.float32)


def _ranges(calibration: Calibration) -> tuple[float, float]:
    """Return the good images' range, and in units of it where the colours end."""
    smallest_range = max(abs(calibration.map_high) * 1e-6, 1e-12)
    good_range = max(calibration.map_high - calibration.map_low, smallest_range)
    full_range = (calibration.map_threshold - calibration.map_low) / good_range
    return good_range, max(full_range, _LEAST_FULL_COLOUR_RANGE)


def heatmap(anomaly_map: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return a float32 (H, W) anomaly map in the overlay's colours, uint8 RGB (H, W, 3), on black where it is calm."""
    indices = _colour_indices(anomaly_map, calibration)
    colours, _ = _lookup_tables()
    brightness = np.minimum(np.linspace(0, _FULL_COLOUR_AT, 256) / _OPAQUE_FROM, 1)
    return np.rint(colours * brightness[:, np.newaxis]).astype(np.uint8)[indices]


def heatmap_overlay(
    source: ImageSource,
    anomaly_map: np.ndarray,
    preprocessing: Preprocessing,
    calibration: Calibration,
    *,
    with_outline: bool = True,
) -> Image.Image:
    """Return a picture with its anomaly map drawn over it.

    Args:
        source: The picture as it was given to the detector.
        anomaly_map: float32 (H, W) in the model's input pixels, `Detection.anomaly_map`.
        preprocessing: The model's; it tells which part of the picture the map covers. What a "crop" leaves
            out stays as it is.
        calibration: The model's; it tells what is usual.
        with_outline: Whether to outline the places above the map's threshold.

    Returns:
        An RGB image of the picture's size, or with its longest side `MAX_HEATMAP_SIDE_PX`.

    Raises:
        ImageError: The picture cannot be read.
    """
    picture = read_image(source).convert("RGB")
    window = preprocessing.source_window(picture.width, picture.height)
    scale = min(1.0, MAX_HEATMAP_SIDE_PX / max(picture.size))
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    window_px = tuple(side * scale for side in window)
    indices = _placed(Image.fromarray(_colour_indices(anomaly_map, calibration)), picture.size, window_px)
    colours, opacities = _lookup_tables()
    mask = indices.point([round(opacity * 255) for opacity in opacities])
    indices.putpalette(np.rint(colours).astype(np.uint8).tobytes())
    overlay = Image.composite(indices.convert("RGB"), picture, mask)
    if not with_outline or not (anomaly_map > calibration.map_threshold).any():
        return overlay
    # Shifted so that what lies outside of the window, which is 0, is below the threshold.
    excess = Image.fromarray(anomaly_map.astype(np.float32) - np.float32(calibration.map_threshold))
    return draw_outline(overlay, np.asarray(_placed(excess, picture.size, window_px)) > 0)


def _placed(map_image: Image.Image, size: tuple[int, int], window: tuple[float, ...]) -> Image.Image:
    """Return `map_image` (mode L or F), stretched over `window`, as seen through a picture of `size` (width, height).

    What lies outside of the window is 0.
    """
    left, top, right, bottom = window
    map_per_x, map_per_y = map_image.width / (right - left), map_image.height / (bottom - top)
    inner_left, inner_top = max(0, round(left)), max(0, round(top))
    inner_right, inner_bottom = min(size[0], round(right)), min(size[1], round(bottom))
    inner_size = (max(1, inner_right - inner_left), max(1, inner_bottom - inner_top))
    box = (
        max(0.0, -left * map_per_x),
        max(0.0, -top * map_per_y),
        min(map_image.width, (size[0] - left) * map_per_x),
        min(map_image.height, (size[1] - top) * map_per_y),
    )
    placed = Image.new(map_image.mode, size, 0)
    placed.paste(map_image.resize(inner_size, Image.Resampling.BICUBIC, box=box), (inner_left, inner_top))
    return placed


def _colour_indices(anomaly_map: np.ndarray, calibration: Calibration) -> np.ndarray:
    excess = map_excess(anomaly_map, calibration)
    return np.rint(np.minimum(excess / _FULL_COLOUR_AT, 1) * 255).astype(np.uint8)


def _lookup_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return RGB colours (256, 3), 0 .. 255, and opacities (256,), 0 .. 1, by colour index."""
    excess = np.linspace(0, _FULL_COLOUR_AT, 256)
    strength = np.clip((excess - _TRANSPARENT_UP_TO) / (_FULL_COLOUR_AT - _TRANSPARENT_UP_TO), 0, 1)
    positions = [position for position, _ in _COLOUR_STOPS]
    colours = np.stack(
        [np.interp(strength, positions, [colour[channel] for _, colour in _COLOUR_STOPS]) for channel in range(3)],
        axis=1,
    )
    rise = np.clip((excess - _TRANSPARENT_UP_TO) / (_OPAQUE_FROM - _TRANSPARENT_UP_TO), 0, 1)
    return colours, _STRONGEST_OPACITY * rise * rise * (3 - 2 * rise)
