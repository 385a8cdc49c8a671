"""How figures are written for people, the same in the terminal and in the report."""

from __future__ import annotations

NOT_DEFINED = "not defined"


def figure(value: float | None) -> str:
    """Returns a metric in [0, 1] with three decimals, or "not defined"."""
    return NOT_DEFINED if value is None else f"{value:.3f}"


def percent(rate: float | None) -> str:
    """Returns a rate in [0, 1] as "3.2%", or "not defined"."""
    return NOT_DEFINED if rate is None else f"{100 * rate:.1f}%"


def interval(bounds: tuple[float, float]) -> str:
    """Returns an interval of rates as "1.5 to 6.8%"."""
    return f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}%"


def score_text(score: float) -> str:
    """Returns a raw score with four significant digits."""
    return f"{score:.4g}"


def words(name: str) -> str:
    """Returns an identifier such as "mean_grey" as words, "latent_l2" as "latent L2"."""
    return name.replace("_", " ").replace(" l1", " L1").replace(" l2", " L2")


def count_of(number: int, noun: str) -> str:
    """Returns "1 image" or "5 images"; "no images" for none."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
