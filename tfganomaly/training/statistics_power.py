"""Chooses how much the image statistics count beside the network, without a label.

Where parts always lie alike the statistics of their places are the better half of a score; where each lies in another
way they say little. Held-back good images tell, and the same with painted defects of kinds that training never paints,
which are as new to the network as to the statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_runtime.image_statistics import POWERS, USUAL_POWER
from edge_runtime.preprocessing import PicturePart, scale_pixels
from edge_runtime.scoring import STATISTICS_NAME, ScoreRule, anomaly_scores, score_components
from tfganomaly.batch_sizes import batches
from tfganomaly.evaluation.metrics import image_auroc
from tfganomaly.evaluation.scorer import Scorer
from tfganomaly.synthetic_defects.selection import selection_kinds_painted

LEAST_GAIN = 0.02
"""Of AUROC: a smaller advantage over the usual power can be luck."""
_SMALLEST_SCORE = 1e-12


@dataclass(frozen=True)
class PowerChoice:
    """What was found.

    Attributes:
        power: One of `POWERS`, or 0: the statistics are left out.
        rankings: For each power, how often a painted image scores above a good one, in [0, 1].
    """

    power: int
    rankings: Mapping[int, float]

    def text(self) -> str:
        """A line for the training's messages."""
        ranked = ", ".join(f"{ranking:.0%} to the power {power}" for power, ranking in self.rankings.items() if power)
        decision = f"to the power {self.power}" if self.power else "not at all"
        better = f"more than {100 * LEAST_GAIN:g} points better"
        if self.power == USUAL_POWER:
            why = f"as usual: no other choice is {better}"
        else:
            why = f"which is {better} than the usual power {USUAL_POWER}"
        return (
            f"image statistics count {decision}, {why}; painted defects told from good parts {self.rankings[0]:.0%} "
            f"by the network alone, {ranked} (50% is chance; many are faint, so 55 to 75% is usual)"
        )


def choose_power(
    scorer: Scorer, pixels: np.ndarray, seed: int, parts: Sequence[PicturePart] | None = None
) -> PowerChoice:
    """Ranks held-back good images and painted ones by the score with each power.

    Args:
        scorer: The trained model; its rule has statistics.
        pixels: uint8 (N, H, W, C) of good images that it was not trained on, N >= 1.
        seed: Decides what is painted.
        parts: Where each image shows its picture, in which is painted; None: everywhere.
    """
    good_images, kinds = selection_kinds_painted(pixels, seed, parts)
    good = _logarithms(scorer, good_images)
    painted = np.concatenate([_logarithms(scorer, images) for images in kinds])
    labels = np.repeat([0, 1], [len(good), len(painted)])
    network, statistics = np.concatenate([good, painted]).T
    rankings = {power: image_auroc(labels, network + power * statistics) or 0.0 for power in (0, *POWERS)}
    best = max(rankings, key=lambda power: rankings[power])
    return PowerChoice(best if rankings[best] > rankings[USUAL_POWER] + LEAST_GAIN else USUAL_POWER, rankings)


def with_power(rule: ScoreRule, power: int) -> ScoreRule:
    """The rule with its statistics to the power, or without them where it is 0."""
    if rule.statistics is None or not power:
        return replace(rule, statistics=None)
    return replace(rule, statistics=replace(rule.statistics, power=power))


def _logarithms(scorer: Scorer, pixels: np.ndarray) -> np.ndarray:
    """The network's score of each image and its factor to the power 1, as logarithms: (N, 2)."""
    network, first_power = replace(scorer.score_rule, statistics=None), with_power(scorer.score_rule, 1)
    found = []
    for batch in batches(len(pixels), pixels.shape[1:]):
        outputs, inputs = scorer.model_outputs(pixels[batch]), scale_pixels(pixels[batch])
        components = score_components(first_power, inputs, outputs)
        values = anomaly_scores(network, inputs, outputs), components[STATISTICS_NAME]
        found.append(np.log(np.maximum(np.stack(values, axis=1), _SMALLEST_SCORE)))
    return np.concatenate(found)
