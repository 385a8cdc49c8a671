"""Image-level metrics: how well a score separates good from anomalous images.

Every function takes `labels`, (N,) with 0 = good and 1 = anomalous, and `scores`, (N,) float, higher = more
anomalous. A metric that its data does not define (one class only, no images) is `None`, never a made-up
number. An image is called anomalous when its score is *above* the threshold, as the runtime does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

ACCEPTED_FALSE_ALARM_RATES = (0.005, 0.01, 0.02, 0.05, 0.1)
"""What a line may be willing to accept, in rising order."""

# Two-sided 95% of the standard normal distribution.
_Z_95 = 1.959963984540054


@dataclass(frozen=True)
class ThresholdMetrics:
    """What a stored threshold does on labelled images.

    Attributes:
        f1: Harmonic mean of precision and recall of "anomalous"; `None` without anomalous images.
        false_alarm_rate: Share of good images above the threshold; `None` without good images.
        miss_rate: Share of anomalous images not above the threshold; `None` without anomalous images.
        false_alarms: Number of good images above the threshold.
        misses: Number of anomalous images not above the threshold.
        false_alarm_interval: 95% Wilson interval of the false alarm rate, or `None`.
        miss_interval: 95% Wilson interval of the miss rate, or `None`.
    """

    f1: float | None
    false_alarm_rate: float | None
    miss_rate: float | None
    false_alarms: int
    misses: int
    false_alarm_interval: tuple[float, float] | None
    miss_interval: tuple[float, float] | None


@dataclass(frozen=True)
class OperatingPoint:
    """What the lowest threshold finds that keeps a false alarm rate on labelled images.

    Attributes:
        accepted_rate: The share of good images that may be above the threshold, 0 .. 1.
        threshold: It is the score of a good image; a score above it is an anomaly.
        false_alarms: Number of good images above it; ties can make it less than would be accepted.
        found: Number of anomalous images above it.
        found_rate: Their share of all anomalous images, 0 .. 1.
    """

    accepted_rate: float
    threshold: float
    false_alarms: int
    found: int
    found_rate: float


@dataclass(frozen=True)
class AurocDifference:
    """By how much two scores of the same images differ in AUROC.

    Attributes:
        value: The first's AUROC minus the second's, in [-1, 1].
        interval: What 95% of such sets of images would say of it, (low, high), each in [-1, 1]; `None` with fewer than
            two images of a class. Where it holds 0, these images do not tell which score is better.
    """

    value: float
    interval: tuple[float, float] | None

    def __neg__(self) -> AurocDifference:
        """The second's AUROC minus the first's."""
        # 0 less it, so that no difference stays 0.0 and is not shown as -0.0000.
        return AurocDifference(0 - self.value, self.interval and (0 - self.interval[1], 0 - self.interval[0]))


def image_auroc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Returns the area under the ROC curve, in [0, 1]; 0.5 is chance.

    It is the probability that a random anomalous image scores above a random good one, ties counted half.
    """
    if not _has_both_classes(labels):
        return None
    return float(roc_auc_score(labels, scores))


def auroc_difference(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> AurocDifference | None:
    """Compares two scores of the same images, which says more than two intervals: what is hard is hard for both.

    The interval is the normal one of DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More
    Correlated Receiver Operating Characteristic Curves", 1988.

    Args:
        labels: (N,) 0 or 1.
        first: (N,) float.
        second: (N,) float.
    """
    first_auroc, second_auroc = image_auroc(labels, first), image_auroc(labels, second)
    if first_auroc is None or second_auroc is None:
        return None
    value = first_auroc - second_auroc
    shares = zip(_shares_in_order(labels, first), _shares_in_order(labels, second), strict=True)
    differences = [of_first - of_second for of_first, of_second in shares]
    if min(map(len, differences)) < 2:
        return AurocDifference(value, None)
    spread = _Z_95 * math.sqrt(sum(float(one.var(ddof=1)) / len(one) for one in differences))
    return AurocDifference(value, (max(-1.0, value - spread), min(1.0, value + spread)))


def image_auprc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Returns the area under the precision-recall curve as average precision, in [0, 1].

    Average precision is sum over thresholds of (recall step) * precision: no interpolation, which would be
    too kind. Chance is the share of anomalous images, so figures of two test sets do not compare.
    """
    if not _has_both_classes(labels):
        return None
    return float(average_precision_score(labels, scores))


def best_f1(labels: np.ndarray, scores: np.ndarray) -> tuple[float | None, float | None]:
    """Returns the highest F1 that any threshold reaches, and a threshold that reaches it.

    The threshold is chosen with the test labels, so the figure is an upper bound and not what a user gets.
    It lies half-way between two neighbouring scores, because "above" is meant strictly.
    """
    if not _has_both_classes(labels):
        return None, None
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    # The curve's last point (precision 1, recall 0) belongs to no threshold.
    total = precision[:-1] + recall[:-1]
    f1 = np.where(total > 0, 2 * precision[:-1] * recall[:-1] / np.where(total > 0, total, 1), 0.0)
    best = int(np.argmax(f1))
    lowest_called_anomalous = float(thresholds[best])
    below = scores[scores < lowest_called_anomalous]
    if below.size == 0:
        return float(f1[best]), float(np.nextafter(lowest_called_anomalous, -np.inf))
    return float(f1[best]), (lowest_called_anomalous + float(below.max())) / 2


def threshold_metrics(labels: np.ndarray, scores: np.ndarray, threshold: float) -> ThresholdMetrics:
    """Counts what is decided right and wrong at `threshold`."""
    called = scores > threshold
    anomalous = labels == 1
    num_anomalous = int(anomalous.sum())
    num_good = int(anomalous.size - num_anomalous)
    hits = int((called & anomalous).sum())
    false_alarms = int((called & ~anomalous).sum())
    misses = num_anomalous - hits
    return ThresholdMetrics(
        f1=2 * hits / (2 * hits + false_alarms + misses) if num_anomalous else None,
        false_alarm_rate=false_alarms / num_good if num_good else None,
        miss_rate=misses / num_anomalous if num_anomalous else None,
        false_alarms=false_alarms,
        misses=misses,
        false_alarm_interval=wilson_interval(false_alarms, num_good),
        miss_interval=wilson_interval(misses, num_anomalous),
    )


def operating_points(labels: np.ndarray, scores: np.ndarray) -> tuple[OperatingPoint, ...]:
    """Returns what would be found if more or fewer of these good images were allowed to be false alarms.

    The thresholds are chosen with the labels of the images that they are judged on, so they help to decide on a rate
    and are not for use. Where k of n good images may be above it, the threshold is the good score number k + 1 from
    the top: a lower one would let that image through as well.

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) float.

    Returns:
        One for each of `ACCEPTED_FALSE_ALARM_RATES` of which these good images can show one false alarm or more, in
        that order; none without good or without anomalous images.
    """
    if not _has_both_classes(labels):
        return ()
    falling = np.sort(scores[labels == 0])[::-1]
    anomalous = scores[labels == 1]
    points = []
    for rate in ACCEPTED_FALSE_ALARM_RATES:
        # Rounded, because a product such as 0.005 * 200 may come out a hair below the whole number.
        most_alarms = math.floor(round(rate * len(falling), 9))
        if most_alarms == 0:
            continue
        threshold = float(falling[most_alarms])
        found = int((anomalous > threshold).sum())
        alarms = int((falling > threshold).sum())
        points.append(OperatingPoint(rate, threshold, alarms, found, found / len(anomalous)))
    return tuple(points)


def per_defect_auroc(defects: Sequence[str], labels: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    """Returns the AUROC of each defect type's images against *all* good images.

    Args:
        defects: (N,) type of each image; the type of good images is not read.
        labels: (N,) 0 or 1.
        scores: (N,) float.

    Returns:
        Defect type to AUROC, in alphabetical order; `None` for all when there are no good images.
    """
    names = np.asarray(defects, dtype=object)
    good = labels == 0
    result: dict[str, float | None] = {}
    for name in sorted(set(names[~good])):
        chosen = good | ((names == name) & ~good)
        result[str(name)] = image_auroc(labels[chosen], scores[chosen])
    return result


def wilson_interval(count: int, total: int) -> tuple[float, float] | None:
    """Returns the 95% Wilson score interval of the rate `count / total`, or `None` when total is 0.

    Unlike the usual plus-or-minus it says something where it is needed most: 0 false alarms among 20 images
    is a rate between 0 and 0.16, not exactly 0.
    """
    if total == 0:
        return None
    rate = count / total
    squared = _Z_95**2
    centre = (rate + squared / (2 * total)) / (1 + squared / total)
    spread = _Z_95 * math.sqrt(rate * (1 - rate) / total + squared / (4 * total**2)) / (1 + squared / total)
    # At a rate of 0 or 1 one end is exact; floating point would leave it a hair off.
    low = 0.0 if count == 0 else max(0.0, centre - spread)
    high = 1.0 if count == total else min(1.0, centre + spread)
    return low, high


def strongest(aurocs: Mapping[str, float | None]) -> tuple[str, float] | None:
    """Returns name and AUROC of the highest defined entry, or `None` when none is defined."""
    defined = [(name, value) for name, value in aurocs.items() if value is not None]
    return max(defined, key=lambda entry: entry[1]) if defined else None


def _shares_in_order(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns of each anomalous image the share of good ones below it, of each good one that of anomalous ones above.

    Ties count half; the mean of either is the AUROC.
    """
    anomalous, good = scores[labels == 1], scores[labels == 0]
    ranks = rankdata(np.concatenate([anomalous, good]))
    below = (ranks[: len(anomalous)] - rankdata(anomalous)) / len(good)
    above = 1 - (ranks[len(anomalous) :] - rankdata(good)) / len(anomalous)
    return below, above


def _has_both_classes(labels: np.ndarray) -> bool:
    return bool((labels == 1).any() and (labels == 0).any())
