"""Writes the report folder: one self-contained HTML page, metrics.json and the plots."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from edge_runtime.atomic_files import output_error, write_bytes_atomically, write_text_atomically
from edge_runtime.calibration import Calibration
from edge_runtime.version import __version__
from tfganomaly.evaluation import plots
from tfganomaly.evaluation.advice import (
    OPERATING_POINTS_CAVEAT,
    OPERATING_POINTS_TITLE,
    advice_on_misses,
    calibrate_command,
)
from tfganomaly.evaluation.gallery import (
    MOST_DEFECT_TYPES,
    build_gallery,
    choose_images,
    choose_images_by_defect,
    colour_scale,
)
from tfganomaly.evaluation.report_text import (
    MEANINGS,
    SCORE_MEANINGS,
    SHORTCUT_MEANINGS,
    Tile,
    counts_text,
    defect_pictures_intro,
    headline_tiles,
    lead_text,
    pictures_intro,
    scores_intro,
)
from tfganomaly.evaluation.result import EvaluationResult
from tfganomaly.evaluation.scorer import Scorer
from tfganomaly.evaluation.wording import figure, percent, score_text, words

REPORT_FILENAME = "report.html"
METRICS_FILENAME = "metrics.json"
PLOTS_FOLDER = "plots"
IMAGES_PER_END = 2


@dataclass(frozen=True)
class PlotPicture:
    """One plot for both page themes.

    Attributes:
        light: Data URI.
        dark: Data URI.
        width: In pixels of the page.
        height: Likewise.
    """

    light: str
    dark: str
    width: int
    height: int


def write_report(directory: Path, result: EvaluationResult, scorer: Scorer) -> Path:
    """Writes `report.html`, `metrics.json` and `plots/*.png` into a folder, which is made when it is missing.

    The page needs no other file and no network. The scorer runs once more on the few images of the galleries.

    Args:
        directory: The folder; files of an earlier report in it are replaced.
        result: What was measured.
        scorer: The model that was evaluated.

    Returns:
        The path of the HTML page.

    Raises:
        OutputError: The folder or a file cannot be written.
    """
    try:
        (directory / PLOTS_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(directory, error) from error
    result.save(directory / METRICS_FILENAME)
    drawings = _drawings(result)
    for name, draw in drawings.items():
        write_bytes_atomically(directory / PLOTS_FOLDER / f"{name}.png", draw(plots.LIGHT))
    page = render_report(result, scorer)
    report = directory / REPORT_FILENAME
    write_text_atomically(report, page)
    return report


def render_report(result: EvaluationResult, scorer: Scorer, *, images_per_section: int = 6) -> str:
    """Returns the HTML page, with at most `images_per_section` in each of the four galleries; see `write_report`."""
    environment = Environment(
        loader=PackageLoader("tfganomaly.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(figure=figure, percent=percent, score=score_text, words=words)
    tiles: list[Tile] = headline_tiles(result)
    return environment.get_template("report.html.j2").render(
        result=result,
        version=__version__,
        counts=counts_text(result),
        lead=lead_text(result),
        warnings=result.warnings,
        advice=advice_on_misses(result),
        tiles=tiles,
        meanings=MEANINGS,
        scores_intro=scores_intro(result),
        has_both=result.image_auroc is not None,
        plots={name: _picture(draw) for name, draw in _drawings(result).items()},
        operating_points_title=OPERATING_POINTS_TITLE,
        operating_points_caveat=OPERATING_POINTS_CAVEAT,
        calibrate_command=calibrate_command(),
        shortcuts=_shortcut_rows(result) if result.image_auroc is not None else [],
        defects=_defect_rows(result),
        scores=_score_rows(result),
        gallery=build_gallery(choose_images(result, images_per_section), result, scorer),
        defect_gallery=build_gallery(choose_images_by_defect(result, IMAGES_PER_END), result, scorer),
        pictures_intro=pictures_intro(result),
        defect_pictures_intro=defect_pictures_intro(result, MOST_DEFECT_TYPES),
        colour_scale=colour_scale(scorer.calibration),
        settings=_settings(result, scorer),
    )


def _drawings(result: EvaluationResult) -> dict[str, Callable[[plots.Theme], bytes]]:
    """Returns by name what draws each plot that the result defines."""
    labels = np.array([image.item.is_anomalous for image in result.images], dtype=np.int64)
    scores = np.array([image.score for image in result.images], dtype=np.float64)
    drawings: dict[str, Callable[[plots.Theme], bytes]] = {
        "score_histogram": lambda theme: plots.score_histogram(labels, scores, result.threshold, theme=theme)
    }
    if result.image_auroc is not None:
        best = result.best_shortcut
        baseline = (
            plots.RocBaseline(f"best shortcut: {words(best[0])}", result.shortcuts[best[0]].scores) if best else None
        )
        drawings["roc"] = lambda theme: plots.roc_plot(labels, scores, result.threshold, theme=theme, baseline=baseline)
    if result.image_auroc is not None and len(result.defects) > 1:
        drawings["per_defect"] = lambda theme: plots.per_defect_bars(
            {name: defect.auroc for name, defect in result.defects.items()},
            {name: defect.shortcut_auroc for name, defect in result.defects.items()},
            theme=theme,
        )
    return drawings


def _picture(draw: Callable[[plots.Theme], bytes]) -> PlotPicture:
    light = draw(plots.LIGHT)
    # A PNG states its size in the bytes 16 to 24 of its header.
    width, height = (int.from_bytes(light[at : at + 4], "big") for at in (16, 20))
    return PlotPicture(_png_uri(light), _png_uri(draw(plots.DARK)), width // 2, height // 2)


def _png_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _score_rows(result: EvaluationResult) -> list[dict[str, Any]]:
    """Returns every score that the model allows, the deciding one first and marked; nothing without both classes."""
    if result.image_auroc is None:
        return []
    others = {name: auroc for name, auroc in result.score_aurocs.items() if name != result.deciding_score}
    aurocs: dict[str, float | None] = {result.deciding_score: result.image_auroc, **others}
    return [
        {
            "name": words(name)[0].upper() + words(name)[1:],
            "meaning": SCORE_MEANINGS.get(name, ""),
            "auroc": auroc,
            "decides": name == result.deciding_score,
        }
        for name, auroc in aurocs.items()
    ]


def _shortcut_rows(result: EvaluationResult) -> list[dict[str, Any]]:
    auroc = result.image_auroc
    rows = [
        {
            "name": words(name).capitalize(),
            "meaning": SHORTCUT_MEANINGS[name],
            "auroc": baseline.auroc,
            "direction": None
            if baseline.auroc is None or baseline.auroc == 0.5
            else f"anomalous images have the {'lower' if baseline.points_down else 'higher'} values",
            "beats_model": baseline.auroc is not None and auroc is not None and baseline.auroc >= auroc,
        }
        for name, baseline in result.shortcuts.items()
    ]
    return sorted(rows, key=lambda row: -1.0 if row["auroc"] is None else row["auroc"], reverse=True)


def _defect_rows(result: EvaluationResult) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "num_images": defect.num_images,
            "auroc": defect.auroc,
            "misses": defect.misses,
            "shortcut_name": defect.best_shortcut,
            "shortcut_auroc": defect.shortcut_auroc,
            "shortcut_beats_model": defect.auroc is not None
            and defect.shortcut_auroc is not None
            and defect.shortcut_auroc >= defect.auroc,
        }
        for name, defect in result.defects.items()
    ]


def _settings(result: EvaluationResult, scorer: Scorer) -> list[tuple[str, str]]:
    preprocessing, rule, calibration = scorer.preprocessing, scorer.score_rule, scorer.calibration
    colour = "grey" if preprocessing.channels == 1 else "RGB"
    parts = words(rule.formula)
    if any(name.startswith("latent") for name in rule.components):
        parts += f", {rule.pooling} over the windows"
    settings = [
        ("Model", result.model_description),
        ("Images", f"{result.dataset_source}, {counts_text(result)}"),
        ("Trained on", f"{scorer.data_source or 'not recorded'}, split with seed {scorer.data_seed}"),
        ("Model input", f"{preprocessing.width} × {preprocessing.height} {colour}, {preprocessing.resize_rule}"),
        ("Score", f"{parts}; map from the {rule.map_source}"),
        ("Threshold", f"{score_text(result.threshold)}, {_origin_of_threshold(result, calibration)}"),
    ]
    if result.num_masks:
        settings.append(
            (
                "Pixel figures",
                f"{result.num_masks} masks with {result.num_regions} connected defect regions, maps laid over the "
                "original images; AUPRO up to a false positive rate of 30%",
            )
        )
    return settings


def _origin_of_threshold(result: EvaluationResult, calibration: Calibration) -> str:
    """Returns how the threshold was chosen and what it promises."""
    if result.threshold != calibration.threshold:
        return "set by hand"
    if calibration.method == "defects" and calibration.defects:
        origin = f"the best trade between {calibration.num_images} good and {calibration.defects.num_images} defective "
        origin += "images"
    else:
        origin = f"from {calibration.num_images} good images, to accept {percent(calibration.false_alarm_rate)} of them"
    return f"{origin}: {calibration.promise}" if calibration.promise else origin
