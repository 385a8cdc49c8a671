"""Says with a stated confidence how many false alarms a threshold gives, from a sample of good scores.

Of n independent good scores, sorted, let the threshold have m of them above it. The share p of all good parts that lies
above the (m+1)-th highest of n scores follows a Beta(m + 1, n - m) distribution whatever the scores' own distribution
is (Wilks 1941, tolerance limits), so with confidence c it is at most the u that solves

    P(Binomial(n, u) <= m) = 1 - c,

which is also the upper Clopper-Pearson limit. Scores are taken to differ, as they do but for copies of an image.
"""

from __future__ import annotations

import math

import numpy as np

CONFIDENCE = 0.95
"""The confidence of every statement about false alarms, unless another one was asked for."""


def highest_false_alarm_rate(
    num_images: int, num_above: int, confidence: float = CONFIDENCE, *, was_chosen_by_scores: bool = False
) -> float:
    """Return the false alarm rate that a threshold does not exceed, with the stated confidence.

    Args:
        num_images: Good images that were scored, n.
        num_above: How many of them are above the threshold, m.
        confidence: Above 0 and below 1.
        was_chosen_by_scores: Whether m was chosen after a look at the scores and not before, as when a threshold is
            laid between good and defective images. The best of many thresholds is partly luck, so each m then
            gets its own share (1 - c) / ((m + 1) (m + 2)) of the doubt; all shares together are 1 - c, so the
            statement holds for whichever was chosen.

    Returns:
        The rate, 0 .. 1.
    """
    if num_above >= num_images:
        return 1.0
    doubt = 1 - confidence
    if was_chosen_by_scores:
        doubt /= (num_above + 1) * (num_above + 2)
    low, high = num_above / num_images, 1.0
    for _ in range(60):  # halves the interval: to the last bit of a double
        middle = (low + high) / 2
        if _log_binomial_shares(num_images, middle, num_above)[-1] > math.log(doubt):
            low = middle
        else:
            high = middle
    return high


def most_images_above(num_images: int, false_alarm_rate: float, confidence: float) -> int | None:
    """Return how many good images may lie above a threshold that keeps the rate with the stated confidence.

    Args:
        num_images: Good images that were scored.
        false_alarm_rate: The share to be kept, above 0 and below 1.
        confidence: Above 0 and below 1.

    Returns:
        The largest number; None where the images are too few even for a threshold that none of them exceeds.
    """
    shares = _log_binomial_shares(num_images, false_alarm_rate, num_images - 1)
    allowed = int(np.searchsorted(shares, math.log(1 - confidence), side="right"))
    return allowed - 1 if allowed else None


def images_needed(false_alarm_rate: float, confidence: float = CONFIDENCE) -> int:
    """Return how many good images are needed to promise a false alarm rate: 299 for 1% with 95% confidence.

    With the highest of n scores as threshold the rate is exceeded with probability (1 - rate)^n.
    """
    return math.ceil(round(math.log(1 - confidence) / math.log1p(-false_alarm_rate), 9))


def _log_binomial_shares(num_images: int, rate: float, largest: int) -> np.ndarray:
    """Return log P(Binomial(num_images, rate) <= j) for j = 0 .. largest, float64 and rising."""
    if rate >= 1:
        return np.full(largest + 1, -math.inf)  # largest < num_images
    counts = np.arange(largest + 1)
    log_choices = np.concatenate([[0.0], np.cumsum(np.log((num_images - counts[:-1]) / counts[1:]))])
    log_shares = log_choices + counts * math.log(rate) + (num_images - counts) * math.log1p(-rate)
    return np.logaddexp.accumulate(log_shares)
