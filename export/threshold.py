"""Carries the run's threshold over to the exported file's own scale of scores.

Int8 kernels shift scores, so the file needs a threshold of its own. A quantile of its scores of some dozen good images
is one, but it hangs on the one or two highest of them: where int8 moves such an image by a tenth, every image near the
threshold changes its verdict. How the scores of all images near the threshold have moved is known far better.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime.calibration import Calibration
from edge_runtime.preprocessing import scale_pixels, unscale_pixels
from edge_runtime.scoring import anomaly_scores
from export.disturbance import Purpose, with_disturbed
from tfganomaly.batch_sizes import batches
from tfganomaly.evaluation.scorer import Scorer

FEWEST_NEAREST = 20
NEAREST_SHARE = 0.2
_SMALLEST_SCORE = 1e-12
# The threshold lies at a good image's score; float kernels that add in another order must not put it above.
_ROUNDING = 1e-5


class ThresholdTransfer:
    """Knows the run's scores of good and disturbed images, and compares a file's with them.

    Args:
        run: The run, with its threshold.
        held_back: uint8 (N, H, W, C), good images that the run was not trained on.
        seed: Decides the disturbances.
    """

    def __init__(self, run: Scorer, held_back: np.ndarray, seed: int) -> None:
        self._run_threshold = run.threshold
        self._num_good = len(held_back)
        self._images = with_disturbed(held_back, seed, Purpose.THRESHOLD)
        self._shape = held_back.shape[1:]
        self._run_scores = self._scores(run)

    def apply(self, calibration: Calibration, file: Scorer) -> Calibration:
        """Return a file's calibration with the run's threshold on the file's scale.

        The factor between the scales is the median of file score / run score over the images whose run score is
        nearest to the run's threshold, by their ratio: a fifth of all, at least twenty, or half of fewer than forty. A
        hundred-thousandth is added.

        Args:
            calibration: From the file's scores of the held-back images, by quantile. Those of them that are above the
                threshold are counted anew.
            file: The exported file.
        """
        file_scores = self._scores(file)
        distances = np.abs(np.log(self._run_scores / max(self._run_threshold, _SMALLEST_SCORE)))
        count = max(min(FEWEST_NEAREST, len(distances) // 2), round(NEAREST_SHARE * len(distances)))
        nearest = np.argsort(distances, kind="stable")[:count]
        factor = float(np.median(file_scores[nearest] / self._run_scores[nearest]))
        threshold = self._run_threshold * factor * (1 + _ROUNDING)
        num_above = int(np.count_nonzero(file_scores[: self._num_good] > threshold))
        return replace(calibration, threshold=threshold, num_above=num_above)

    def _scores(self, scorer: Scorer) -> np.ndarray:
        scores = []
        for batch in batches(len(self._images), self._shape):
            pixels = unscale_pixels(self._images[batch])
            scores.append(anomaly_scores(scorer.score_rule, scale_pixels(pixels), scorer.model_outputs(pixels)))
        return np.maximum(np.concatenate(scores).astype(np.float64), _SMALLEST_SCORE)
