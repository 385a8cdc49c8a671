"""How a fine-tuning went, for reports: costs nothing heavy to import."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Agreement(NamedTuple):
    """How a quantized graph's scores of held-back images differ from the float graph's, in natural logarithms.

    Attributes:
        disagreement: Mean squared difference over good and disturbed images.
        good_shift: Mean difference over good ones; below 0 where they score lower than in the float graph.
        disturbed_shift: The same over disturbed ones.
    """

    disagreement: float
    good_shift: float
    disturbed_shift: float

    def objective(self, encoder_loss_weight: float) -> float:
        """What the best step has least of: the disagreement, twice as in the loss, and how high good images score."""
        return 2 * self.disagreement + encoder_loss_weight * self.good_shift


@dataclass(frozen=True)
class FineTuningResult:
    """How the fine-tuning went.

    Attributes:
        history: The agreement with the float model by step at which it was checked, step 0 first.
        best_step: Whose weights the graph now has.
    """

    history: Mapping[int, Agreement]
    best_step: int

    @property
    def steps(self) -> int:
        """How many steps were done; 0 where ranges were chosen alone."""
        return max(self.history)

    def text(self) -> str:
        """What it has done for the scores, in one line; empty where there was no step."""
        if not self.steps:
            return ""
        before, after = (math.sqrt(self.history[step].disagreement) for step in (0, self.best_step))
        if self.best_step == 0:
            return (
                f"none of {self.steps} steps served the scores better than the choice of ranges alone "
                f"({before:.1%} off), which is kept; --fine-tuning-steps 0 saves the time"
            )
        kept = self.history[self.best_step]
        return (
            f"step {self.best_step} of {self.steps} is kept: scores {after:.1%} off the run's, {before:.1%} without; "
            f"on average good images score {_change(kept.good_shift)}, disturbed ones {_change(kept.disturbed_shift)}"
        )

    def summary(self) -> dict[str, Any]:
        """What the artefact's metadata says about it."""
        return {"fine_tuning_steps": self.steps, "best_step": self.best_step}

    def to_list(self) -> list[dict[str, Any]]:
        """A dictionary for each check, for JSON."""
        return [
            {"step": step, **{name: float(f"{value:.6g}") for name, value in agreement._asdict().items()}}
            for step, agreement in self.history.items()
        ]


def _change(shift: float) -> str:
    share = math.expm1(shift)
    return f"{abs(share):.1%} {'lower' if share < 0 else 'higher'}"
