"""The result of an evaluation as plain, frozen data, with its JSON form."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.atomic_files import write_text_atomically
from tfganomaly.data.items import ImageItem
from tfganomaly.evaluation.metrics import OperatingPoint, ThresholdMetrics, strongest
from tfganomaly.evaluation.shortcuts import ShortcutBaseline


@dataclass(frozen=True)
class ImageResult:
    """One scored image.

    Attributes:
        item: The image with its truth.
        score: Raw score.
        is_called_anomalous: Whether the score is above the threshold.
    """

    item: ImageItem
    score: float
    is_called_anomalous: bool

    @property
    def is_right(self) -> bool:
        """Whether verdict and truth agree."""
        return self.is_called_anomalous == self.item.is_anomalous


@dataclass(frozen=True)
class DefectResult:
    """How the model does on one type of defect.

    Attributes:
        num_images: Readable images of the type.
        misses: How many of them are not above the threshold.
        auroc: Against all good images; `None` without any.
        best_shortcut: Name of the shortcut with the highest AUROC on this type, or `None`.
        shortcut_auroc: That AUROC.
    """

    num_images: int
    misses: int
    auroc: float | None
    best_shortcut: str | None
    shortcut_auroc: float | None


@dataclass(frozen=True)
class EvaluationResult:
    """Everything that was measured. A figure that the data does not define is `None`.

    Attributes:
        model_description: What was evaluated, such as "artefact tiles.tflite (int8, qat)".
        dataset_name: Short name of the data.
        dataset_source: What opens the data again.
        part: "test" or "validation": which part of the data was scored.
        images: The scored images in the data's order.
        threshold: A score above it is an anomaly.
        requested_false_alarm_rate: What the threshold was set for; `None` when a person set it.
        image_auroc: See `metrics.image_auroc`.
        image_auprc: See `metrics.image_auprc`.
        best_f1: Highest F1 of any threshold, chosen with the labels.
        best_f1_threshold: A threshold that reaches it.
        at_threshold: F1, rates and counts at the stored threshold.
        operating_points: What other thresholds would find for other rates of false alarms; see `metrics`.
        pixel_auroc: See `pixel_metrics.PixelMetrics`; `None` without masks.
        aupro: Likewise.
        num_masks: Anomalous images whose mask was used.
        num_regions: Connected defect regions in these masks.
        score_aurocs: Image AUROC of every score that the model allows, by name, whichever of them decides.
        deciding_score: What decides, such as "latent_l2" or "latent_l2 + 0.5 reconstruction_l1".
        defects: By type of defect, in alphabetical order.
        shortcuts: By name of the shortcut.
        unreadable: (name, message) of images that could not be read.
        warnings: What the reader has to know, one sentence each, beside `shortcut_warning`.
    """

    model_description: str
    dataset_name: str
    dataset_source: str
    part: str
    images: tuple[ImageResult, ...] = field(repr=False)
    threshold: float
    requested_false_alarm_rate: float | None
    image_auroc: float | None
    image_auprc: float | None
    best_f1: float | None
    best_f1_threshold: float | None
    at_threshold: ThresholdMetrics
    operating_points: tuple[OperatingPoint, ...]
    pixel_auroc: float | None
    aupro: float | None
    num_masks: int
    num_regions: int
    score_aurocs: Mapping[str, float | None]
    deciding_score: str
    defects: Mapping[str, DefectResult]
    shortcuts: Mapping[str, ShortcutBaseline] = field(repr=False)
    unreadable: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    @property
    def num_anomalous(self) -> int:
        """Number of scored anomalous images."""
        return sum(image.item.is_anomalous for image in self.images)

    @property
    def num_normal(self) -> int:
        """Number of scored good images."""
        return len(self.images) - self.num_anomalous

    @property
    def best_shortcut(self) -> tuple[str, float] | None:
        """Name and AUROC of the strongest shortcut, or `None` when none is defined."""
        return strongest({name: baseline.auroc for name, baseline in self.shortcuts.items()})

    @property
    def shortcut_beats_model(self) -> bool:
        """Whether a shortcut separates the images at least as well as the model does."""
        best = self.best_shortcut
        return best is not None and self.image_auroc is not None and best[1] >= self.image_auroc

    @property
    def shortcut_warning(self) -> str | None:
        """The sentence that says so, or `None`."""
        best = self.best_shortcut
        if best is None or not self.shortcut_beats_model:
            return None
        return (
            f"The {best[0].replace('_', ' ')} of an image alone reaches an AUROC of {best[1]:.3f}, the model "
            f"{self.image_auroc:.3f}. On this test set these scores are no evidence that the model sees the "
            "defects."
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns a strict JSON object: no NaN, no infinity, `None` where a figure is not defined.

        `scores` lists `path` (the file's path, or the name of an image out of an array), `label` (0 = good, 1 =
        anomalous), `score` and `defect`.
        """
        at = self.at_threshold
        return {
            "image_auroc": self.image_auroc,
            "image_auprc": self.image_auprc,
            "f1_at_threshold": at.f1,
            "best_f1": self.best_f1,
            "threshold": _finite(self.threshold),
            "false_alarm_rate": at.false_alarm_rate,
            "miss_rate": at.miss_rate,
            "pixel_auroc": self.pixel_auroc,
            "aupro": self.aupro,
            "per_defect_auroc": {name: defect.auroc for name, defect in self.defects.items()},
            "shortcut_baselines": {name: baseline.auroc for name, baseline in self.shortcuts.items()},
            "num_normal": self.num_normal,
            "num_anomalous": self.num_anomalous,
            "scores": [
                {
                    "path": _path(image.item),
                    "label": int(image.item.is_anomalous),
                    "score": image.score,
                    "defect": image.item.defect,
                }
                for image in self.images
            ],
            "model": self.model_description,
            "dataset": self.dataset_source,
            "part": self.part,
            "deciding_score": self.deciding_score,
            "score_aurocs": dict(self.score_aurocs),
            "best_f1_threshold": self.best_f1_threshold,
            "requested_false_alarm_rate": self.requested_false_alarm_rate,
            "num_false_alarms": at.false_alarms,
            "num_misses": at.misses,
            "false_alarm_rate_interval_95": _list(at.false_alarm_interval),
            "miss_rate_interval_95": _list(at.miss_interval),
            "operating_points": [
                {
                    "accepted_false_alarm_rate": point.accepted_rate,
                    "threshold": point.threshold,
                    "num_false_alarms": point.false_alarms,
                    "num_found": point.found,
                    "found_rate": point.found_rate,
                }
                for point in self.operating_points
            ],
            "num_masks": self.num_masks,
            "num_defect_regions": self.num_regions,
            "shortcut_beats_model": self.shortcut_beats_model,
            "per_defect": {
                name: {
                    "num_images": defect.num_images,
                    "misses": defect.misses,
                    "best_shortcut": defect.best_shortcut,
                    "best_shortcut_auroc": defect.shortcut_auroc,
                }
                for name, defect in self.defects.items()
            },
            "num_unreadable": len(self.unreadable),
            "unreadable": [{"path": name, "error": message} for name, message in self.unreadable],
            "warnings": [text for text in (self.shortcut_warning, *self.warnings) if text],
        }

    def save(self, path: Path) -> None:
        """Writes `to_dict()` as JSON, in one step.

        Raises:
            OutputError: The file cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        write_text_atomically(path, text + "\n")


def _path(item: ImageItem) -> str:
    return str(item.source) if isinstance(item.source, Path) else item.name


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _list(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
