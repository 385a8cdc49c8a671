"""Compares a run with the files exported from it, through the runtime that devices use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr

from edge_runtime.artefact import OUTPUT_NAMES
from edge_runtime.flatbuffer import FlatbufferInspection
from edge_runtime.preprocessing import scale_pixels
from edge_runtime.scoring import anomaly_scores
from tfganomaly.batch_sizes import batches
from tfganomaly.evaluation.metrics import AurocDifference, auroc_difference, image_auroc
from tfganomaly.evaluation.scorer import Scorer

if TYPE_CHECKING:
    from export.edgetpu_target import EdgeTpuTarget
    from export.fine_tuning_result import FineTuningResult

Progress = Callable[[int, int], None]

_KEPT_OUTPUT_NUMBERS = 16_000_000
_SMALLEST_MARGIN = 1e-3  # of the threshold


@dataclass(frozen=True)
class ParityImages:
    """The images that run and artefacts are compared on.

    Attributes:
        part: Which part of the data, in words.
        names: N names.
        pixels: uint8 (N, H, W, C) as `prepare_image` gives them.
        labels: (N,) 0 = good, 1 = anomalous.
        num_stand_ins: How many of the anomalous ones are disturbed copies of good images, which stand for or beside
            them where the data has none or few to test with.
    """

    part: str
    names: tuple[str, ...]
    pixels: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    num_stand_ins: int = 0


@dataclass(frozen=True)
class ScoredOutputs:
    """What one model says about the images of the comparison.

    Attributes:
        description: Which model.
        scores: float64 (N,), raw.
        threshold: The model's own.
        outputs: float32 arrays by name, N first; of every k-th image, as many as 64 MB hold.
    """

    description: str
    scores: np.ndarray = field(repr=False)
    threshold: float
    outputs: Mapping[str, np.ndarray] = field(repr=False)

    @property
    def verdicts(self) -> np.ndarray:
        """Whether each score is above the threshold: bool (N,)."""
        return self.scores > self.threshold


@dataclass(frozen=True)
class Spread:
    """Mean, 99 % quantile and maximum of absolute differences."""

    mean: float
    p99: float
    max: float

    @classmethod
    def of(cls, differences: np.ndarray) -> Spread:
        """Summarises signed differences."""
        sizes = np.abs(differences)
        return cls(float(sizes.mean()), float(np.quantile(sizes, 0.99)), float(sizes.max()))

    def to_dict(self) -> dict[str, float]:
        """A JSON object."""
        return {name: _rounded(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class ArtefactParity:
    """How one exported file compares with the run.

    Attributes:
        name: Short name for columns, such as "int8 (qat)".
        scores: float64 (N,), raw.
        threshold: Calibrated on this file.
        auroc: Image AUROC, or None without both classes.
        auroc_drop: The run's minus this file's, or None; with its interval where no stand-in was compared on.
        score_difference: Of raw scores.
        margin_difference: The same divided by the run's margin, its threshold minus its median good score; None where
            that is next to nothing, as at a false alarm rate of a half. A score further than a margin above the
            threshold counts as that far: no verdict hangs on how far it is.
        rank_correlation: Spearman's, over all images; None where scores are all equal.
        verdict_flips: Images that run and file judge differently, each with its own threshold.
        verdict_flip_share: The same as a share of the images.
        output_errors: Absolute error of each output relative to the standard deviation of the run's.
        num_outputs_compared: Of how many images, spread evenly over all.
        size_bytes: Of the network alone, the flatbuffer; the file's metadata comes on top.
        operations: Count by operation.
        tensor_types: Count by type.
        latency_ms: Median time of the interpreter for one image, one thread, on this machine.
    """

    name: str
    scores: np.ndarray = field(repr=False)
    threshold: float
    auroc: float | None
    auroc_drop: AurocDifference | None
    score_difference: Spread
    margin_difference: Spread | None
    rank_correlation: float | None
    verdict_flips: int
    verdict_flip_share: float
    output_errors: Mapping[str, Spread]
    num_outputs_compared: int
    size_bytes: int
    operations: Mapping[str, int]
    tensor_types: Mapping[str, int]
    latency_ms: float

    def summary(self) -> dict[str, Any]:
        """The figures that go into the artefact: those that do not depend on the machine."""
        return {
            "auroc": _rounded_or_none(self.auroc),
            "auroc_drop": _rounded_or_none(None if self.auroc_drop is None else self.auroc_drop.value),
            "score_difference": self.score_difference.to_dict(),
            "margin_difference": None if self.margin_difference is None else self.margin_difference.to_dict(),
            "rank_correlation": _rounded_or_none(self.rank_correlation),
            "verdict_flips": self.verdict_flips,
            "verdict_flip_share": _rounded(self.verdict_flip_share),
        }

    def to_dict(self) -> dict[str, Any]:
        """A JSON object with everything."""
        return {
            "name": self.name,
            **self.summary(),
            "auroc_drop_interval": _rounded_interval(self.auroc_drop),
            "threshold": _rounded(self.threshold),
            "output_errors": {name: error.to_dict() for name, error in self.output_errors.items()},
            "num_outputs_compared": self.num_outputs_compared,
            "size_bytes": self.size_bytes,
            "operations": dict(self.operations),
            "tensor_types": dict(self.tensor_types),
            "latency_ms": round(self.latency_ms, 3),
            "scores": [_rounded(float(score)) for score in self.scores],
        }


@dataclass(frozen=True)
class ParityReport:
    """The comparison of a run with everything that was exported from it.

    Attributes:
        run: The run's description.
        data: What it was compared on, such as "elpv, test".
        names: N image names.
        labels: (N,) 0 = good, 1 = anomalous.
        run_scores: float64 (N,), raw.
        run_threshold: The run's own.
        run_auroc: Image AUROC of the run, or None without both classes.
        num_stand_ins: As in `ParityImages`.
        unreadable: Name and reason of each image of the data that was left out.
        artefacts: The exported file first, then those made for comparison.
        lowering_difference: Largest relative difference of the lowered graph's outputs.
        fine_tuning: How the fine-tuning went; None without.
        failures: Why the gate refused the export; empty when it did not.
        edgetpu: What maps to the Edge TPU, where that is the target.
    """

    run: str
    data: str
    names: tuple[str, ...] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    run_scores: np.ndarray = field(repr=False)
    run_threshold: float
    run_auroc: float | None
    num_stand_ins: int
    unreadable: tuple[tuple[str, str], ...] = field(repr=False)
    artefacts: tuple[ArtefactParity, ...]
    lowering_difference: float
    fine_tuning: FineTuningResult | None = None
    failures: tuple[str, ...] = ()
    edgetpu: EdgeTpuTarget | None = None

    @property
    def kind(self) -> str:
        """What to call the images that are not good."""
        if not self.num_stand_ins:
            return "anomalous"
        return "disturbed" if self.num_stand_ins == self.labels.sum() else "anomalous or disturbed"

    @property
    def exported(self) -> ArtefactParity:
        """The file that the user asked for."""
        return self.artefacts[0]

    def flipped(self, artefact: ArtefactParity) -> tuple[int, ...]:
        """Which images run and file judge differently, each with its own threshold."""
        differ = (self.run_scores > self.run_threshold) != (artefact.scores > artefact.threshold)
        return tuple(int(index) for index in np.flatnonzero(differ))

    @property
    def rivals(self) -> tuple[tuple[ArtefactParity, AurocDifference], ...]:
        """The other int8 files, each with the exported file's AUROC minus its own; empty without both classes."""
        pairs = [
            (other, _auroc_difference(self.labels, self.exported.scores, other.scores, self.num_stand_ins))
            for other in self.artefacts[1:]
            if "INT8" in other.tensor_types
        ]
        return tuple((other, difference) for other, difference in pairs if difference is not None)

    def summary(self) -> dict[str, Any]:
        """What the artefact's metadata says about its parity; the same for the same bytes on any machine."""
        return {
            **self._compared_on(),
            "run_auroc": _rounded_or_none(self.run_auroc),
            **self.exported.summary(),
            **(self.fine_tuning.summary() if self.fine_tuning else {}),
            **({"edgetpu": self.edgetpu.summary()} if self.edgetpu else {}),
        }

    def to_dict(self) -> dict[str, Any]:
        """The JSON report."""
        return {
            "run": self.run,
            **self._compared_on(),
            "passed": not self.failures,
            "failures": list(self.failures),
            "run_auroc": _rounded_or_none(self.run_auroc),
            "run_threshold": _rounded(self.run_threshold),
            "lowering_difference": _rounded(self.lowering_difference),
            "fine_tuning": self.fine_tuning.to_list() if self.fine_tuning else [],
            "best_step": self.fine_tuning.best_step if self.fine_tuning else 0,
            "edgetpu": self.edgetpu.to_dict() if self.edgetpu else None,
            "artefacts": [
                {**artefact.to_dict(), "flipped_images": [self.names[index] for index in self.flipped(artefact)]}
                for artefact in self.artefacts
            ],
            "auroc_above_rivals": {
                other.name: {"value": _rounded(difference.value), "interval": _rounded_interval(difference)}
                for other, difference in self.rivals
            },
            "unreadable": [{"path": name, "error": message} for name, message in self.unreadable],
            "images": [
                {"path": name, "label": int(label), "run_score": _rounded(float(score))}
                for name, label, score in zip(self.names, self.labels, self.run_scores, strict=True)
            ],
        }

    def _compared_on(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "num_images": len(self.labels),
            "num_anomalous": int(self.labels.sum()),
            "num_disturbed_copies": self.num_stand_ins,
        }


def score_images(scorer: Scorer, images: ParityImages, progress: Progress | None = None) -> ScoredOutputs:
    """Runs a model over the images of the comparison.

    The outputs themselves are kept of every k-th image only, so many that 64 MB hold them.
    """
    scores: list[np.ndarray] = []
    kept: dict[str, list[np.ndarray]] = {name: [] for name in OUTPUT_NAMES}
    step = 0
    for batch in batches(len(images.pixels), images.pixels.shape[1:]):
        pixels = images.pixels[batch]
        outputs = scorer.model_outputs(pixels)
        scores.append(anomaly_scores(scorer.score_rule, scale_pixels(pixels), outputs).astype(np.float64))
        given = {name: values for name in OUTPUT_NAMES if (values := getattr(outputs, name)) is not None}
        if not step:
            numbers_per_image = sum(values[0].size for values in given.values())
            step = max(1, -(-len(images.pixels) * numbers_per_image // _KEPT_OUTPUT_NUMBERS))
        for name, values in given.items():
            kept[name].append(values[-batch.start % step :: step].copy())  # a view would keep the whole batch in memory
        if progress is not None:
            progress(batch.stop, len(images.pixels))
    return ScoredOutputs(
        description=scorer.description,
        scores=np.concatenate(scores),
        threshold=scorer.threshold,
        outputs={name: np.concatenate(parts) for name, parts in kept.items() if parts},
    )


def compare_with_run(
    name: str,
    run: ScoredOutputs,
    run_margin: float,
    artefact: ScoredOutputs,
    images: ParityImages,
    inspection: FlatbufferInspection,
    latency_ms: float,
) -> ArtefactParity:
    """Computes the figures of one file.

    Args:
        name: Short name for columns.
        run: What the run says.
        run_margin: The run's threshold minus its median score of held-back good images: the room that a good
            image has; 0 or less where it has none.
        artefact: What the file says.
        images: What both looked at.
        inspection: What is in the file.
        latency_ms: From `measure_latencies_ms`.
    """
    difference = artefact.scores - run.scores
    highest = run.threshold + run_margin
    near_difference = np.minimum(artefact.scores, highest) - np.minimum(run.scores, highest)
    has_margin = run_margin > _SMALLEST_MARGIN * run.threshold
    flips = int(np.count_nonzero(artefact.verdicts != run.verdicts))
    return ArtefactParity(
        name=name,
        scores=artefact.scores,
        threshold=artefact.threshold,
        auroc=image_auroc(images.labels, artefact.scores),
        auroc_drop=_auroc_difference(images.labels, run.scores, artefact.scores, images.num_stand_ins),
        score_difference=Spread.of(difference),
        margin_difference=Spread.of(near_difference / run_margin) if has_margin else None,
        rank_correlation=_rank_correlation(run.scores, artefact.scores),
        verdict_flips=flips,
        verdict_flip_share=flips / len(run.scores),
        output_errors={
            output: Spread.of((artefact.outputs[output] - values) / max(float(values.std()), 1e-12))
            for output, values in run.outputs.items()
            if output in artefact.outputs
        },
        num_outputs_compared=max(map(len, run.outputs.values()), default=0),
        size_bytes=inspection.size_bytes,
        operations=inspection.operation_counts,
        tensor_types=inspection.tensor_type_counts,
        latency_ms=latency_ms,
    )


def _auroc_difference(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, num_stand_ins: int
) -> AurocDifference | None:
    """The first scores' AUROC minus the second's; without interval where an image and its disturbed copy are pairs."""
    difference = auroc_difference(labels, first, second)
    return replace(difference, interval=None) if difference is not None and num_stand_ins else difference


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second).statistic)


def _rounded(value: float) -> float:
    """Six digits: the float run's last bits depend on the order in which threads add."""
    return float(f"{value:.6g}")


def _rounded_interval(difference: AurocDifference | None) -> list[float] | None:
    if difference is None or difference.interval is None:
        return None
    return [_rounded(end) for end in difference.interval]


def _rounded_or_none(value: float | None) -> float | None:
    return None if value is None else _rounded(value)
