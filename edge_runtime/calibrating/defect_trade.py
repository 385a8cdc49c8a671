"""Lays a threshold between the scores of good and of defective images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_runtime.errors import CalibrationError

BALANCED_MISS_COST = 1.0


@dataclass(frozen=True)
class DefectTrade:
    """The threshold that costs least.

    Attributes:
        threshold: A raw score above it is an anomaly.
        num_above: Good images above it.
        num_found: Defective images above it.
    """

    threshold: float
    num_above: int
    num_found: int


def best_trade(good: np.ndarray, defective: np.ndarray, miss_cost: float = BALANCED_MISS_COST) -> DefectTrade:
    """Return the threshold with the lowest `miss_cost` * miss rate + false alarm rate.

    With a miss cost of 1 that is the threshold of the best balanced accuracy, in which it does not count how many of
    either kind there are. The cost changes only where a score lies, so the threshold is laid half-way between two
    neighbouring scores; of several that cost the same the highest is taken, which gives the fewest false alarms.

    Args:
        good: (N,) raw scores of good images, N >= 1, finite.
        defective: (M,) raw scores of defective images, M >= 1, finite.
        miss_cost: What a share of missed defects costs, measured in the same share of false alarms.

    Raises:
        CalibrationError: The miss cost is not above 0.
    """
    check_miss_cost(miss_cost)
    good, defective = np.sort(np.asarray(good, np.float64)), np.sort(np.asarray(defective, np.float64))
    values = np.unique(np.concatenate([good, defective]))
    between = values[:-1] + (values[1:] - values[:-1]) / 2
    between = np.where(between < values[1:], between, values[:-1])  # of two doubles without a third between them
    thresholds = np.concatenate([[np.nextafter(values[0], -np.inf)], between, values[-1:]])
    above = len(good) - np.searchsorted(good, thresholds, side="right")
    missed = np.searchsorted(defective, thresholds, side="right")
    # Both rates times N * M: whole numbers where the miss cost is one, so equal costs are equal.
    costs = miss_cost * missed * len(good) + above * len(defective)
    best = int(np.flatnonzero(costs == costs.min())[-1])
    return DefectTrade(float(thresholds[best]), int(above[best]), len(defective) - int(missed[best]))


def check_miss_cost(miss_cost: float) -> None:
    """Refuse a cost that is not above 0 and finite.

    Raises:
        CalibrationError: It is not.
    """
    if not 0 < miss_cost < float("inf"):
        raise CalibrationError(f"The miss cost is {miss_cost}; a number above 0 was expected, 1 for balanced errors.")
