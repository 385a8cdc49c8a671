from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.calibration import Calibration, MapRange, calibrate, measure_map_range
from edge_runtime.errors import CalibrationError, MetadataError
from tests.edge_runtime.tiny_model import tiny_calibration

MAPS = MapRange(0.0, 1.0)
score = st.floats(0, 1e6, allow_nan=False)


def test_the_threshold_is_the_conformal_quantile() -> None:
    scores = np.arange(1, 200, dtype=np.float32)  # 199 scores: rank ceil(200 * 0.99) = 198
    calibration = calibrate(np.random.default_rng(0).permutation(scores), MAPS, 0.01)
    assert calibration.threshold == 198
    assert (calibration.score_min, calibration.score_max) == (1, 199)
    assert (scores > calibration.threshold).mean() <= 0.01
    assert calibration.num_images == 199
    assert calibration.method == "quantile"
    assert calibration.note == ""
    assert len(calibration.score_quantiles) == 101
    assert calibration.score_quantiles[50] == 100


def test_new_good_images_exceed_the_threshold_at_the_rate_asked_for() -> None:
    random = np.random.default_rng(0)
    alarms = [
        (random.gamma(2.0, size=1000) > calibrate(random.gamma(2.0, size=99), MAPS, 0.05).threshold).mean()
        for _ in range(300)
    ]
    # 5 of 100 by construction; the mean of 300 rounds has a standard deviation of about 0.0013.
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.005)


def test_too_few_images_take_the_highest_score_and_say_so() -> None:
    calibration = calibrate(np.linspace(0, 1, 30), MAPS, 0.01)
    assert calibration.threshold == 1
    assert "30 good images are too few for a false alarm rate of 1.00%" in calibration.note
    assert "at least 99" in calibration.note
    assert "up to 3.2%" in calibration.note
    assert calibrate(np.linspace(0, 1, 99), MAPS, 0.01).note == ""
    assert calibration.with_threshold(3).note == ""


def test_scores_that_give_no_threshold_are_refused() -> None:
    for scores in ([], [1.0]):
        with pytest.raises(CalibrationError, match="at least 2"):
            calibrate(np.array(scores), MAPS)
    with pytest.raises(CalibrationError, match="2 of 3 scores are not finite"):
        calibrate(np.array([1.0, math.nan, math.inf]), MAPS)
    for rate in (0, 1, -0.1, 1.5, math.nan):
        with pytest.raises(CalibrationError, match=r"such as 0\.01"):
            calibrate(np.array([1.0, 2.0]), MAPS, rate)


def test_the_map_range_is_that_of_usual_good_images() -> None:
    maps = np.full((9, 8, 8), 0.1, np.float32)
    maps[:, 2, 2] = 0.5
    maps[0] = 7.0  # one dirty image among the good ones
    assert measure_map_range(maps) == pytest.approx((0.1, 0.5))
    assert measure_map_range(iter(maps)) == pytest.approx((0.1, 0.5))
    assert calibrate(np.arange(9), maps).map_high == pytest.approx(0.5)
    with pytest.raises(CalibrationError, match="missing or not finite"):
        measure_map_range([])
    with pytest.raises(CalibrationError, match="missing or not finite"):
        measure_map_range([np.array([[math.nan]])])


def test_normalised_scores_have_the_described_values() -> None:
    calibration = tiny_calibration(score_min=2.0, score_max=6.0)
    assert calibration.normalise(6.0) == 0.5
    assert calibration.normalise(4.0) == 0.25
    assert calibration.normalise(2.0) == 0
    assert calibration.normalise(-5.0) == 0
    assert calibration.normalise(10.0) == 0.75  # one good range above the maximum
    np.testing.assert_array_equal(calibration.normalise(np.array([[6.0, 10.0]])), [[0.5, 0.75]])
    assert isinstance(calibration.normalise(np.float32(6.0)), float)


def test_equal_good_scores_still_give_a_normalised_score() -> None:
    calibration = tiny_calibration(score_min=3.0, score_max=3.0)
    assert calibration.normalise(3.0) == 0.5
    assert calibration.normalise(2.9) == 0
    assert 0.99 < calibration.normalise(3.1) <= 1


@given(good=st.lists(score, min_size=2, max_size=20), one=score, other=score)
def test_normalising_never_changes_the_order(good: list[float], one: float, other: float) -> None:
    calibration = calibrate(np.array(good), MAPS, 0.1)
    lower, higher = sorted([one, other])
    low, high = calibration.normalise(lower), calibration.normalise(higher)
    assert 0 <= low <= high <= 1
    good_range = calibration.score_max - calibration.score_min
    if lower >= calibration.score_max and higher - lower > 1e-6 * (1 + higher) and good_range > 1e-3:
        assert low < high


@given(good=st.lists(score, min_size=2, max_size=50), rate=st.floats(0.001, 0.999))
def test_the_threshold_is_a_good_score_and_the_rate_is_kept_on_the_good_images(good: list[float], rate: float) -> None:
    calibration = calibrate(np.array(good), MAPS, rate)
    assert calibration.threshold in good
    assert np.mean(np.array(good) > calibration.threshold) <= rate + 1e-9
    assert Calibration.from_dict(calibration.to_dict()) == calibration


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threshold": math.inf}, "finite"),
        ({"threshold": None}, "field 'threshold' of the stored calibration is None"),
        ({"score_min": 9.0}, "minimum above its maximum"),
        ({"map_low": 9.0}, "minimum above its maximum"),
        ({"score_quantiles": [1.0, 2.0]}, "2 score quantiles"),
        ({"score_quantiles": list(range(101, 0, -1))}, "rising order"),
        ({"score_quantiles": "many"}, "a list of numbers was expected"),
        ({"score_quantiles": ["x"] * 101}, "finite number"),
        ({"false_alarm_rate": 2.0}, "impossible rate"),
        ({"num_images": -1}, "impossible rate"),
    ],
)
def test_impossible_calibrations_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(MetadataError, match=words):
        Calibration.from_dict({**tiny_calibration().to_dict(), **change})


def test_a_manual_threshold_keeps_the_rest() -> None:
    calibration = tiny_calibration().with_threshold(7)
    assert (calibration.threshold, calibration.method) == (7.0, "manual")
    assert calibration.score_max == tiny_calibration().score_max


@given(score=st.floats(-1e6, 1e6), low=st.floats(-10, 10), spread=st.floats(0, 10))
def test_a_single_score_is_normalised_as_one_among_many(score: float, low: float, spread: float) -> None:
    calibration = calibrate(np.array([low, low + spread]), MapRange(0, 1))
    assert calibration.normalise(score) == calibration.normalise(np.array([score]))[0]
