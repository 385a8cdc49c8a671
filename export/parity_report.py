"""Writes the parity report beside the artefact: JSON for tools, one self-contained HTML page for people."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from edge_runtime.version import __version__
from export.fine_tuning_result import FineTuningResult
from export.output_places import write_together
from export.parity import ArtefactParity, ParityReport
from export.parity_files import ParityFiles

_PLOT_SIZE_PX = 320
_HISTORY_SIZE_PX = (300, 80)
_MOST_DOTS = 1500
_MOST_FLIPS = 20


@dataclass(frozen=True)
class Dot:
    """One image in the plot of the run's score against the file's, in pixels from the upper left."""

    x: float
    y: float
    is_anomalous: bool


@dataclass(frozen=True)
class ScorePlot:
    """The file's score (up) against the run's (right), both logarithmic, on the same scale.

    Attributes:
        size_px: Side of the square.
        dots: Every k-th image, at most 1500.
        step: That k.
        run_threshold_px: Where the run's threshold stands from the left.
        artefact_threshold_px: Where the file's stands from the top.
        low: Raw score at the lower left corner.
        high: Raw score at the upper right corner.
    """

    size_px: int
    dots: tuple[Dot, ...]
    step: int
    run_threshold_px: float
    artefact_threshold_px: float
    low: float
    high: float


@dataclass(frozen=True)
class FineTuningPlot:
    """How far the scores of held-back images are from the float model's, by step, in 300 x 80 pixels.

    Attributes:
        good: Points of the polyline of good images.
        disturbed: The same of disturbed copies of them.
        zero_px: Where no difference stands, from the top.
        low: Percent at the lower edge, 0 or less.
        high: Percent at the upper edge, 0 or more.
    """

    good: str
    disturbed: str
    zero_px: float
    low: float
    high: float


@dataclass(frozen=True)
class Flip:
    """One image that run and file judge differently.

    Attributes:
        name: Its name.
        is_anomalous: What it is.
        run_excess: The run's score above the run's threshold, as a share of it; negative below.
        file_excess: The same of the file.
    """

    name: str
    is_anomalous: bool
    run_excess: float
    file_excess: float


def write_parity_report(report: ParityReport, files: ParityFiles) -> None:
    """Writes both files.

    Raises:
        OutputError: One cannot be written; earlier ones stay.
    """
    write_together(encoded_parity_report(report, files))


def encoded_parity_report(report: ParityReport, files: ParityFiles) -> dict[Path, bytes]:
    """Returns what is to stand in each file, the page first."""
    return {
        # Lone surrogates, of a name that is not UTF-8, become backslash, u and four digits, as in the JSON.
        files.html: render_parity_report(report).encode("utf-8", "backslashreplace"),
        files.json: f"{json.dumps(report.to_dict(), indent=1, allow_nan=False)}\n".encode(),
    }


def render_parity_report(report: ParityReport) -> str:
    """Returns the HTML page."""
    environment = Environment(
        loader=PackageLoader("export"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["decimals"] = lambda value: "–" if value is None else f"{value:.4f}"
    environment.filters["signed"] = lambda value: f"{value:+.4f}"
    environment.filters["interval"] = lambda interval: "{:+.4f} to {:+.4f}".format(*interval)
    environment.filters["digits"] = lambda value: "–" if value is None else f"{value:.3g}"
    environment.filters["percent"] = lambda share: f"{100 * share:.2f} %"
    environment.filters["change"] = lambda percent: f"{percent:+.1f} %"
    environment.filters["off"] = lambda disagreement: f"{100 * math.sqrt(disagreement):.1f} %"
    environment.filters["shift"] = lambda shift: f"{100 * math.expm1(shift):+.1f} %"
    return environment.get_template("parity.html.j2").render(
        report=report,
        plot=plot_scores(report, report.exported),
        fine_tuning_plot=plot_fine_tuning(tuned) if (tuned := report.fine_tuning) and tuned.steps else None,
        flips=_largest_flips(report),
        version=__version__,
    )


def plot_scores(report: ParityReport, artefact: ArtefactParity) -> ScorePlot:
    """Places every image's pair of scores on a square."""
    run_scores, scores = report.run_scores, artefact.scores
    everything = np.concatenate([run_scores, scores, [report.run_threshold, artefact.threshold]])
    positive = everything[everything > 0]
    smallest = float(positive.min()) if positive.size else 1e-6
    low, high = np.log(smallest), max(np.log(max(float(everything.max()), smallest)), np.log(smallest) + 1e-6)

    def position(values: np.ndarray | float) -> np.ndarray:
        return (np.log(np.maximum(values, smallest)) - low) / (high - low) * _PLOT_SIZE_PX

    step = -(-len(scores) // _MOST_DOTS)
    dots = zip(position(run_scores)[::step], position(scores)[::step], report.labels[::step], strict=True)
    return ScorePlot(
        size_px=_PLOT_SIZE_PX,
        dots=tuple(Dot(round(float(x), 1), round(float(_PLOT_SIZE_PX - y), 1), bool(label)) for x, y, label in dots),
        step=step,
        run_threshold_px=round(float(position(report.run_threshold)), 1),
        artefact_threshold_px=round(float(_PLOT_SIZE_PX - position(artefact.threshold)), 1),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
    )


def _largest_flips(report: ParityReport) -> tuple[Flip, ...]:
    """The flips of the exported file, those farthest from agreement first."""
    file = report.exported
    run_excess = report.run_scores / max(report.run_threshold, 1e-12) - 1
    file_excess = file.scores / max(file.threshold, 1e-12) - 1
    order = sorted(report.flipped(file), key=lambda index: -abs(float(run_excess[index] - file_excess[index])))
    return tuple(
        Flip(report.names[index], bool(report.labels[index]), float(run_excess[index]), float(file_excess[index]))
        for index in order[:_MOST_FLIPS]
    )


def plot_fine_tuning(fine_tuning: FineTuningResult) -> FineTuningPlot:
    """Draws how far the scores have moved at each check."""
    width, height = _HISTORY_SIZE_PX
    shifts = {
        kind: [100 * math.expm1(getattr(agreement, f"{kind}_shift")) for agreement in fine_tuning.history.values()]
        for kind in ("good", "disturbed")
    }
    low, high = min(0.0, *shifts["good"], *shifts["disturbed"]), max(0.0, *shifts["good"], *shifts["disturbed"])

    def down(percent: float) -> float:
        return round((high - percent) / max(high - low, 1e-6) * height, 1)

    def line(percents: list[float]) -> str:
        steps = fine_tuning.history
        return " ".join(
            f"{width * step / fine_tuning.steps:.1f},{down(percent)}"
            for step, percent in zip(steps, percents, strict=True)
        )

    return FineTuningPlot(line(shifts["good"]), line(shifts["disturbed"]), down(0.0), low, high)
