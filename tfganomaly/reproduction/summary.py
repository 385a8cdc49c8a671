"""The result of an experiment as a table of plain text: classes down, scores across, means over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfganomaly.evaluation.wording import words
from tfganomaly.reproduction.records import (
    BEST_ON_TEST,
    LAST,
    Record,
    class_names,
    mean_over_classes,
    score_names,
    spreads,
    training_images,
)


def summary_lines(records: Sequence[Record], folder: Path) -> list[str]:
    """Two tables, by last epoch and by the best epoch on the test set, and where the files are.

    Args:
        records: At least one finished training.
        folder: The experiment's folder.
    """
    first = records[0]
    deciding = next(record["score"] for record in records if record["decides"])
    seeds = sorted({record["seed"] for record in records})
    counts = "best epoch on the test set" if first["protocol"] == "official" else "last epoch"
    lines = [
        f"{first['collection']}, one class anomalous, {first['protocol']} protocol, {training_images(records)} "
        f"training images, {first['epochs']} epochs, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
        f"decides: {words(deciding)}, by the {counts}",
        "",
        *_table("image AUROC, last epoch", records, LAST),
        "",
        *_table(
            "image AUROC, best epoch on the test set (chosen with its labels: not what a user gets)",
            records,
            BEST_ON_TEST,
        ),
    ]
    if len(seeds) > 1:
        lines += ["", "mean ± sample standard deviation over seeds"]
    lines += [
        "",
        f"results   {folder / 'results.json'}",
        f"pictures  {folder / 'auroc.png'}, histograms.png, reconstructions.png",
    ]
    return lines


def _table(title: str, records: Sequence[Record], figure: str) -> list[str]:
    scores, classes = score_names(records), class_names(records)
    cells, means = spreads(records, figure), mean_over_classes(records, figure)
    rows = [["anomalous", *(words(score) for score in scores)]]
    for label, name in classes.items():
        shown = name if name == str(label) else f"{label} {name}"
        rows.append([shown, *(cells[label, score].text() if (label, score) in cells else "" for score in scores)])
    if len(classes) > 1:
        rows.append(["mean", *(means[score].text() if score in means else "" for score in scores)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        title,
        *(
            "  ".join(
                cell.ljust(width) if not column else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ),
    ]
