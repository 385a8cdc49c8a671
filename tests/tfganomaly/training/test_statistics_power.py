from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.image_statistics import USUAL_POWER, ImageStatistics
from edge_runtime.preprocessing import Preprocessing
from edge_runtime.scoring import ModelOutputs, ScoreRule
from tests.edge_runtime.textures import textures_of
from tfganomaly.synthetic_defects.painter import SELECTION_KINDS
from tfganomaly.synthetic_defects.selection import selection_kinds_painted
from tfganomaly.training.statistics_power import PowerChoice, choose_power, with_power

SIZE = 64


def parts(count, seed):
    """Grainy pictures of usual contrast, each with a slope of light of its own."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(-60, 60, SIZE).reshape(1, SIZE, 1, 1) * rng.choice([-1, 1], (count, 1, 1, 1))
    return np.clip(128 + slope + rng.normal(0, 30, (count, SIZE, SIZE, 1)), 0, 255).astype(np.uint8)


class MadeUpScorer:
    """Its latent is what `judge` makes of each image; `judge` knows the good images, as a trained network does."""

    description, data_source, data_seed, threshold = "made up", "parts", 0, 1.0
    preprocessing = Preprocessing(SIZE, SIZE, 1, "letterbox", "fitted")

    def __init__(self, judge, statistics):
        self.judge = judge
        self.score_rule = ScoreRule(statistics=statistics)

    @property
    def calibration(self):
        raise AssertionError("not needed here")

    def model_outputs(self, pixels):
        latent = np.array([self.judge(image) for image in pixels], np.float32).reshape(-1, 1, 1, 1)
        return ModelOutputs(latent, np.zeros_like(latent))


def statistics_of(images):
    return ImageStatistics.of_images(images, textures_of(images))


@pytest.fixture(scope="module")
def statistics():
    return statistics_of(parts(60, 0))


def test_the_usual_power_stays_where_the_network_knows_nothing(statistics):
    rng = np.random.default_rng(0)
    choice = choose_power(MadeUpScorer(lambda image: rng.uniform(1, 2), statistics), parts(20, 1), 0)
    assert choice.power == USUAL_POWER
    assert choice.rankings[0] == pytest.approx(0.5, abs=0.15)
    assert choice.rankings[4] > choice.rankings[0] + 0.05
    assert list(choice.rankings) == [0, 1, 2, 4]


def test_statistics_that_mislead_are_left_out(statistics):
    held_back = parts(20, 1)
    known = {image.tobytes() for image in held_back}
    misleading = statistics_of(255 - parts(40, 2) // 3)  # of other parts altogether

    def knows(image):
        return (1.0 if image.tobytes() in known else 1.02) + image.mean() % 0.01

    choice = choose_power(MadeUpScorer(knows, misleading), held_back, 0)
    assert choice.power == 0
    assert choice.rankings[0] > 0.9  # some painted defects change nothing in images as small as these
    assert choice.rankings[4] < choice.rankings[0] - 0.02
    assert choose_power(MadeUpScorer(knows, misleading), held_back, 0).rankings[4] == choice.rankings[4]


def test_the_rule_is_changed_and_nothing_else(statistics):
    rule = ScoreRule({"latent_l1": 2.0}, "top", "latent", statistics)
    assert with_power(rule, 0) == replace(rule, statistics=None)
    assert with_power(rule, 2) == replace(rule, statistics=replace(statistics, power=2))
    assert with_power(replace(rule, statistics=None), 4) == replace(rule, statistics=None)


def test_what_was_found_is_said_in_one_line():
    rankings = {0: 0.594, 1: 0.615, 2: 0.625, 4: 0.63}
    assert PowerChoice(4, rankings).text() == (
        "image statistics count to the power 4, as usual: no other choice is more than 2 points better; painted "
        "defects told from good parts 59% by the network alone, 62% to the power 1, 62% to the power 2, 63% to the "
        "power 4 (50% is chance; many are faint, so 55 to 75% is usual)"
    )


@pytest.mark.parametrize(("power", "decision"), [(0, "not at all"), (1, "to the power 1"), (2, "to the power 2")])
def test_another_power_than_the_usual_one_is_said_to_be_better(power, decision):
    text = PowerChoice(power, {0: 0.5, 1: 0.5, 2: 0.5, USUAL_POWER: 0.5, power: 0.6}).text()
    assert text.startswith(
        f"image statistics count {decision}, which is more than 2 points better than the usual power 4; painted "
    )


def _painted(held_back, seed):
    good, kinds = selection_kinds_painted(held_back, seed)
    return good, np.concatenate(list(kinds))


def test_each_image_is_painted_once_with_every_kind():
    held_back = parts(7, 1)
    good, painted = _painted(held_back, seed=3)
    np.testing.assert_array_equal(good, held_back)
    assert painted.shape == (7 * len(SELECTION_KINDS), SIZE, SIZE, 1)
    assert painted.dtype == np.uint8
    changed = (painted.reshape(len(SELECTION_KINDS), 7, -1) != held_back.reshape(1, 7, -1)).any(axis=2)
    assert changed.mean() > 0.9
    np.testing.assert_array_equal(_painted(held_back, seed=3)[1], painted)
    assert (_painted(held_back, seed=4)[1] != painted).any()


def test_of_many_images_some_are_painted(monkeypatch):
    monkeypatch.setattr("tfganomaly.synthetic_defects.selection.MOST_SELECTION_IMAGES", 3)
    held_back = parts(9, 1)
    good, painted = _painted(held_back, seed=3)
    np.testing.assert_array_equal(good, held_back[[0, 4, 8]])
    assert len(painted) == 3 * len(SELECTION_KINDS)
