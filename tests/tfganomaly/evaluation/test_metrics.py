import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from tfganomaly.evaluation.metrics import (
    ACCEPTED_FALSE_ALARM_RATES,
    AurocDifference,
    auroc_difference,
    best_f1,
    image_auprc,
    image_auroc,
    operating_points,
    per_defect_auroc,
    strongest,
    threshold_metrics,
    wilson_interval,
)

# Four good and three anomalous images; of the 12 pairs the anomalous one is higher in 9 and equal in 1.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1])
SCORES = np.array([0.1, 0.2, 0.4, 0.5, 0.3, 0.5, 0.9])


def random_problem(seed, size=200):
    generator = np.random.default_rng(seed)
    labels = (generator.random(size) < 0.4).astype(int)
    # Rounded, so that there are ties within and between the classes.
    return labels, np.round(generator.normal(size=size) + labels, 1)


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    assert image_auroc(LABELS, SCORES) == pytest.approx((2 + 3 + 4 + 0.5) / 12)


def test_auprc_is_the_sum_of_precision_at_each_step_of_recall():
    # At 0.9: precision 1, recall 1/3. At 0.5: 2/3, 2/3. At 0.3: 3/5, 1.
    assert image_auprc(LABELS, SCORES) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_metrics_agree_with_scikit_learn():
    for seed in range(5):
        labels, scores = random_problem(seed)
        assert image_auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
        assert image_auprc(labels, scores) == pytest.approx(average_precision_score(labels, scores))
        assert threshold_metrics(labels, scores, 0.7).f1 == pytest.approx(f1_score(labels, scores > 0.7))


def test_the_difference_of_two_scores_is_that_of_their_aurocs():
    labels, scores = random_problem(3)
    worse = scores + np.random.default_rng(4).normal(0, 0.5, len(scores))
    difference = auroc_difference(labels, scores, worse)
    assert difference.value == pytest.approx(roc_auc_score(labels, scores) - roc_auc_score(labels, worse))
    low, high = difference.interval
    assert (low + high) / 2 == pytest.approx(difference.value)
    for mirrored in (auroc_difference(labels, worse, scores), -difference):
        assert mirrored.value == pytest.approx(-difference.value)
        assert mirrored.interval == pytest.approx((-high, -low))


def test_the_interval_holds_the_true_difference_nineteen_times_of_twenty():
    generator = np.random.default_rng(5)
    shift, noise = 1.0, 1.0
    # Of two normal distributions a standard deviation of s each and d apart the AUROC is Phi(d / (s sqrt 2)).
    true = norm.cdf(shift / np.sqrt(2)) - norm.cdf(shift / np.sqrt(2 * (1 + noise**2)))
    labels = np.repeat([0, 1], 60)
    held = 0
    for _ in range(400):
        scores = generator.normal(shift * labels)
        low, high = auroc_difference(labels, scores, scores + generator.normal(0, noise, 120)).interval
        held += low <= true <= high
    assert 0.92 < held / 400 < 0.98


def test_equal_scores_differ_by_nothing_and_single_images_say_no_interval():
    labels, scores = random_problem(6)
    assert auroc_difference(labels, scores, 2 * scores) == AurocDifference(0.0, (0.0, 0.0))
    assert f"{(-auroc_difference(labels, scores, 2 * scores)).value:+.4f}" == "+0.0000"
    assert auroc_difference(np.array([0, 1]), np.array([1.0, 2.0]), np.array([2.0, 1.0])) == AurocDifference(1.0, None)
    assert auroc_difference(np.zeros(2), np.arange(2.0), np.arange(2.0)) is None


def test_best_f1_is_the_best_of_all_thresholds_and_its_threshold_reaches_it():
    for seed in range(5):
        labels, scores = random_problem(seed)
        highest, threshold = best_f1(labels, scores)
        candidates = [*np.unique(scores), scores.min() - 1]
        assert highest == pytest.approx(max(f1_score(labels, scores > at) for at in candidates))
        assert threshold_metrics(labels, scores, threshold).f1 == pytest.approx(highest)


def test_best_f1_can_lie_below_every_score():
    highest, threshold = best_f1(np.array([0, 1, 1]), np.array([0.5, 0.5, 0.5]))
    assert highest == pytest.approx(0.8)
    assert threshold < 0.5


def test_an_image_at_the_threshold_is_not_anomalous():
    at = threshold_metrics(LABELS, SCORES, 0.5)
    assert (at.false_alarms, at.misses) == (0, 2)
    below = threshold_metrics(LABELS, SCORES, 0.45)
    assert (below.false_alarms, below.misses) == (1, 1)
    assert below.false_alarm_rate == 1 / 4
    assert below.miss_rate == 1 / 3
    assert below.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))


def test_an_operating_point_is_the_lowest_threshold_that_keeps_its_rate():
    labels = np.repeat([0, 1], [200, 5])
    scores = np.concatenate([np.arange(200.0), [189.0, 195.5, 197.5, 198.0, 250.0]])
    points = operating_points(labels, scores)
    assert [point.accepted_rate for point in points] == [0.005, 0.01, 0.02, 0.05, 0.1]
    # 1, 2, 4, 10 and 20 of 200 may be above; 198 is not above 198.
    assert [point.threshold for point in points] == [198.0, 197.0, 195.0, 189.0, 179.0]
    assert [point.false_alarms for point in points] == [1, 2, 4, 10, 20]
    assert [point.found for point in points] == [1, 3, 4, 4, 5]
    assert points[1].found_rate == 3 / 5
    for point in points:
        at = threshold_metrics(labels, scores, point.threshold)
        assert (at.false_alarms, at.misses) == (point.false_alarms, 5 - point.found)
        lower = threshold_metrics(labels, scores, np.nextafter(point.threshold, -np.inf))
        assert lower.false_alarm_rate > point.accepted_rate


def test_good_images_of_equal_score_are_let_through_together_or_not_at_all():
    labels = np.repeat([0, 1], [20, 2])
    scores = np.array([*[1.0] * 15, *[5.0] * 5, 5.0, 6.0])
    points = operating_points(labels, scores)
    assert [(point.threshold, point.false_alarms, point.found) for point in points] == [(5.0, 0, 1), (5.0, 0, 1)]


@pytest.mark.parametrize("num_good", [0, 9, 10, 20, 49, 50, 100, 199, 200, 300, 1400])
def test_only_rates_that_the_good_images_can_show_are_operating_points(num_good):
    labels = np.repeat([0, 1], [num_good, 3])
    points = operating_points(labels, np.arange(num_good + 3.0))
    assert [point.accepted_rate for point in points] == [
        rate for rate in ACCEPTED_FALSE_ALARM_RATES if num_good and rate >= 1 / num_good
    ]
    assert [point.false_alarms for point in points] == [
        round(1000 * point.accepted_rate) * num_good // 1000 for point in points
    ]


def test_without_good_or_without_anomalous_images_there_are_no_operating_points():
    assert operating_points(np.zeros(300, int), np.arange(300.0)) == ()
    assert operating_points(np.ones(300, int), np.arange(300.0)) == ()


def test_f1_is_zero_when_nothing_is_called_anomalous():
    assert threshold_metrics(LABELS, SCORES, 5.0).f1 == 0.0


def test_metrics_without_anomalous_images_are_none():
    labels, scores = np.zeros(3, int), np.array([1.0, 2.0, 3.0])
    assert image_auroc(labels, scores) is None
    assert image_auprc(labels, scores) is None
    assert best_f1(labels, scores) == (None, None)
    at = threshold_metrics(labels, scores, 2.5)
    assert (at.f1, at.miss_rate, at.miss_interval) == (None, None, None)
    assert at.false_alarm_rate == 1 / 3


def test_metrics_without_good_images_are_none():
    labels, scores = np.ones(2, int), np.array([1.0, 2.0])
    assert image_auroc(labels, scores) is None
    at = threshold_metrics(labels, scores, 1.5)
    assert (at.false_alarm_rate, at.false_alarm_interval) == (None, None)
    assert at.miss_rate == 0.5
    assert per_defect_auroc(["a", "b"], labels, scores) == {"a": None, "b": None}


def test_each_defect_type_is_compared_with_all_good_images():
    defects = ["good"] * 4 + ["crack", "hole", "hole"]
    result = per_defect_auroc(defects, LABELS, SCORES)
    assert list(result) == ["crack", "hole"]
    assert result["crack"] == pytest.approx(2 / 4)
    assert result["hole"] == pytest.approx((3.5 + 4) / 8)


def test_wilson_interval_has_the_textbook_values():
    low, high = wilson_interval(0, 20)
    assert low == 0.0
    assert high == pytest.approx(0.1611, abs=1e-4)
    assert wilson_interval(20, 20)[1] == 1.0
    # Newcombe 1998, table I: 81 of 263.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 0) is None


def test_strongest_skips_what_is_not_defined():
    assert strongest({"a": 0.6, "b": None, "c": 0.7}) == ("c", 0.7)
    assert strongest({"b": None}) is None
