from __future__ import annotations

import math

import numpy as np
import pytest

from edge_runtime.calibrating.false_alarm_bound import highest_false_alarm_rate, images_needed, most_images_above


def binomial_share(count: int, rate: float, largest: int) -> float:
    """P(Binomial(count, rate) <= largest), summed in whole numbers and plain floats."""
    return sum(math.comb(count, j) * rate**j * (1 - rate) ** (count - j) for j in range(largest + 1))


def test_one_percent_with_95_percent_confidence_needs_299_good_images() -> None:
    assert images_needed(0.01) == 299  # 0.99^299 = 0.0495, 0.99^298 = 0.0500
    assert images_needed(0.05) == 59
    assert images_needed(0.5, 0.75) == 2  # 0.5^2 is exactly 0.25
    assert images_needed(0.001) == 2995


@pytest.mark.parametrize(("count", "above"), [(10, 0), (30, 1), (100, 3), (200, 60), (77, 76)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_bound_solves_the_binomial_equation(count: int, above: int, confidence: float) -> None:
    rate = highest_false_alarm_rate(count, above, confidence)
    assert above / count <= rate < 1
    assert binomial_share(count, rate, above) == pytest.approx(1 - confidence, rel=1e-9)


def test_known_values_of_the_bound() -> None:
    assert highest_false_alarm_rate(10, 0) == pytest.approx(1 - 0.05 ** (1 / 10))
    assert highest_false_alarm_rate(1, 0) == pytest.approx(0.95)
    assert highest_false_alarm_rate(7, 7) == 1.0
    # Quantiles of Beta(6, 95) and Beta(1001, 99000) as SciPy gives them.
    assert highest_false_alarm_rate(100, 5) == pytest.approx(0.10225, abs=5e-6)
    assert highest_false_alarm_rate(100_000, 1000) == pytest.approx(0.0105332, abs=1e-7)


def test_the_bound_is_the_quantile_of_a_beta_distribution() -> None:
    special = pytest.importorskip("scipy.special", reason="the train extra is not installed")
    for count, above in ((50, 0), (99, 1), (1000, 9)):
        expected = special.betaincinv(above + 1, count - above, 0.95)
        assert highest_false_alarm_rate(count, above) == pytest.approx(expected, rel=1e-9)


def test_the_allowed_number_keeps_the_rate_and_one_more_would_not() -> None:
    assert most_images_above(298, 0.01, 0.95) is None
    assert most_images_above(299, 0.01, 0.95) == 0
    assert most_images_above(473, 0.01, 0.95) == 1  # the sample sizes of Wilks: 299, 473, 628
    assert most_images_above(627, 0.01, 0.95) == 1
    assert most_images_above(628, 0.01, 0.95) == 2
    for count, rate in ((500, 0.02), (10_000, 0.01), (3, 0.9)):
        allowed = most_images_above(count, rate, 0.95)
        assert allowed is not None
        assert highest_false_alarm_rate(count, allowed) <= rate < highest_false_alarm_rate(count, allowed + 1)


def test_the_statement_is_true_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    rates = 1 - np.sort(random.random((4000, 60)), axis=1)[:, ::-1]  # true rate above each score, lowest rate first
    for above in (0, 3):
        held = (rates[:, above] <= highest_false_alarm_rate(60, above)).mean()
        assert held == pytest.approx(0.95, abs=0.015)  # 4000 rounds: a standard deviation of 0.0034


def test_a_threshold_chosen_after_a_look_at_the_scores_keeps_its_promise_too() -> None:
    random = np.random.default_rng(1)
    rates = 1 - np.sort(random.random((4000, 60)), axis=1)[:, ::-1]
    plain = np.array([highest_false_alarm_rate(60, above) for above in range(60)])
    careful = np.array([highest_false_alarm_rate(60, above, was_chosen_by_scores=True) for above in range(60)])
    assert (rates > plain).any(axis=1).mean() > 0.1  # someone who picks the luckiest threshold breaks the plain one
    assert (rates > careful).any(axis=1).mean() < 0.05
