"""The report's plots, each drawn to PNG bytes for a light or a dark page.

Figures are made with matplotlib's objects and never through pyplot, so nothing global is touched and a caller's
own backend and open figures stay as they are.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from sklearn.metrics import roc_curve

# A plot is shown at most this wide on the page, so its letters have the size of the text around it.
_WIDTH_INCHES = 5.2
_PIXELS_PER_INCH = 160
_FONT_POINTS = 9.5
_HISTOGRAM_BINS = 40
_WIDE_SPREAD = 10  # times the median
_LOGARITHMIC = ", logarithmic"


@dataclass(frozen=True)
class Theme:
    """Colours of one page theme, as `#rrggbb`.

    Blue and orange differ for all common kinds of colour blindness, and in lightness in a grey print.
    """

    background: str
    text: str
    faint: str
    good: str
    anomalous: str


LIGHT = Theme(background="#ffffff", text="#1f2937", faint="#d5dae1", good="#2b6cb0", anomalous="#dd6b20")
DARK = Theme(background="#171c24", text="#e5e9f0", faint="#38414e", good="#63a4e8", anomalous="#f6a04d")


@dataclass(frozen=True)
class RocBaseline:
    """A shortcut's scores, to be drawn beside the model's curve.

    Attributes:
        name: What the legend calls it.
        scores: (N,) float, already turned so that higher = more anomalous.
    """

    name: str
    scores: np.ndarray


def roc_plot(
    labels: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    *,
    theme: Theme = LIGHT,
    baseline: RocBaseline | None = None,
) -> bytes:
    """Draws the ROC curve with the point at which the stored threshold works.

    Args:
        labels: (N,) 0 = good, 1 = anomalous; both must occur.
        scores: (N,) float.
        threshold: The stored threshold.
        theme: Colours.
        baseline: The best shortcut, drawn dashed.

    Returns:
        A PNG file.
    """
    figure, axes = _new_plot(theme, height_inches=3.6)
    axes.plot([0, 100], [0, 100], color=theme.faint, linewidth=1, zorder=1)
    if baseline is not None:
        rate, recall, _ = roc_curve(labels, baseline.scores)
        axes.plot(100 * rate, 100 * recall, "--", color=theme.text, alpha=0.6, linewidth=1.3, label=baseline.name)
    rate, recall, _ = roc_curve(labels, scores)
    axes.plot(100 * rate, 100 * recall, color=theme.good, linewidth=2.2, label="model")
    called = scores > threshold
    axes.plot(
        100 * called[labels == 0].mean(),
        100 * called[labels == 1].mean(),
        "o",
        color=theme.anomalous,
        markeredgecolor=theme.background,
        markersize=9,
        label="stored threshold",
        clip_on=False,
        zorder=4,
    )
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 101)
    axes.set_xlabel("good images called anomalous, %")
    axes.set_ylabel("anomalous images found, %")
    _legend(axes, theme, location="lower right")
    return _to_png(figure)


def score_histogram(labels: np.ndarray, scores: np.ndarray, threshold: float, *, theme: Theme = LIGHT) -> bytes:
    """Draws the distribution of the scores of good and of anomalous images, with the threshold.

    Each class is shown as per cent of its own images, because test sets are rarely balanced. Scores that spread over
    orders of magnitude stand on a logarithmic axis; when else a few lie far out, the last bar collects them and says
    so.

    Args:
        labels: (N,) 0 = good, 1 = anomalous; one class may be absent.
        scores: (N,) float, N >= 1.
        threshold: The stored threshold.
        theme: Colours.

    Returns:
        A PNG file.
    """
    figure, axes = _new_plot(theme, height_inches=3.6)
    edges, axis_note = _histogram_edges(scores, threshold)
    for label, colour, name in ((0, theme.good, "good"), (1, theme.anomalous, "anomalous")):
        chosen = scores[labels == label]
        if chosen.size == 0:
            continue
        counts, _ = np.histogram(np.clip(chosen, edges[0], edges[-1]), bins=edges)
        shares = 100 * counts / chosen.size
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35)
        axes.stairs(shares, edges, color=colour, linewidth=1.4, label=f"{name} ({chosen.size})")
    axes.axvline(threshold, color=theme.text, linewidth=1.3, linestyle=(0, (4, 2)), label="threshold")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("score" + axis_note)
    axes.set_ylabel("% of the class")
    if axis_note == _LOGARITHMIC:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
        axes.xaxis.get_offset_text().set_color(theme.text)
        axes.xaxis.get_offset_text().set_fontsize(_FONT_POINTS)
    axes.set_xlim(edges[0], edges[-1])
    _legend(axes, theme, location="upper right")
    return _to_png(figure)


def _histogram_edges(scores: np.ndarray, threshold: float) -> tuple[np.ndarray, str]:
    """Return the borders of the bars, and what to add to the axis' name."""
    low, high = float(min(scores.min(), threshold)), float(max(scores.max(), threshold))
    if low > 0 and np.quantile(scores, 0.98) > _WIDE_SPREAD * np.median(scores):
        return np.geomspace(low, 1.1 * high, _HISTOGRAM_BINS + 1), _LOGARITHMIC
    bulk = max(float(np.quantile(scores, 0.98)), threshold)
    collects_outliers = high - low > 2 * (bulk - low) > 0
    if collects_outliers:
        high = low + 1.25 * (bulk - low)
    # A little room, so that a threshold at the highest score does not lie on the frame.
    high += 0.04 * (high - low)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _HISTOGRAM_BINS + 1), " (last bar: all above)" if collects_outliers else ""


def per_defect_bars(
    model_auroc: Mapping[str, float | None],
    shortcut_auroc: Mapping[str, float | None],
    *,
    theme: Theme = LIGHT,
) -> bytes:
    """Draws the AUROC of every defect type as a bar, with a mark at its best shortcut's.

    Args:
        model_auroc: Defect type to the model's AUROC.
        shortcut_auroc: Defect type to the highest AUROC that a shortcut reaches on it.
        theme: Colours.

    Returns:
        A PNG file.
    """
    names = list(model_auroc)
    figure, axes = _new_plot(theme, height_inches=1.1 + 0.34 * len(names))
    positions = np.arange(len(names))
    axes.barh(positions, [model_auroc[name] or 0.0 for name in names], height=0.62, color=theme.good)
    marks = [(at, shortcut_auroc.get(name)) for at, name in enumerate(names)]
    known = [(value, at) for at, value in marks if value is not None]
    if known:
        axes.plot(*zip(*known, strict=True), "D", color=theme.anomalous, markersize=6, clip_on=False)
        axes.plot([], [], "D", color=theme.anomalous, markersize=6, label="best shortcut")
    axes.axvline(0.5, color=theme.text, linewidth=1, linestyle=(0, (4, 2)), label="chance")
    axes.set_xlim(0, 1)
    axes.set_yticks(positions, [_shortened(name) for name in names], parse_math=False)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("AUROC against all good images")
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
        frameon=False,
        fontsize=_FONT_POINTS,
        labelcolor=theme.text,
    )
    return _to_png(figure)


def _new_plot(theme: Theme, height_inches: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), facecolor=theme.background, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=theme.background)
    axes.tick_params(colors=theme.text, labelsize=_FONT_POINTS, color=theme.faint)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=theme.text, fontsize=_FONT_POINTS)
    for side, spine in axes.spines.items():
        spine.set(color=theme.faint, visible=side in ("left", "bottom"))
    axes.grid(color=theme.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(axes: Axes, theme: Theme, location: str) -> None:
    axes.legend(
        loc=location,
        fontsize=_FONT_POINTS,
        labelcolor=theme.text,
        facecolor=theme.background,
        edgecolor="none",
        framealpha=0.8,
    )


def _shortened(name: str, longest: int = 24) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _to_png(figure: Figure) -> bytes:
    target = io.BytesIO()
    # Without the library's version in the file equal data gives equal bytes.
    figure.savefig(target, format="png", dpi=_PIXELS_PER_INCH, metadata={"Software": None})
    return target.getvalue()
