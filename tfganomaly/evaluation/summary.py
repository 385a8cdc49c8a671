"""The result of an evaluation as a few lines of plain text for a terminal."""

from __future__ import annotations

from pathlib import Path

from tfganomaly.evaluation.advice import (
    OPERATING_POINTS_CAVEAT,
    OPERATING_POINTS_TITLE,
    advice_on_misses,
    calibrate_command,
)
from tfganomaly.evaluation.result import EvaluationResult
from tfganomaly.evaluation.wording import figure, interval, percent, words


def summary_lines(result: EvaluationResult, report: Path | None = None) -> list[str]:
    """Returns the summary, one line of text each, without colours and without trailing spaces.

    Args:
        result: What was measured.
        report: The HTML report, when one was written.
    """
    lines = [
        f"Model    {result.model_description}",
        f"Data     {result.dataset_name}: {result.num_normal} good, {result.num_anomalous} anomalous images"
        + (f", {len(result.unreadable)} unreadable" if result.unreadable else ""),
        "",
        *_headline(result),
    ]
    if advice := advice_on_misses(result):
        lines += ["", advice]
    if result.operating_points:
        lines += ["", *_operating_points(result), OPERATING_POINTS_CAVEAT, f"  {calibrate_command()}"]
    if result.defects:
        rows = [
            [
                name,
                str(defect.num_images),
                figure(defect.auroc),
                str(defect.misses),
                _shortcut(defect.best_shortcut, defect.shortcut_auroc),
            ]
            for name, defect in result.defects.items()
        ]
        lines += ["", *_table(["defect", "images", "AUROC", "missed", "best shortcut"], rows)]
    if result.image_auroc is not None:
        rows = [
            [words(name), figure(auroc), "decides" if name == result.deciding_score else ""]
            for name, auroc in result.score_aurocs.items()
        ]
        if result.deciding_score not in result.score_aurocs:
            rows.append([words(result.deciding_score), figure(result.image_auroc), "decides"])
        lines += ["", *_table(["scores side by side", "AUROC", ""], rows, left_columns=(0, 2))]
        if "feature_l2" not in result.score_aurocs:
            lines.append(
                "feature L2 and weighted sum need the discriminator, which only a run of the paper's model has."
            )
        rows = [["this model", figure(result.image_auroc)]]
        rows += [[words(name), figure(baseline.auroc)] for name, baseline in result.shortcuts.items()]
        lines += ["", *_table(["shortcut baselines", "AUROC"], rows)]
    warnings = [text for text in (result.shortcut_warning, *result.warnings) if text]
    if warnings:
        lines += ["", *(f"Warning: {text}" for text in warnings)]
    if report is not None:
        lines += ["", f"Report   {report}"]
    return [line.rstrip() for line in lines]


def _headline(result: EvaluationResult) -> list[str]:
    at = result.at_threshold
    rows = [
        ["image AUROC", figure(result.image_auroc), "0.5 is chance"],
        ["image AUPRC", figure(result.image_auprc), ""],
        ["F1 at the threshold", figure(at.f1), f"best of any threshold {figure(result.best_f1)}"],
        ["false alarm rate", percent(at.false_alarm_rate), _counted(at.false_alarms, result.num_normal, "good")],
        ["miss rate", percent(at.miss_rate), _counted(at.misses, result.num_anomalous, "anomalous")],
        ["pixel AUROC", figure(result.pixel_auroc), "" if result.num_masks else "needs masks"],
        ["AUPRO", figure(result.aupro), "0.15 is chance" if result.num_masks else "needs masks"],
        ["threshold", f"{result.threshold:.6g}", "raw score"],
    ]
    for row, bounds in ((rows[3], at.false_alarm_interval), (rows[4], at.miss_interval)):
        if bounds is not None:
            row[2] += f", 95% interval {interval(bounds)}"
    return _table(None, rows, left_columns=(0, 2))


def _operating_points(result: EvaluationResult) -> list[str]:
    rows = [
        [
            percent(point.accepted_rate),
            f"{percent(point.found_rate)} ({point.found} of {result.num_anomalous})",
            f"{point.false_alarms} of {result.num_normal}",
            f"{point.threshold:.6g}",
        ]
        for point in result.operating_points
    ]
    return _table([OPERATING_POINTS_TITLE, "defects found", "false alarms", "threshold"], rows, left_columns=(0,))


def _counted(count: int, total: int, kind: str) -> str:
    return f"{count} of {total} {kind} images" if total else f"needs {kind} images"


def _shortcut(name: str | None, auroc: float | None) -> str:
    return "-" if name is None else f"{figure(auroc)} {words(name)}"


def _table(header: list[str] | None, rows: list[list[str]], left_columns: tuple[int, ...] = (0, 4)) -> list[str]:
    lines = [*([header] if header else []), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in left_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
