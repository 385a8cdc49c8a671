"""Shortcut baselines: what a ruler or a light meter would score, printed beside the model.

A test set often gives itself away: defective parts were photographed on another day, in other light, cropped to
another size. Each shortcut is one plain number of an image taken as its anomaly score. A model that does not beat
the best of them may have learnt no more than that number.

A shortcut may point either way (defective solar cells are darker, defective tiles brighter), so its AUROC is taken
in the better direction, max(a, 1 - a), and never lies below 0.5. That choice sees the labels, as a sceptic would: on
some tens of images the best of five shortcuts reaches about 0.6 by luck alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfganomaly.data.items import ImageItem
from tfganomaly.evaluation.metrics import image_auroc, per_defect_auroc, strongest


class ShortcutValues(NamedTuple):
    """One image's shortcut scores; the field names are the baselines' names in `metrics.json`.

    Attributes:
        mean_grey: Mean of the pixels that the model sees, 0 to 255.
        contrast: Standard deviation of these pixels' grey values, 0 to 127.5.
        file_size: Bytes of the image file; NaN for an image out of an array.
        image_width: Width of the original image in pixels.
        image_height: Height of the original image in pixels.
    """

    mean_grey: float
    contrast: float
    file_size: float
    image_width: float
    image_height: float


@dataclass(frozen=True)
class ShortcutBaseline:
    """How well one shortcut separates good from anomalous images.

    Attributes:
        auroc: In [0.5, 1], in the better direction; `None` where it is not defined.
        points_down: Whether anomalous images have the *lower* values.
        per_defect_auroc: Defect type to AUROC, each in its own better direction.
        scores: float64 (N,) the shortcut as an anomaly score, turned so that higher = more anomalous.
    """

    auroc: float | None
    points_down: bool
    per_defect_auroc: Mapping[str, float | None]
    scores: np.ndarray = field(repr=False, compare=False)


def measure_shortcuts(item: ImageItem, pixels: np.ndarray, image_size: tuple[int, int]) -> ShortcutValues:
    """Measures the shortcuts of one image.

    Args:
        item: The image; its file's size is looked up.
        pixels: uint8 (H, W, C), the part of the prepared image that shows the picture.
        image_size: (width, height) of the original image in pixels.
    """
    grey = pixels.mean(axis=2, dtype=np.float32)
    return ShortcutValues(
        mean_grey=float(grey.mean()),
        contrast=float(grey.std()),
        file_size=float(item.source.stat().st_size) if isinstance(item.source, Path) else float("nan"),
        image_width=float(image_size[0]),
        image_height=float(image_size[1]),
    )


def shortcut_baselines(
    labels: np.ndarray, defects: Sequence[str], values: Sequence[ShortcutValues]
) -> dict[str, ShortcutBaseline]:
    """Computes each shortcut's AUROC.

    Args:
        labels: (N,) 0 = good, 1 = anomalous.
        defects: N defect types.
        values: N measurements.

    Returns:
        Shortcut name to its baseline, in the order of `ShortcutValues`.
    """
    baselines: dict[str, ShortcutBaseline] = {}
    for name in ShortcutValues._fields:
        scores = np.array([getattr(one, name) for one in values], dtype=np.float64)
        if np.isnan(scores).any():
            baselines[name] = ShortcutBaseline(auroc=None, points_down=False, per_defect_auroc={}, scores=scores)
            continue
        upward = image_auroc(labels, scores)
        points_down = upward is not None and upward < 0.5
        per_defect = per_defect_auroc(defects, labels, scores)
        baselines[name] = ShortcutBaseline(
            auroc=_better_direction(upward),
            points_down=points_down,
            per_defect_auroc={defect: _better_direction(auroc) for defect, auroc in per_defect.items()},
            scores=-scores if points_down else scores,
        )
    return baselines


def best_shortcut_per_defect(baselines: Mapping[str, ShortcutBaseline]) -> dict[str, tuple[str, float]]:
    """Returns for each defect type the shortcut with the highest AUROC on it: name and AUROC."""
    defects = {defect: None for baseline in baselines.values() for defect in baseline.per_defect_auroc}
    best: dict[str, tuple[str, float]] = {}
    for defect in defects:
        found = strongest({name: one.per_defect_auroc.get(defect) for name, one in baselines.items()})
        if found is not None:
            best[defect] = found
    return best


def _better_direction(auroc: float | None) -> float | None:
    return None if auroc is None else max(auroc, 1.0 - auroc)
