"""Pixel-level metrics: how well an anomaly map points at the defect.

Both figures come from one pass over the images that only counts, at a fixed set of thresholds, the normal
pixels, the defect pixels and each defect region's share above the threshold. So memory does not grow with the
number of images or pixels, and ten thousand images cost what reading them costs.

*Accuracy.* The counts at the thresholds are exact; only the curve between two neighbouring thresholds is taken
as straight. With d the largest step of the false positive rate between two of them, pixel AUROC is off by at
most d / 2, and AUPRO by at most d / (2 * limit). The thresholds are quantiles of the scores, so d is about
1 / NUM_THRESHOLDS: below 0.0002 and 0.0005; on real maps about a hundred times less, because
neighbouring steps of a smooth curve are nearly straight. Where the maps hold no more than NUM_THRESHOLDS
distinct values, each of them is a threshold and the result is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from sklearn.metrics import auc

# Bergmann et al. integrate the per-region overlap up to a false positive rate of 30%: beyond that a map is of
# no use for finding anything.
INTEGRATION_LIMIT = 0.3
NUM_THRESHOLDS = 4096
_MAX_SAMPLED_VALUES = 1 << 21
# Regions touch at corners too, as in the evaluation code that Bergmann et al. publish with MVTec AD.
_EIGHT_NEIGHBOURS: np.ndarray = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class PixelMetrics:
    """Pixel-level figures; both are `None` unless there are normal and defect pixels.

    Attributes:
        pixel_auroc: Area under the ROC curve over all judged pixels, in [0, 1]; chance is 0.5.
        aupro: Area under the per-region-overlap curve up to `INTEGRATION_LIMIT`, divided by the limit, in
            [0, 1]; a constant or random map gets 0.15. Small regions weigh as much as large ones.
        num_regions: Connected defect regions that were judged.
    """

    pixel_auroc: float | None
    aupro: float | None
    num_regions: int


def choose_thresholds(maps: Sequence[np.ndarray] | np.ndarray, count: int = NUM_THRESHOLDS) -> np.ndarray:
    """Chooses thresholds at equal steps of the quantiles of the maps' values.

    At most about two million values are looked at, evenly spread over images and pixels. Which thresholds are
    chosen moves only the resolution of the curves, never their counts.

    Args:
        maps: N >= 1 arrays (H, W) float of one size, or one array (N, H, W); looked at one by one.
        count: Upper bound of the number of thresholds.

    Returns:
        (K,) ascending distinct values, K <= count, in the maps' dtype.
    """
    num_values = maps[0].size * len(maps)
    step = -(-num_values // _MAX_SAMPLED_VALUES)
    # A step that shares a factor with the map's width would look at the same columns of every row.
    step += step > 1 and step % 2 == 0
    # Copies, because a view of a few values would keep its whole map in memory.
    sample = [np.ravel(one)[index % step :: step].copy() for index, one in enumerate(maps)]
    values = np.sort(np.concatenate(sample))
    distinct = values[np.append(True, values[1:] != values[:-1])]
    if distinct.size <= count:
        return distinct
    return np.unique(values[np.linspace(0, values.size - 1, count).round().astype(np.intp)])


def label_regions(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns the connected regions of a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) int, 0 outside and 1 to n in the regions, with pixels that touch at a corner connected; and n.
    """
    labelled, count = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
    return labelled, int(count)


def pixel_metrics(maps_and_masks: Iterable[tuple[np.ndarray, np.ndarray]], thresholds: np.ndarray) -> PixelMetrics:
    """Computes pixel AUROC and AUPRO in one pass.

    The per-region overlap at a threshold is the share of a region's pixels at or above it, averaged over all
    regions of all images; it is plotted over the false positive rate of all normal pixels, those of anomalous
    images included (Bergmann et al., "Uninformed Students", 2020).

    Args:
        maps_and_masks: Pairs of an anomaly map (H, W) float and its truth (H, W) bool, True = defect; the size
            may differ between pairs.
        thresholds: (K,) ascending, from `choose_thresholds`.
    """
    # Bin k holds the values in [thresholds[k-1], thresholds[k]).
    num_bins = thresholds.size + 1
    normal: np.ndarray = np.zeros(num_bins, dtype=np.int64)
    defect: np.ndarray = np.zeros(num_bins, dtype=np.int64)
    overlap: np.ndarray = np.zeros(num_bins, dtype=np.float64)
    num_regions = 0
    for anomaly_map, mask in maps_and_masks:
        bins: np.ndarray = np.searchsorted(thresholds, anomaly_map, side="right")
        normal += np.bincount(bins[~mask], minlength=num_bins)
        if not mask.any():
            continue
        defect_bins = bins[mask]
        defect += np.bincount(defect_bins, minlength=num_bins)
        regions, count = label_regions(mask)
        region_of_pixel = regions[mask]
        region_sizes = np.bincount(region_of_pixel, minlength=count + 1)
        # Each pixel counts one part of its region, so the sum over pixels is the sum over regions of overlap.
        overlap += np.bincount(defect_bins, weights=1.0 / region_sizes[region_of_pixel], minlength=num_bins)
        num_regions += count

    if normal.sum() == 0 or defect.sum() == 0:
        return PixelMetrics(pixel_auroc=None, aupro=None, num_regions=num_regions)
    false_positive_rate = _share_above(normal)
    return PixelMetrics(
        pixel_auroc=float(auc(false_positive_rate, _share_above(defect))),
        aupro=_normalised_area(false_positive_rate, _share_above(overlap)),
        num_regions=num_regions,
    )


def _share_above(counts: np.ndarray) -> np.ndarray:
    """Returns the share at or above each threshold, from the highest (0 at infinity) down to 1."""
    cumulative = np.concatenate([[0.0], np.cumsum(counts[::-1], dtype=np.float64)])
    return cumulative / cumulative[-1]


def _normalised_area(rate: np.ndarray, overlap: np.ndarray) -> float:
    """Returns the area under (rate, overlap) from 0 to `INTEGRATION_LIMIT`, divided by it."""
    inside = rate < INTEGRATION_LIMIT
    at_limit = np.interp(INTEGRATION_LIMIT, rate, overlap)
    x: np.ndarray = np.append(rate[inside], INTEGRATION_LIMIT)
    y: np.ndarray = np.append(overlap[inside], at_limit)
    return float(auc(x, y) / INTEGRATION_LIMIT)
