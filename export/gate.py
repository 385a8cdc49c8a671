"""Decides whether an exported file is close enough to its run."""

from __future__ import annotations

import numpy as np

from export.options import ExportOptions
from export.parity import ArtefactParity

# Where images are few the AUROC comes in large steps: a few pairs that change places are no drift.
_PAIRS_ALWAYS_ALLOWED = 3


def gate_failures(parity: ArtefactParity, labels: np.ndarray, options: ExportOptions) -> tuple[str, ...]:
    """Lists which bounds of the options the exported file breaks, one sentence each; empty when none.

    Args:
        parity: How the file compares with the run.
        labels: (N,) 0 = good, 1 = anomalous.
        options: The bounds.
    """
    failures = []
    allowed_drop = options.max_auroc_drop
    if allowed_drop > 0:
        num_anomalous = int(labels.sum())
        num_pairs = max(1, num_anomalous * (len(labels) - num_anomalous))
        allowed_drop = max(allowed_drop, _PAIRS_ALWAYS_ALLOWED / num_pairs)
    if parity.auroc_drop is not None and parity.auroc_drop.value > allowed_drop:
        failures.append(
            f"the image AUROC is {parity.auroc:.4f}, {parity.auroc_drop.value:.4f} below the run's; at most "
            f"{allowed_drop:.3g} is allowed (--max-auroc-drop)"
        )
    allowed_flips = options.max_verdict_flips * len(parity.scores)
    if options.max_verdict_flips > 0:
        # The run's threshold lies at the score of one good image, which the slightest change puts on either side.
        allowed_flips = max(allowed_flips, 1)
    if parity.verdict_flips > allowed_flips:
        failures.append(
            f"run and file disagree on the verdict of {parity.verdict_flips} of {len(parity.scores)} images "
            f"({parity.verdict_flip_share:.1%}); at most {options.max_verdict_flips:.1%} is allowed "
            "(--max-verdict-flips)"
        )
    return tuple(failures)
