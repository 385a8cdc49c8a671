"""Tells whether the scores as a whole have left the calibration: a moved lamp, not a defect.

The two-sample Kolmogorov-Smirnov test (Smirnov 1948; Press et al., Numerical Recipes, 3rd edition, 14.3.3) compares the
raw scores of the latest frames with the calibration's quantiles, with two changes that the purpose asks for:

- Defects lift the tail, a lamp moves the body. Scores above everything that calibration saw are therefore left out of
  the comparison, whatever their number; only when more than half of the window lies there is that itself the change.
- A difference must be large as well as certain: at least `SMALLEST_DISTANCE` between the distribution functions.

docs/decisions/0004-drift.md has the reasons and what was measured.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from edge_runtime.calibration import Calibration

FALSE_ALARM_LEVEL = 1e-4
"""Probability that one test calls unchanged scores changed."""

SMALLEST_DISTANCE = 0.2
LARGEST_SHARE_ABOVE = 0.5
_TESTS_PER_WINDOW = 4
_BACK_AT = 0.75  # of the limit, so that the state does not tremble
_STANDING_SPREAD = 0.25  # of the calibration's interquartile range


@dataclass(frozen=True)
class DriftTest:
    """What one test found.

    Attributes:
        changed: The state after it.
        statistic: The largest distance between the two distribution functions, 0 to 1; or, where more than half of the
            scores are above all calibrated ones, that share.
        limit: What the statistic was compared with.
        message: One line for people.
    """

    changed: bool
    statistic: float
    limit: float
    message: str


class DriftMonitor:
    """Compares the latest scores with a calibration.

    Args:
        calibration: What good images gave, in `score_quantiles` and `num_images`.
        window_frames: How many of the latest scores are compared, 20 or more; 0 never tests.
    """

    def __init__(self, calibration: Calibration, window_frames: int) -> None:
        self.changed = False
        self.window_frames = window_frames
        self._quantiles = np.asarray(calibration.score_quantiles, np.float64)
        self._levels = np.linspace(0, 1, len(self._quantiles))
        self._has_steps = bool((self._quantiles[1:] == self._quantiles[:-1]).any())
        self._ranks = np.arange(max(1, window_frames), dtype=np.float64)
        self._num_calibrated = max(2, calibration.num_images)
        self._scores: deque[float] = deque(maxlen=max(1, window_frames))
        self._until_test = window_frames

    def update(self, score: float) -> DriftTest | None:
        """Take one more raw score.

        Returns:
            What was found if this score completed a quarter of a window and the state changed, else None.
        """
        if not self.window_frames:
            return None
        self._scores.append(score)
        self._until_test -= 1
        if self._until_test > 0:
            return None
        self._until_test = max(1, self.window_frames // _TESTS_PER_WINDOW)
        found = self.test()
        if found.changed == self.changed:
            return None
        self.changed = found.changed
        return found

    def test(self) -> DriftTest:
        """Compare the window as it is with the calibration."""
        scores = np.sort(np.fromiter(self._scores, np.float64))
        usual = scores[: scores.searchsorted(self._quantiles[-1], "right")]
        share_above = 1 - len(usual) / len(scores)
        if share_above > LARGEST_SHARE_ABOVE:
            return DriftTest(
                True,
                share_above,
                LARGEST_SHARE_ABOVE,
                f"The scene has changed: {share_above:.0%} of the latest {len(scores)} frames score above all good "
                "images of the calibration. Check light and camera, or calibrate again.",
            )
        distance, is_higher = self._distance(usual)
        limit = self._limit(len(usual))
        if self.changed:
            limit *= _BACK_AT
        if distance <= limit or self._stands_still(scores):
            changed = self.changed and distance > limit
            return DriftTest(changed, distance, limit, "The scores are again as they were at calibration.")
        direction = "higher" if is_higher else "lower"
        return DriftTest(
            True,
            distance,
            limit,
            f"The scene has changed: the scores of the latest {len(scores)} frames are as a whole {direction} than at "
            f"calibration (Kolmogorov-Smirnov distance {distance:.2f}, limit {limit:.2f}). Check light and camera, or "
            "calibrate again.",
        )

    def _distance(self, rising: np.ndarray) -> tuple[float, bool]:
        """Largest distance of the empirical from the calibrated distribution function; whether scores are higher."""
        expected = np.interp(rising, self._quantiles, self._levels)
        shares_below = self._ranks[: len(rising)] / len(rising)
        excess = excess_before = expected - shares_below
        if self._has_steps:
            # Equal quantiles make a step of the calibrated function; below the step it has the lower value.
            expected_before = self._levels[np.minimum(self._quantiles.searchsorted(rising, "left"), 100)]
            excess_before = np.minimum(expected, expected_before) - shares_below
        higher = max(0.0, float(excess_before.max()))
        lower = max(0.0, 1 / len(rising) - float(excess.min()))  # from each score on one more lies below
        return max(higher, lower), higher >= lower

    def _limit(self, num_scores: int) -> float:
        """The distance that unchanged scores exceed with the probability `FALSE_ALARM_LEVEL`, or the smallest."""
        n, m = num_scores, self._num_calibrated
        critical = math.sqrt(-math.log(FALSE_ALARM_LEVEL / 2) / 2 * (n + m) / (n * m))
        return max(SMALLEST_DISTANCE, critical)

    def _stands_still(self, rising: np.ndarray) -> bool:
        """Whether the window shows one part over and over (a halted line): no sample of parts, so no evidence."""
        spread = rising[3 * len(rising) // 4] - rising[len(rising) // 4]
        usual_spread = self._quantiles[75] - self._quantiles[25]
        median = rising[len(rising) // 2]
        is_usual = self._quantiles[1] <= median <= self._quantiles[99]
        return bool(is_usual and spread < _STANDING_SPREAD * usual_spread)
