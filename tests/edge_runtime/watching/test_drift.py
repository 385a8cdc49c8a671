from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.calibrating.calibrate import MapRange, calibrate
from edge_runtime.calibration import Calibration
from edge_runtime.watching.drift import SMALLEST_DISTANCE, DriftMonitor

RANDOM_SEEDS = range(20)


def good_scores(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(9.0, 0.01, count)


def calibrated(count: int = 300) -> Calibration:
    return calibrate(good_scores(count, 1000), MapRange(0, 1, 1))


def evenly_calibrated() -> Calibration:
    """3000 scores that lie evenly between 0 and 1."""
    return calibrate(np.linspace(0, 1, 3000), MapRange(0, 1, 1))


def even_scores(count: int, low: float, high: float = 1.0) -> np.ndarray:
    """Scores that lie evenly in an interval, any ten that follow one another nearly so too."""
    tens = (np.arange(10) + 0.5) / 10
    offsets = (np.arange(count // 10) + 0.5) / (count // 10) / 10 - 0.05
    return low + (high - low) * (offsets[:, np.newaxis] + tens).ravel()


def changes(scores: np.ndarray, calibration: Calibration | None = None, window: int = 200) -> list[bool]:
    monitor = DriftMonitor(calibration or calibrated(), window)
    found = [monitor.update(float(score)) for score in scores]
    return [test.changed for test in found if test is not None]


@pytest.mark.parametrize("num_calibrated", [30, 300, 3000])
def test_unchanged_scores_are_never_called_changed(num_calibrated: int) -> None:
    calibration = calibrated(num_calibrated)
    for seed in RANDOM_SEEDS:
        assert changes(good_scores(2000, seed), calibration) == []


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_defects_are_not_a_changed_scene(share: float) -> None:
    for seed in RANDOM_SEEDS:
        random = np.random.default_rng(seed)
        scores = good_scores(1000, seed)
        scores[random.random(1000) < share] *= 5
        assert changes(scores) == []


def test_a_run_of_defects_is_not_a_changed_scene() -> None:
    scores = good_scores(1000, 1)
    scores[400:480] *= 6
    assert changes(scores) == []


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.4, 2.0, 10.0])
def test_scores_that_shift_as_a_whole_are_a_changed_scene(factor: float) -> None:
    for seed in RANDOM_SEEDS:
        assert changes(good_scores(600, seed) * factor) == [True]


def test_the_direction_is_said_and_the_way_back_too() -> None:
    monitor = DriftMonitor(calibrated(), 100)
    found = []
    for scores in (good_scores(300, 1), good_scores(300, 2) * 1.5, good_scores(400, 3)):
        found += [test for test in map(monitor.update, map(float, scores)) if test is not None]
    assert [test.changed for test in found] == [True, False]
    assert "higher" in found[0].message
    assert "Check light and camera" in found[0].message
    assert found[0].statistic > found[0].limit >= SMALLEST_DISTANCE
    assert "again" in found[1].message
    lower = DriftMonitor(calibrated(), 100)
    messages = [test.message for score in good_scores(200, 4) * 0.6 if (test := lower.update(float(score)))]
    assert len(messages) == 1
    assert "lower" in messages[0]


def test_scores_above_everything_known_are_a_changed_scene_when_they_are_most() -> None:
    monitor = DriftMonitor(calibrated(), 50)
    found = [test for _ in range(50) if (test := monitor.update(9.0))]
    assert [(test.changed, test.statistic) for test in found] == [(True, 1.0)]
    assert "100% of the latest 50 frames" in found[0].message


def test_a_line_that_stands_still_is_not_a_changed_scene() -> None:
    calibration = calibrated()
    for position in (10, 50, 90):  # one part is seen over and over, with the camera's noise
        noise = np.random.default_rng(position).normal(0, 1e-4, 600)
        assert changes(calibration.score_quantiles[position] + noise, calibration) == []


def test_scores_that_vary_by_less_than_a_quarter_of_the_usual_stand_still() -> None:
    calibration = evenly_calibrated()  # quartiles 0.5 apart; a quarter of that is allowed
    assert changes(even_scores(200, 0.68, 0.92), calibration) == []
    assert changes(even_scores(200, 0.67, 0.93), calibration) == [True]


@pytest.mark.parametrize("level", [0.005, 0.995])
def test_a_line_that_stands_still_at_a_score_that_hardly_any_part_has_is_a_changed_scene(level: float) -> None:
    assert changes(np.full(300, level), evenly_calibrated()) == [True]


def test_a_difference_that_is_certain_but_small_is_not_a_changed_scene() -> None:
    assert changes(even_scores(1000, 0.12), evenly_calibrated(), window=1000) == []
    assert changes(even_scores(1000, 0.22), evenly_calibrated(), window=1000) == [True]


def test_a_changed_scene_stays_so_until_the_difference_is_well_below_the_limit() -> None:
    changed, still_changed, back = even_scores(200, 0.3), np.tile(even_scores(200, 0.17), 2), even_scores(200, 0.12)
    calibration = evenly_calibrated()
    assert changes(np.concatenate([changed, still_changed]), calibration) == [True]
    assert changes(np.concatenate([changed, still_changed, back]), calibration) == [True, False]
    assert changes(still_changed, calibration) == []


def test_a_full_window_is_tested_four_times_as_it_goes_by() -> None:
    monitor = DriftMonitor(evenly_calibrated(), 40)
    scores = [*even_scores(40, 0.0), *[9.0] * 40]  # from the 61st on most of the window is above all that is known
    found = [number for number, score in enumerate(scores, start=1) if monitor.update(float(score)) is not None]
    assert found == [70]


def test_a_window_of_zero_never_tests() -> None:
    assert changes(good_scores(500, 1) * 10, window=0) == []


def test_calibration_scores_that_are_all_equal_are_no_trouble() -> None:
    calibration = calibrate(np.full(50, 0.1), MapRange(0, 1, 1))
    assert changes(np.full(300, 0.1), calibration) == []
    assert changes(np.full(300, 0.3), calibration) == [True]
    assert changes(np.full(300, 0.01), calibration) == [True]
