"""Scores the test part after each epoch of a training, in inference mode or as the authors' program does it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.atomic_files import atomic_path
from edge_runtime.preprocessing import Preprocessing, scale_pixels
from edge_runtime.scoring import ModelOutputs, ScoreRule, anomaly_scores, score_components
from tfganomaly.data.array_files import DAMAGE
from tfganomaly.data.items import InspectionDataset
from tfganomaly.data.loading import load_images
from tfganomaly.errors import RunError
from tfganomaly.evaluation.metrics import image_auroc

if TYPE_CHECKING:
    from tfganomaly.models.contract import AnomalyModel

AUROC_PREFIX = "test_auroc_"
SCORE_PREFIX = "score_"
SHOWN_IMAGES = 8
INFERENCE_BATCH_SIZE = 200
# The authors' batch; with batch norm by the batch it is part of the score.
OFFICIAL_BATCH_SIZE = 64


@dataclass(frozen=True)
class EpochScores:
    """What the newest epoch's model says about the test part.

    Attributes:
        labels: int64 (N,), 0 = good, 1 = anomalous.
        scores: float32 (N,) by name of the score; a sum of the user's own goes by its formula.
        shown: uint8 (K, H, W, C), some good images, then as many anomalous ones.
        reconstructions: float32 (K, H, W, C) in [-1, 1], what the model made of them.
    """

    labels: np.ndarray
    scores: Mapping[str, np.ndarray]
    shown: np.ndarray
    reconstructions: np.ndarray

    def save(self, path: Path) -> None:
        """Writes the arrays as one `.npz`, in one step; OutputError when it cannot be written."""
        arrays: dict[str, Any] = {
            "labels": self.labels,
            "shown": self.shown,
            "reconstructions": self.reconstructions,
            **{SCORE_PREFIX + name: values for name, values in self.scores.items()},
        }
        with atomic_path(path) as temporary:
            np.savez(temporary, **arrays)

    @classmethod
    def load(cls, path: Path) -> EpochScores:
        """Reads what `save` wrote; RunError when it is missing or damaged."""
        try:
            with np.load(path) as stored:
                arrays = dict(stored)
            scores = {
                name.removeprefix(SCORE_PREFIX): values
                for name, values in arrays.items()
                if name.startswith(SCORE_PREFIX)
            }
            return cls(arrays["labels"], scores, arrays["shown"], arrays["reconstructions"])
        except DAMAGE as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(
                f"'{path}' cannot be read ({reason}); delete the folder '{path.parent}' and give the same command to "
                "run that class and seed again."
            ) from error


class EpochScoring:
    """The test part of a data set, loaded once and scored after each epoch.

    Called with a model it writes `EpochScores` and returns the AUROC of every score, which the training keeps in its
    history.

    Args:
        dataset: Its test part is scored.
        rule: The score that decides.
        resize_rule: How a picture becomes square.
        contrast_rule: Whether it is brought to the same mean and spread.
        official: Score as the authors' program: batch norm by the batch of 64, in the order of their loader, which
            shuffles MNIST and takes CIFAR-10 as it lies, good images first.
        seed: Of the official shuffle.
        path: Where the scores go.
    """

    def __init__(
        self,
        dataset: InspectionDataset,
        rule: ScoreRule,
        *,
        resize_rule: str,
        contrast_rule: str,
        official: bool,
        seed: int,
        path: Path,
    ) -> None:
        self.items, self.rule, self.path = dataset.test, rule, path
        self.resize_rule, self.contrast_rule = resize_rule, contrast_rule
        self.official, self.seed = official, seed
        self.is_shuffled = official and not dataset.source.startswith("cifar10")
        self.labels = np.array([item.is_anomalous for item in self.items], np.int64)
        self._pixels: np.ndarray | None = None

    def __call__(self, model: AnomalyModel) -> dict[str, float]:
        """Scores, writes, and returns AUROC by `test_auroc_NAME`."""
        pixels = self._load(model)
        shown = np.concatenate([np.flatnonzero(self.labels == label)[:SHOWN_IMAGES] for label in (0, 1)])
        if self.official:
            with _statistics_put_back(model):
                made = self._made(pixels, self._loader_order(), OFFICIAL_BATCH_SIZE, _by_batch_statistics(model), shown)
        else:
            made = self._made(pixels, np.arange(len(pixels)), INFERENCE_BATCH_SIZE, model.model_outputs, shown)
        scores, reconstructions = made
        EpochScores(self.labels, scores, pixels[shown], reconstructions).save(self.path)
        aurocs = {name: image_auroc(self.labels, values) for name, values in scores.items()}
        return {AUROC_PREFIX + name: auroc for name, auroc in aurocs.items() if auroc is not None}

    def _load(self, model: AnomalyModel) -> np.ndarray:
        if self._pixels is None:
            preprocessing = Preprocessing(*model.image_shape, self.resize_rule, self.contrast_rule)
            self._pixels = load_images(self.items, preprocessing, on_error="stop").pixels
        return self._pixels

    def _loader_order(self) -> np.ndarray:
        order = np.arange(len(self.items))
        if self.is_shuffled:
            np.random.RandomState(self.seed).shuffle(order)
        return order

    def _made(
        self,
        pixels: np.ndarray,
        order: np.ndarray,
        batch_size: int,
        outputs_of: Callable[[np.ndarray], ModelOutputs],
        shown: np.ndarray,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The scores of all images, taken in `order` by batches, and the reconstructions of the shown ones."""
        scores: dict[str, np.ndarray] = {}
        reconstructions = np.empty((len(shown), *pixels.shape[1:]), np.float32)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            images = scale_pixels(pixels[chosen])
            outputs = outputs_of(images)
            for name, values in self._all_scores(images, outputs).items():
                scores.setdefault(name, np.empty(len(order), values.dtype))[chosen] = values
            assert outputs.reconstruction is not None  # the paper's model always gives it
            for row in np.flatnonzero(np.isin(chosen, shown)):
                reconstructions[shown == chosen[row]] = outputs.reconstruction[row]
        return scores, reconstructions

    def _all_scores(self, images: np.ndarray, outputs: ModelOutputs) -> dict[str, np.ndarray]:
        scores = score_components(self.rule, images, outputs)
        if self.rule.formula not in scores:
            scores[self.rule.formula] = anomaly_scores(self.rule, images, outputs)
        return scores


@contextlib.contextmanager
def _statistics_put_back(model: AnomalyModel) -> Iterator[None]:
    """Leaves the running statistics of batch norm as they were, as if nothing had been scored."""
    statistics = [(variable, variable.numpy()) for variable in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in statistics:
            variable.assign(value)


def _by_batch_statistics(model: AnomalyModel) -> Callable[[np.ndarray], ModelOutputs]:
    """The model with batch norm in training mode, compiled once for batches of any size."""
    import tensorflow as tf

    any_batch = tf.TensorSpec((None, *model.image_shape), tf.float32)
    compiled = tf.function(lambda images: model.score_outputs(images, training=True), input_signature=[any_batch])
    return lambda images: ModelOutputs(**{name: tensor.numpy() for name, tensor in compiled(images).items()})
