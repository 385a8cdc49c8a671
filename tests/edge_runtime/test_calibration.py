from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.calibrating.calibrate import (
    MapRange,
    calibrate,
    calibrate_with_defects,
    count_defects,
    map_range_of_extents,
    measure_map_range,
)
from edge_runtime.calibration import Calibration, DefectCounts, check_threshold
from edge_runtime.errors import CalibrationError, MetadataError
from tests.edge_runtime.tiny_model import tiny_calibration

MAPS = MapRange(0.0, 1.0, 2.0)
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
    assert "30 good images are too few for a false alarm rate of 1%" in calibration.note
    assert "at least 99" in calibration.note
    assert "on average up to 3.2%" in calibration.note
    # 1 - 0.05^(1/30) = 0.0950
    assert "at most 9.5% of further good images" in calibration.promise
    assert "to be sure of 1% takes 299 good images" in calibration.promise
    assert calibration.remarks == (calibration.note, calibration.promise)
    assert "the threshold lies at the highest score among them" in calibration.note
    assert calibrate(np.linspace(0, 1, 99), MAPS, 0.01).note == ""


@pytest.mark.parametrize("threshold", [0.9, 1.1])
def test_a_threshold_that_is_not_the_highest_score_is_not_called_so(threshold: float) -> None:
    calibration = replace(calibrate(np.linspace(0, 1, 30), MAPS, 0.01), threshold=threshold)
    assert calibration.note == (
        "30 good images are too few for a false alarm rate of 1%, which needs at least 99. When there are more, set "
        "the threshold anew with `tfganomaly calibrate` on the exported file."
    )


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
    assert measure_map_range(maps) == pytest.approx((0.1, 0.5, 7.0))
    assert measure_map_range(iter(maps), 0.2) == pytest.approx((0.1, 0.5, 0.5))  # rank ceil(10 * 0.8) = 8 of 9
    assert calibrate(np.arange(9), maps).map_high == pytest.approx(0.5)
    with pytest.raises(CalibrationError, match="missing or not finite"):
        measure_map_range([])
    with pytest.raises(CalibrationError, match="missing or not finite"):
        measure_map_range([np.array([[math.nan]])])


def test_the_range_goes_by_the_usual_image_and_its_threshold_never_lies_inside() -> None:
    extents = [(0.0, 0.3), (0.1, 0.5), (0.2, 0.9)]
    assert map_range_of_extents(extents, 0.25) == (0.1, 0.5, 0.9)
    assert map_range_of_extents(extents, 0.75) == (0.1, 0.5, 0.5)  # the conformal quantile is 0.3


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
        ({"num_above": 201}, "impossible rate"),
        ({"num_above": "3"}, "a whole number was expected"),
        ({"confidence": 1.5}, "impossible rate"),
        ({"map_threshold": math.nan}, "a finite number was expected"),
        ({"defects": {"num_images": 3, "num_found": 4, "miss_cost": None}}, "impossible rate"),
        ({"defects": {"num_images": 0, "num_found": 0, "miss_cost": None}}, "impossible rate"),
        ({"defects": {"num_images": 3}}, "calibration's defects has no field 'num_found'"),
    ],
)
def test_impossible_calibrations_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(MetadataError, match=words):
        Calibration.from_dict({**tiny_calibration().to_dict(), **change})


def test_a_confidence_asks_for_a_higher_threshold() -> None:
    scores = np.arange(1, 1001, dtype=np.float64)
    on_average = calibrate(scores, MAPS, 0.01)
    sure = calibrate(scores, MAPS, 0.01, 0.95)
    # Of 1000 good images at most 4 may be above: P(Binomial(1000, 0.01) <= 4) = 0.0287, of 5 it is 0.0661.
    assert (on_average.threshold, on_average.num_above) == (991, 9)
    assert (sure.threshold, sure.num_above) == (996, 4)
    assert "`tfganomaly calibrate --confidence 0.95` makes sure of 1%" in on_average.promise
    assert (
        sure.promise
        == "at most 0.913% of further good images exceed the threshold, with 95% confidence (4 of the 1000 do)"
    )
    assert calibrate(scores[:298], MAPS, 0.01, 0.95).note.startswith("298 good images are too few")
    assert calibrate(scores[:299], MAPS, 0.01, 0.95).note == ""
    assert "takes 299 good images" in calibrate(scores[:298], MAPS, 0.01).promise
    assert "`tfganomaly calibrate --confidence 0.95` makes sure of 1%" in calibrate(scores[:299], MAPS, 0.01).promise


def test_defects_and_good_images_decide_the_threshold_together() -> None:
    good, defective = np.array([1.0, 2.0, 3.0, 3.0, 6.0]), np.array([2.5, 5.0, 8.0])
    calibration = calibrate_with_defects(good, defective, MAPS, 0.1)
    # Half-way between 3 and 5: 1 of 5 good images above, 2 of 3 defects found.
    assert (calibration.threshold, calibration.method, calibration.num_above) == (4.0, "defects", 1)
    assert calibration.defects == DefectCounts(3, 2, 1.0)
    assert (calibration.false_alarm_rate, calibration.score_max) == (0.1, 6.0)
    assert calibration.note == ""
    assert "(1 of the 5 do)" in calibration.promise
    assert Calibration.from_dict(calibration.to_dict()) == calibration
    # A threshold that was chosen by the scores promises less than one that was chosen without them.
    assert calibration.highest_false_alarm_rate > replace(calibration, method="quantile").highest_false_alarm_rate
    assert calibration.balanced_accuracy == pytest.approx((2 / 3 + 4 / 5) / 2)
    counted = count_defects(calibrate(good, MAPS, 0.1), defective)
    assert (counted.threshold, counted.defects) == (6.0, DefectCounts(3, 1, None))
    assert count_defects(counted, np.array([6.0, 6.5])).defects == DefectCounts(2, 1, None)  # not above is not found
    for scores, words in (([], "No defective image"), ([math.nan], "1 of 1 scores are not finite")):
        with pytest.raises(CalibrationError, match=words):
            calibrate_with_defects(good, np.array(scores), MAPS)


def test_defects_that_score_like_good_images_are_said() -> None:
    poor = calibrate_with_defects(np.array([1.0, 3.0, 5.0]), np.array([2.0, 4.0]), MAPS)
    assert "hardly score higher than good images (balanced accuracy 0.67" in poor.note
    assert "--false-alarm-rate" in poor.note


def test_a_calibration_of_an_older_release_is_read() -> None:
    stored = calibrate(np.arange(1, 200), MAPS, 0.01).to_dict()
    for name in ("map_threshold", "num_above", "confidence", "defects", "highest_false_alarm_rate_95"):
        del stored[name]
    old = Calibration.from_dict(stored)
    assert (old.num_above, old.confidence, old.defects, old.map_threshold) == (1, None, None, 1.3)
    assert "(1 of the 199 do)" in old.promise
    assert Calibration.from_dict({**stored, "num_above": None}).promise == ""


@given(score=st.floats(-1e6, 1e6), low=st.floats(-10, 10), spread=st.floats(0, 10))
def test_a_single_score_is_normalised_as_one_among_many(score: float, low: float, spread: float) -> None:
    calibration = calibrate(np.array([low, low + spread]), MapRange(0, 1, 1))
    assert calibration.normalise(score) == calibration.normalise(np.array([score]))[0]


def test_a_threshold_is_a_finite_number() -> None:
    assert check_threshold(-2) == -2.0
    for threshold in (math.nan, math.inf, -math.inf):
        with pytest.raises(CalibrationError, match="finite raw score"):
            check_threshold(threshold)
