"""Options of a reproduction beside those of the model and its training: declared once, here."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.option_declaration import check_options, option

PROTOCOLS = ("clean", "official")
# What the experiment decides itself, or what has no meaning in it.
NOT_OPTIONS = (
    "model",
    "recipe",
    "score_factor",
    "seed",
    "channels",
    "early_stop_patience",
    "false_alarm_rate",
)


@dataclass(frozen=True)
class ReproductionOptions:
    """What decides the experiment around the trainings."""

    seeds: int = option(1, "How many seeds, counted from 0: of split, weights and order.", minimum=1, maximum=1000)
    protocol: str = option(
        "clean",
        "clean: scores in inference mode, the last epoch counts. official: as the authors' program, batch norm by the "
        "test batch in the order of its loader, the best epoch on the test set counts; for comparison only.",
        choices=PROTOCOLS,
    )

    def __post_init__(self) -> None:
        check_options(self)
