"""What to do about the figures, in the words that the terminal, the report and the demo share."""

from __future__ import annotations

import shlex

from tfganomaly.evaluation.result import EvaluationResult

OPERATING_POINTS_TITLE = "What if I accept more false alarms?"
OPERATING_POINTS_CAVEAT = (
    "These thresholds are read off the test images: they help to decide on a rate and are not for the device. There "
    "good images set the threshold, for 5% false alarms by:"
)
GUIDE_CHAPTER = "When it misses defects"
"""The chapter of docs/guide.md that goes on from here."""


def calibrate_command(program: str = "tfganomaly", model: str = "MODEL") -> str:
    """Returns the command that sets an exported model's threshold for a rate of false alarms, as a shell takes it."""
    return f"{shlex.join([program, 'calibrate', model])} GOOD_FOLDER --false-alarm-rate 0.05"


def advice_on_misses(result: EvaluationResult) -> str | None:
    """Returns where to go on when more than a third of the defects are missed, or `None`."""
    if 3 * result.at_threshold.misses <= result.num_anomalous:
        return None
    return (
        f'More than a third of the defects are missed. The chapter "{GUIDE_CHAPTER}" of docs/guide.md says what to '
        "try, what usually helps most first."
    )


def warning_below_chance(auroc: float | None) -> str | None:
    """Returns what an image AUROC below 0.5 means, or `None` when it is not."""
    if auroc is None or auroc >= 0.5:
        return None
    return (
        f"The AUROC of {auroc:.3f} is below chance (0.5): the model calls the good images stranger than the "
        "anomalous ones. It is of no use for this test set."
    )
