"""Evaluates a model on labelled images: scores, metrics, shortcut baselines, and what to be wary of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfganomaly.data.items import ImageItem, InspectionDataset
from tfganomaly.errors import DataError
from tfganomaly.evaluation.advice import warning_below_chance
from tfganomaly.evaluation.masks import judge_pixels
from tfganomaly.evaluation.metrics import (
    ThresholdMetrics,
    best_f1,
    image_auprc,
    image_auroc,
    operating_points,
    per_defect_auroc,
    threshold_metrics,
)
from tfganomaly.evaluation.result import DefectResult, EvaluationResult, ImageResult
from tfganomaly.evaluation.scorer import Progress, ScoredImages, Scorer, score_items
from tfganomaly.evaluation.shortcuts import ShortcutBaseline, best_shortcut_per_defect, shortcut_baselines

# Below this the 95% interval of an error rate is some 20 points wide.
FEW_IMAGES = 30


def evaluate(scorer: Scorer, dataset: InspectionDataset, progress: Progress | None = None) -> EvaluationResult:
    """Scores a data set's test part and measures how well the scores separate good from anomalous.

    A plain folder of good images has no test part; its held-back good images are scored instead, which defines the
    false alarm rate and nothing else, and a warning says so.

    Example:
        ```python
        scorer = AnomalyDetector("tiles.tflite")  # or load_run("runs/tiles")
        dataset = open_dataset("data/magnetic_tile_256", seed=scorer.data_seed)
        result = evaluate(scorer, dataset)
        print(result.image_auroc, result.best_shortcut)
        ```

    Args:
        scorer: A trained run or an artefact.
        dataset: The data; its training part is not touched.
        progress: Called with (images done, images in all).

    Returns:
        The result. Everything that the data does not define is `None`.

    Raises:
        DataError: There is nothing to score, or not one image can be read.
        TfganomalyError: The model gives scores that are not finite.
    """
    part = "test" if dataset.test else "validation"
    items = dataset.test or dataset.validation
    if not items:
        raise DataError(
            f"'{dataset.source}' has neither test images nor held-back good images; there is nothing to evaluate."
        )
    has_masks = any(item.mask is not None for item in items)
    scored = score_items(scorer, items, progress, keep_maps=has_masks)
    if not scored.items:
        raise DataError(
            f"None of the {len(items)} images of '{dataset.source}' can be read. The first: {scored.unreadable[0][1]}"
        )
    labels, defects = scored.labels, [item.defect for item in scored.items]
    at_threshold = threshold_metrics(labels, scored.scores, scorer.threshold)
    highest_f1, best_threshold = best_f1(labels, scored.scores)
    auroc = image_auroc(labels, scored.scores)
    pixels, mask_findings = judge_pixels(scored, scorer.preprocessing)
    shortcuts = shortcut_baselines(labels, defects, scored.shortcuts)
    requested_rate = _requested_false_alarm_rate(scorer)
    was_to_be_sure = requested_rate is not None and scorer.calibration.confidence is not None
    return EvaluationResult(
        model_description=scorer.description,
        dataset_name=dataset.name,
        dataset_source=dataset.source,
        part=part,
        images=tuple(
            ImageResult(item, float(score), bool(score > scorer.threshold))
            for item, score in zip(scored.items, scored.scores, strict=True)
        ),
        threshold=float(scorer.threshold),
        requested_false_alarm_rate=requested_rate,
        image_auroc=auroc,
        image_auprc=image_auprc(labels, scored.scores),
        best_f1=highest_f1,
        best_f1_threshold=best_threshold,
        at_threshold=at_threshold,
        operating_points=operating_points(labels, scored.scores),
        pixel_auroc=pixels.pixel_auroc if pixels else None,
        aupro=pixels.aupro if pixels else None,
        num_masks=mask_findings.num_judged,
        num_regions=pixels.num_regions if pixels else 0,
        score_aurocs={name: image_auroc(labels, values) for name, values in scored.components.items()},
        deciding_score=scorer.score_rule.formula,
        defects=_defect_results(scored, scorer.threshold, shortcuts),
        shortcuts=shortcuts,
        unreadable=scored.unreadable,
        warnings=(
            *_image_warnings(part, scored.items, scored.unreadable),
            *_score_warnings(auroc, at_threshold, requested_rate, part, was_to_be_sure=was_to_be_sure),
            *([scorer.calibration.note] if requested_rate is not None and scorer.calibration.note else []),
            *(mask_findings.warnings() if has_masks else []),
            *dataset.warnings,
        ),
    )


def _requested_false_alarm_rate(scorer: Scorer) -> float | None:
    is_calibrated = scorer.calibration.method == "quantile" and scorer.threshold == scorer.calibration.threshold
    return scorer.calibration.false_alarm_rate if is_calibrated else None


def _defect_results(
    scored: ScoredImages, threshold: float, shortcuts: dict[str, ShortcutBaseline]
) -> dict[str, DefectResult]:
    defects = [item.defect for item in scored.items]
    names = np.asarray(defects, dtype=object)
    best = best_shortcut_per_defect(shortcuts)
    results: dict[str, DefectResult] = {}
    for name, auroc in per_defect_auroc(defects, scored.labels, scored.scores).items():
        scores = scored.scores[(names == name) & (scored.labels == 1)]
        shortcut, shortcut_auroc = best.get(name, (None, None))
        results[name] = DefectResult(
            num_images=int(scores.size),
            misses=int((scores <= threshold).sum()),
            auroc=auroc,
            best_shortcut=shortcut,
            shortcut_auroc=shortcut_auroc,
        )
    return results


def _image_warnings(part: str, items: Sequence[ImageItem], unreadable: Sequence[tuple[str, str]]) -> list[str]:
    found: list[str] = []
    num_anomalous = sum(item.is_anomalous for item in items)
    num_good = len(items) - num_anomalous
    if part == "validation":
        found.append(
            "This folder has good images only and no test part, so the good images that were held back from "
            "training were scored. If the threshold was set on these very images, the false alarm rate below is "
            "what was asked for and not a measurement. To learn what the model finds, put defective images into "
            "test/<type of defect> and other good ones into test/good."
        )
    elif num_anomalous == 0:
        found.append(
            "There are no anomalous test images: how many defects the model finds cannot be measured, only its "
            "false alarms."
        )
    if num_good == 0:
        found.append(
            "There are no good test images: false alarms and AUROC cannot be measured, only how many defects are "
            "missed. Put good images that were not trained on into test/good."
        )
    few = [
        f"{count} {kind}"
        for count, kind in ((num_good, "good"), (num_anomalous, "anomalous"))
        if 0 < count < FEW_IMAGES
    ]
    if few:
        found.append(f"Only {' and '.join(few)} images were tested: take every figure as rough.")
    if unreadable:
        found.append(
            f"Images that cannot be read and are in no figure: {len(unreadable)} of {len(items) + len(unreadable)}. "
            f"The first: {unreadable[0][1]}"
        )
    return found


def _score_warnings(
    auroc: float | None, at: ThresholdMetrics, requested_rate: float | None, part: str, *, was_to_be_sure: bool
) -> list[str]:
    below_chance = warning_below_chance(auroc)
    found = [below_chance] if below_chance else []
    interval = at.false_alarm_interval
    if part != "test" or requested_rate is None or interval is None or at.false_alarm_rate is None:
        return found
    if interval[0] > requested_rate:
        found.append(
            f"The threshold was set to accept {requested_rate:.1%} false alarms, but {at.false_alarm_rate:.1%} of "
            "the good test images are above it. They differ from the images it was "
            "set with (other parts, light or camera), or those were too few: calibrate on good images from "
            "where the model will work."
        )
    elif interval[1] < requested_rate and not was_to_be_sure:  # to be sure takes a threshold higher than on average
        found.append(
            f"The threshold was set to accept {requested_rate:.1%} false alarms, but only "
            f"{at.false_alarm_rate:.1%} of the good test images are above it: it is higher than needed, and "
            "defects may be missed for it."
        )
    return found
