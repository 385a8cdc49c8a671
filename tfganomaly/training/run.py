"""A finished run as something that scores images: the float model with its preprocessing and threshold."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.atomic_files import atomic_path, require_free_space
from edge_runtime.calibration import Calibration, check_threshold
from edge_runtime.preprocessing import Preprocessing, scale_pixels
from edge_runtime.scoring import ModelOutputs, ScoreRule
from tfganomaly.data.items import ImageItem, fingerprint
from tfganomaly.errors import RunError
from tfganomaly.quiet_tensorflow import import_quietly
from tfganomaly.training.run_folder import RunConfig, RunFolder

if TYPE_CHECKING:
    from tfganomaly.models.contract import AnomalyModel

HDF5_OVERHEAD_BYTES = 500_000


class TrainedRun:
    """The run in a folder; implements `tfganomaly.evaluation.scorer.Scorer`.

    Args:
        path: The folder that `train` wrote.

    Attributes:
        folder: Its files.
        config: What was asked for.
    """

    def __init__(self, path: Path) -> None:
        self.folder = RunFolder(Path(path))
        self.config: RunConfig = self.folder.read_config()
        self._threshold: float | None = None

    @property
    def description(self) -> str:
        """One line for reports."""
        return f"run {self.folder.path} ({self.config.training.recipe}, float32)"

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes the model's input."""
        return self.config.preprocessing

    @property
    def score_rule(self) -> ScoreRule:
        """How the outputs become a score."""
        return self.config.score_rule

    def change_score_rule(self, rule: ScoreRule) -> None:
        """Lets another rule make the scores, in the folder too; what was calibrated before does not hold for it."""
        config = replace(self.config, score_rule=rule)
        self.folder.rewrite_config(config)
        self.config = config

    @cached_property
    def calibration(self) -> Calibration:
        """Threshold and score range from held-back good images; RunError when there is none."""
        return self.folder.read_calibration()

    @property
    def threshold(self) -> float:
        """The threshold on the raw score: the calibration's, or what was set instead, a finite number."""
        return self.calibration.threshold if self._threshold is None else self._threshold

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        self._threshold = check_threshold(threshold)

    @property
    def data_source(self) -> str:
        """The data that it was trained on."""
        return self.config.data_source

    @property
    def data_seed(self) -> int:
        """The seed of the split that it was trained with."""
        return self.config.training.seed

    @property
    def validation_fraction(self) -> float | None:
        """The share of the good training images that was held back; None: the usual one."""
        return self.config.training.validation_fraction

    def learnt_from(self, training_items: Iterable[ImageItem]) -> list[ImageItem]:
        """Those of the images that count: not what the training could not read."""
        left_out = {name for name, _ in self.folder.read_manifest().get("unreadable", ())}
        return [item for item in training_items if item.name not in left_out]

    def fingerprint_of(self, training_items: Iterable[ImageItem]) -> str:
        """The fingerprint that the manifest would hold had the training been given these images."""
        return fingerprint(self.learnt_from(training_items))

    @cached_property
    def model(self) -> AnomalyModel:
        """The trained Keras model, loaded when first asked for; RunError when it is missing or damaged."""
        import_quietly()
        import keras

        from tfganomaly.models.registry import register_all

        register_all()
        path = self.folder.model_path
        try:
            if path.is_file() and not zipfile.is_zipfile(path):
                raise zipfile.BadZipFile("it is cut off, or no file of Keras")  # Keras would say that there is no file
            return keras.saving.load_model(path, compile=False)
        except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
            raise RunError(
                f"the model '{path}' cannot be loaded ({str(error).splitlines()[0]}); train again into a new folder."
            ) from error

    def model_outputs(self, pixels: np.ndarray) -> ModelOutputs:
        """Runs images, uint8 (B, H, W, C), through the float model in inference mode."""
        return self.model.model_outputs(scale_pixels(pixels))


def load_run(path: Path) -> TrainedRun:
    """Opens a run whose training is finished.

    Raises:
        RunError: There is no run there, it is damaged, or its training is not finished.
    """
    RunFolder(Path(path)).require_finished()
    return TrainedRun(path)


def save_model(model: AnomalyModel, path: Path) -> None:
    """Writes a model in Keras's own format, whole or not at all; OutputError when it cannot be written."""
    require_free_space(path, sum(weight.nbytes for weight in model.get_weights()) + HDF5_OVERHEAD_BYTES)
    with atomic_path(path) as temporary:
        model.save(temporary)
