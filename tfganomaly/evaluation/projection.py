"""Where the pixels of a model-sized array lie on the original picture, and the way back."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edge_runtime.preprocessing import Preprocessing


def to_picture(
    values: np.ndarray,
    preprocessing: Preprocessing,
    image_size: tuple[int, int],
    target_size: tuple[int, int],
) -> np.ndarray:
    """Lays a model-sized array of numbers over the picture that it was computed from.

    "stretch" is pulled back to the picture's shape, a "letterbox" border is cut off, and where "crop" hid a part of
    the picture from the model the result is NaN. Between pixels it interpolates linearly.

    Args:
        values: float (H, W) in the model's input pixels, such as an anomaly map.
        preprocessing: The model's.
        image_size: (width, height) of the picture in pixels.
        target_size: (width, height) of the result: the picture's own size or any other on which to draw it.

    Returns:
        float32 (target height, target width); NaN where the model did not look.
    """
    target_width, target_height = target_size
    image_width, image_height = image_size
    window_left, window_top, window_right, window_bottom = preprocessing.source_window(*image_size)
    # The part of the target that the model saw: all of it unless the rule is "crop".
    left = max(0, round(window_left * target_width / image_width))
    top = max(0, round(window_top * target_height / image_height))
    right = min(target_width, max(left + 1, round(window_right * target_width / image_width)))
    bottom = min(target_height, max(top + 1, round(window_bottom * target_height / image_height)))
    seen = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32)).resize(
        (right - left, bottom - top),
        Image.Resampling.BILINEAR,
        box=_picture_box(preprocessing, image_size),
    )
    result: np.ndarray = np.full((target_height, target_width), np.nan, dtype=np.float32)
    result[top:bottom, left:right] = np.asarray(seen)
    return result


def _picture_box(preprocessing: Preprocessing, image_size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Returns (left, top, right, bottom) of the picture in the model's input pixels, cut to the input."""
    left, top, right, bottom = preprocessing.source_window(*image_size)
    scale_x = preprocessing.width / (right - left)
    scale_y = preprocessing.height / (bottom - top)
    return (
        max(0.0, -left * scale_x),
        max(0.0, -top * scale_y),
        min(float(preprocessing.width), (image_size[0] - left) * scale_x),
        min(float(preprocessing.height), (image_size[1] - top) * scale_y),
    )
