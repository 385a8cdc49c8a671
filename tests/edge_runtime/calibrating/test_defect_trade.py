from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.calibrating.defect_trade import DefectTrade, best_trade
from edge_runtime.errors import CalibrationError

GOOD = [1.0, 2.0, 3.0, 3.2, 6.0]
DEFECTIVE = [2.5, 5.0, 8.0]
scores = st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=20)


def trade(good: list[float], defective: list[float], miss_cost: float = 1.0) -> DefectTrade:
    return best_trade(np.array(good), np.array(defective), miss_cost)


def test_separated_scores_are_parted_half_way() -> None:
    assert trade([1, 2, 3], [7, 9]) == DefectTrade(5.0, num_above=0, num_found=2)


def test_overlapping_scores_are_parted_where_balanced_accuracy_is_best() -> None:
    # Above 4.1 (between 3.2 and 5): misses 1 of 3, 1 of 5 false alarms, together 0.533.
    # Above 2.25: no miss, 3 of 5: 0.6. Above 7: misses 2 of 3, no false alarm: 0.667.
    assert trade(GOOD, DEFECTIVE) == DefectTrade(pytest.approx(4.1), num_above=1, num_found=2)


def test_a_dear_miss_lowers_the_threshold_and_a_cheap_one_lifts_it() -> None:
    # Above 2.25: 3 / 5; above 4.1: 3 * 1 / 3 + 1 / 5.
    assert trade(GOOD, DEFECTIVE, miss_cost=3) == DefectTrade(2.25, num_above=3, num_found=3)
    # Above 7: 0.5 * 2 / 3 = 0.333; above 4.1: 0.5 / 3 + 1 / 5 = 0.367.
    assert trade(GOOD, DEFECTIVE, miss_cost=0.5) == DefectTrade(7.0, num_above=0, num_found=1)


def test_of_equal_costs_the_one_with_fewer_false_alarms_is_taken() -> None:
    # Above 1.5 and above 3.5 each err once in two of one kind.
    assert trade([1, 3], [2, 4]) == DefectTrade(3.5, num_above=0, num_found=1)
    assert trade([1, 2], [1, 2]) == DefectTrade(2.0, num_above=0, num_found=0)


def test_defects_below_all_good_scores_are_found_only_when_a_miss_is_dear() -> None:
    assert trade([5, 6], [1]).num_found == 0
    everything = trade([5, 6], [1], miss_cost=10)
    assert (everything.num_above, everything.num_found) == (2, 1)


def test_neighbouring_doubles_are_parted() -> None:
    lower = 1.0
    higher = float(np.nextafter(lower, 2))
    assert trade([lower], [higher]) == DefectTrade(lower, num_above=0, num_found=1)


def test_an_impossible_cost_is_refused() -> None:
    for cost in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(CalibrationError, match="miss cost"):
            trade([1], [2], cost)


@given(good=scores, defective=scores, cost=st.floats(0.01, 100))
def test_no_threshold_costs_less(good: list[float], defective: list[float], cost: float) -> None:
    def cost_of(threshold: float) -> float:
        missed = np.mean(np.array(defective) <= threshold)
        return float(cost * missed + np.mean(np.array(good) > threshold))

    found = trade(good, defective, cost)
    assert found.num_above == sum(score > found.threshold for score in good)
    assert found.num_found == sum(score > found.threshold for score in defective)
    best = cost_of(found.threshold)
    assert all(best <= cost_of(threshold) + 1e-9 for threshold in [-1.0, *good, *defective])
