"""Scores a list of images with anything that has a model in it: a trained run or an exported artefact."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, overload

import numpy as np

from edge_runtime.atomic_files import output_error
from edge_runtime.calibration import Calibration
from edge_runtime.errors import ImageError, TfganomalyError
from edge_runtime.image_figures import cell_figures
from edge_runtime.preprocessing import (
    Preprocessing,
    adjust_contrast,
    prepare_detail,
    prepare_image,
    read_image,
    scale_pixels,
)
from edge_runtime.scoring import (
    ModelOutputs,
    ScoreRule,
    anomaly_maps,
    anomaly_scores,
    score_components,
    window_distances,
)
from tfganomaly.batch_sizes import batches
from tfganomaly.data.items import ImageItem
from tfganomaly.evaluation.shortcuts import ShortcutValues, measure_shortcuts

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


class ScoringModel(Protocol):
    """What scores and maps of images need of a model."""

    @property
    def description(self) -> str:
        """For headings, such as "artefact tiles.tflite (int8, qat)"."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How a picture becomes the model's input."""

    @property
    def score_rule(self) -> ScoreRule:
        """How scores and maps are made from the outputs."""

    def model_outputs(self, pixels: np.ndarray) -> ModelOutputs:
        """Returns the outputs for uint8 (B, H, W, C) pixels as `prepare_image` gives them."""


class Scorer(ScoringModel, Protocol):
    """What evaluation needs of a model. `AnomalyDetector` and `TrainedRun` are scorers as they are."""

    @property
    def calibration(self) -> Calibration:
        """What is known about the scores of good images."""

    @property
    def threshold(self) -> float:
        """A raw score above it is an anomaly; the calibration's unless it was overridden."""

    @property
    def data_source(self) -> str:
        """What `open_dataset` takes to open the data that the model was trained on."""

    @property
    def data_seed(self) -> int:
        """The seed of that data's split."""


class StoredMaps(Sequence[np.ndarray]):
    """Anomaly maps in an unnamed temporary file, read one at a time, so 10,000 of them need no memory.

    The file goes away with the object. It is read and written and not mapped into memory: a full disk is then an
    error instead of a crash, and the maps do not count as the process's memory.

    Args:
        preprocessing: Its height and width are the maps'.

    Raises:
        OutputError: The temporary folder cannot be written; also from `append`, when its disk is full.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._shape = (preprocessing.height, preprocessing.width)
        self._map_bytes = 4 * preprocessing.height * preprocessing.width
        self._count = 0
        try:
            self._file = tempfile.TemporaryFile(prefix="tfganomaly-maps-", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise output_error(tempfile.gettempdir(), error) from error

    def append(self, maps: np.ndarray) -> None:
        """Adds (B, H, W) maps at the end."""
        data = memoryview(np.ascontiguousarray(maps, dtype=np.float32)).cast("B")
        try:
            self._file.seek(self._count * self._map_bytes)
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise output_error(tempfile.gettempdir(), error) from error
        self._count += len(maps)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"map {index} of {self._count}")
        self._file.seek(index % self._count * self._map_bytes)
        return np.frombuffer(self._file.read(self._map_bytes), dtype=np.float32).reshape(self._shape)


@dataclass(frozen=True)
class ScoredImages:
    """The scores of the images that could be read.

    Attributes:
        items: N images, in the order given.
        scores: float64 (N,), raw, all finite, higher = more anomalous.
        maps: N anomaly maps, float32 (H, W) in the model's input pixels, or `None` when they were not kept.
        image_sizes: N (width, height) of the original images in pixels.
        shortcuts: N measurements for the shortcut baselines.
        unreadable: (name, message) of each image that could not be read.
        components: N values of every score that the model allows, by name, whichever of them decides.
    """

    items: tuple[ImageItem, ...]
    scores: np.ndarray = field(repr=False)
    maps: StoredMaps | None = field(repr=False)
    image_sizes: tuple[tuple[int, int], ...] = field(repr=False)
    shortcuts: tuple[ShortcutValues, ...] = field(repr=False)
    unreadable: tuple[tuple[str, str], ...]
    components: Mapping[str, np.ndarray] = field(repr=False)

    @property
    def labels(self) -> np.ndarray:
        """int64 (N,): 0 = good, 1 = anomalous."""
        return np.array([item.is_anomalous for item in self.items], dtype=np.int64)


def score_items(
    scorer: ScoringModel,
    items: Sequence[ImageItem],
    progress: Progress | None = None,
    *,
    keep_maps: bool = True,
    most_at_once: int = 32,
) -> ScoredImages:
    """Scores images in batches; each file is read once and only one batch is in memory.

    Args:
        scorer: The model.
        items: The images.
        progress: Called after each batch.
        keep_maps: Whether to keep the anomaly maps, 4 * H * W bytes an image in a temporary file.
        most_at_once: Small images handed to the model at once, see `batches`. Scores do not depend on it.

    Returns:
        The scores; images that cannot be read are named in `unreadable` and left out.

    Raises:
        TfganomalyError: The model gives a score that is not a finite number.
        OutputError: The maps do not fit on the disk of the temporary folder.
    """
    kept: list[ImageItem] = []
    scores: list[np.ndarray] = []
    sizes: list[tuple[int, int]] = []
    shortcuts: list[ShortcutValues] = []
    unreadable: list[tuple[str, str]] = []
    components: list[dict[str, np.ndarray]] = []
    maps = StoredMaps(scorer.preprocessing) if keep_maps else None
    has_textures = keep_maps and scorer.score_rule.needs_textures
    for part_of_items in batches(len(items), (scorer.preprocessing.height, scorer.preprocessing.width), most_at_once):
        batch: list[np.ndarray] = []
        textures: list[np.ndarray] = []
        for item in items[part_of_items]:
            try:
                image = read_image(item.source)
            except ImageError as error:
                unreadable.append((item.name, str(error)))
                continue
            as_photographed = prepare_image(image, replace(scorer.preprocessing, contrast_rule="as_is"))
            part = scorer.preprocessing.picture_part(*image.size)
            batch.append(adjust_contrast(as_photographed, scorer.preprocessing, part))
            if has_textures:
                textures.append(cell_figures(prepare_detail(image, scorer.preprocessing)))
            kept.append(item)
            sizes.append(image.size)
            shortcuts.append(measure_shortcuts(item, as_photographed[part], image.size))
        if batch:
            batch_pixels = np.stack(batch)
            outputs, inputs = scorer.model_outputs(batch_pixels), scale_pixels(batch_pixels)
            windows = window_distances(scorer.score_rule, inputs)
            batch_scores = anomaly_scores(scorer.score_rule, inputs, outputs, windows).astype(np.float64)
            _check_finite(scorer, batch_scores, kept[-len(batch) :])
            scores.append(batch_scores)
            components.append(score_components(scorer.score_rule, inputs, outputs, windows))
            if maps is not None:
                stacked = np.stack(textures) if has_textures else None
                maps.append(anomaly_maps(scorer.score_rule, inputs, outputs, stacked, windows))
        if progress is not None:
            progress(part_of_items.stop, len(items))
    return ScoredImages(
        items=tuple(kept),
        scores=np.concatenate([np.empty(0, dtype=np.float64), *scores]),
        maps=maps,
        image_sizes=tuple(sizes),
        shortcuts=tuple(shortcuts),
        unreadable=tuple(unreadable),
        components={name: np.concatenate([part[name] for part in components]) for name in (components or [{}])[0]},
    )


def score_batch(scorer: ScoringModel, pixels: np.ndarray, textures: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Scores prepared images that fit into memory.

    Args:
        scorer: The model.
        pixels: uint8 (B, H, W, C).
        textures: `cell_figures` of the same images; may be None unless the score rule needs them.

    Returns:
        float64 (B,) scores and float32 (B, H, W) maps.
    """
    outputs, inputs = scorer.model_outputs(pixels), scale_pixels(pixels)
    windows = window_distances(scorer.score_rule, inputs)
    scores = anomaly_scores(scorer.score_rule, inputs, outputs, windows).astype(np.float64)
    return scores, anomaly_maps(scorer.score_rule, inputs, outputs, textures, windows)


def _check_finite(scorer: ScoringModel, scores: np.ndarray, items: Sequence[ImageItem]) -> None:
    broken = [item.name for item, score in zip(items, scores, strict=True) if not np.isfinite(score)]
    if broken:
        raise TfganomalyError(
            f"{scorer.description} gives image '{broken[0]}' a score that is not a finite number. "
            "The model is broken: train or export it again."
        )
