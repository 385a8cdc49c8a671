"""The pictures of an experiment: AUROC by class, distributions of scores, reconstructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edge_runtime.atomic_files import atomic_path
from edge_runtime.preprocessing import scale_pixels
from tfganomaly.evaluation.metrics import image_auroc
from tfganomaly.evaluation.plots import LIGHT
from tfganomaly.evaluation.wording import count_of, words
from tfganomaly.reproduction.epoch_scores import EpochScores
from tfganomaly.reproduction.records import (
    BEST_ON_TEST,
    LAST,
    Record,
    class_names,
    score_names,
    spreads,
    training_images,
)
from tfganomaly.training.sample_sheet import sample_sheet

# Differ for all common kinds of colour blindness (Okabe and Ito), and the first is the one that usually decides.
COLOURS = ("#0072b2", "#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#999999", "#d55e00")
PIXELS_PER_INCH = 130
HISTOGRAM_BINS = 50
# Beyond this share of the scores the last bin collects the rest, or a few far ones would leave no room for the others.
SHOWN_SHARE = 0.99


def write_auroc_chart(path: Path, records: Sequence[Record]) -> None:
    """Draws a group of bars for each class, one a score, in the manner of the paper's figure.

    The bar is the last epoch's mean over seeds with its standard deviation; the line across is the best epoch on
    the test set.
    """
    scores, classes = score_names(records), class_names(records)
    last, best = spreads(records, LAST), spreads(records, BEST_ON_TEST)
    room_for_legend = 2.9 + 0.065 * max(len(score) for score in scores)  # inches; a sum of the user's own is long
    figure = _new_figure(max(6.0, 1.6 + 0.95 * len(classes), room_for_legend), 4.8)
    axes = figure.add_subplot()
    width = 0.84 / len(scores)
    for index, score in enumerate(scores):
        labels = [label for label in classes if (label, score) in last]
        centres = [list(classes).index(label) - 0.42 + width * (index + 0.5) for label in labels]
        axes.bar(
            centres,
            [last[label, score].mean for label in labels],
            width * 0.92,
            yerr=[last[label, score].deviation or 0.0 for label in labels] if _has_seeds(records) else None,
            error_kw={"linewidth": 0.9, "ecolor": LIGHT.text},
            color=COLOURS[index % len(COLOURS)],
            label=words(score),
        )
        axes.hlines(
            [best[label, score].mean for label in labels],
            np.array(centres) - width * 0.46,
            np.array(centres) + width * 0.46,
            colors=LIGHT.text,
            linewidth=1.2,
        )
    axes.plot([], [], color=LIGHT.text, linewidth=1.2, label="best epoch on the test set")
    axes.axhline(0.5, color=LIGHT.text, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xticks(range(len(classes)), list(classes.values()))
    axes.set_xlabel("anomalous class")
    axes.set_ylabel("image AUROC")
    axes.set_ylim(0, 1)
    axes.grid(axis="y", color=LIGHT.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    first = records[0]
    figure.suptitle(
        f"{first['collection']}: {first['protocol']} protocol, {training_images(records)} images, "
        f"{first['epochs']} epochs, "
        f"{count_of(len({record['seed'] for record in records}), 'seed')}\ndashed line: chance",
        fontsize=10,
    )
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    _save(figure, path)


def write_histograms(path: Path, shown: Mapping[str, EpochScores], score: str) -> None:
    """Draws the distribution of a score over good and anomalous test images, a panel for each class.

    Each curve holds 100 % of its own images; the last bin collects the highest 1 % of all, which the
    axis says.
    """
    columns = min(len(shown), 5)
    rows = -(-len(shown) // columns)
    figure = _new_figure(max(4.5, 2.7 * columns), 0.9 + 2.2 * rows)
    for index, (class_name, epoch) in enumerate(shown.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        values = epoch.scores[score]
        high = float(np.quantile(values, SHOWN_SHARE))
        edges = np.linspace(
            float(values.min()), high if high > values.min() else float(values.min()) + 1, HISTOGRAM_BINS
        )
        for label, colour, name in ((0, LIGHT.good, "good"), (1, LIGHT.anomalous, "anomalous")):
            chosen = np.clip(values[epoch.labels == label], edges[0], edges[-1])
            shares = 100 * np.histogram(chosen, edges)[0] / max(len(chosen), 1)
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(shares, edges, color=colour, linewidth=1.1, label=name)
        axes.set_title(f"{class_name} anomalous: AUROC {image_auroc(epoch.labels, values):.3f}", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3))
        axes.xaxis.get_offset_text().set_fontsize(8)
        axes.spines[["top", "right"]].set_visible(False)
        if index == 0:
            axes.legend(frameon=False, fontsize=8)
    figure.supxlabel(
        f"{words(score)}, last epoch\nthe last bin also holds the highest {1 - SHOWN_SHARE:.0%} of the scores",
        fontsize=9,
    )
    figure.supylabel("% of the images of a kind", fontsize=9)
    _save(figure, path)


def write_reconstructions(path: Path, shown: Mapping[str, EpochScores]) -> None:
    """Draws test images, their reconstructions and the differences for each class: good ones left, anomalous right."""
    figure = _new_figure(11.0, 0.2 + 2.45 * len(shown))
    for index, (class_name, epoch) in enumerate(shown.items()):
        axes = figure.add_subplot(len(shown), 1, index + 1)
        sheet = np.asarray(sample_sheet(scale_pixels(epoch.shown), epoch.reconstructions))
        axes.imshow(sheet, interpolation="nearest")
        height, width = sheet.shape[:2]
        axes.set_yticks(
            [height * part / 6 for part in (1, 3, 5)], ["input", "reconstruction", "difference"], fontsize=8
        )
        axes.set_xticks([width / 4, 3 * width / 4], ["good", f"anomalous ({class_name})"], fontsize=9)
        axes.axvline(width / 2, color="#ffffff", linewidth=3)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    _save(figure, path)


def _has_seeds(records: Sequence[Record]) -> bool:
    return len({record["seed"] for record in records}) > 1


def _new_figure(width_inches: float, height_inches: float) -> Figure:
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=PIXELS_PER_INCH, metadata={"Software": None})
