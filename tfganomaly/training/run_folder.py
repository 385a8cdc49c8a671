"""The folder that a training writes: which file is where, and how each is read and written.

    RUN/
      config.json        the options, the data source: what was asked for
      manifest.json      status, versions, seed, data fingerprint, git revision: what it was done with
      history.jsonl      one line an epoch: its losses
      checkpoint/        weights and optimizers of the last finished epoch (and of the best, with early stopping)
      samples/           inputs, reconstructions and differences of held-back good images, one picture an epoch
      tensorboard/       the losses and the pictures for TensorBoard
      model.keras        the trained model
      calibration.json   threshold and score range from held-back good images
      stand_out.png      the good images that look least like the others; stand_out.json: their paths

Importing it costs no TensorFlow, so that a wrong folder is said at once.
"""

from __future__ import annotations

import dataclasses
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.atomic_files import write_text_atomically
from edge_runtime.calibration import Calibration
from edge_runtime.preprocessing import Preprocessing
from edge_runtime.scoring import ScoreRule
from tfganomaly.data.items import InspectionDataset
from tfganomaly.data.sources import open_dataset
from tfganomaly.errors import RunError
from tfganomaly.options import ModelOptions, TrainingOptions

CONFIG_FORMAT_VERSION = 4


@dataclass(frozen=True)
class RunConfig:
    """What was asked for; `config.json`.

    Attributes:
        training: How to train.
        model: What to train, `channels` decided.
        data_source: The DATA argument, a folder as an absolute path, or a name such as `elpv` or `mnist:8`.
        data_archive: A local file for the named data sets, or None.
        score_rule: How outputs become a score.
    """

    training: TrainingOptions
    model: ModelOptions
    data_source: str
    data_archive: str | None
    score_rule: ScoreRule

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes the model's input."""
        return preprocessing_of(self.training, self.model)

    def open_dataset(self, source: str | None = None) -> InspectionDataset:
        """Opens the data of this run with its split; `source` says where a folder has moved to."""
        return open_dataset(
            self.data_source if source is None else source,
            archive=Path(self.data_archive) if self.data_archive else None,
            validation_fraction=self.training.validation_fraction,
            seed=self.training.seed,
        )

    def to_dict(self) -> dict[str, Any]:
        """The contents of `config.json`."""
        return {
            "format_version": CONFIG_FORMAT_VERSION,
            "training": dataclasses.asdict(self.training),
            "model": dataclasses.asdict(self.model),
            "data_source": self.data_source,
            "data_archive": self.data_archive,
            "score_rule": self.score_rule.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """Reads what `to_dict` wrote.

        Raises:
            RunError: The dictionary is of a newer format, or of an older one that meant something else.
            KeyError, TypeError: Something is missing; `RunFolder.read_config` turns it into a RunError.
        """
        if values["format_version"] > CONFIG_FORMAT_VERSION:
            raise RunError(
                f"the run has config format {values['format_version']}, this version reads up to "
                f"{CONFIG_FORMAT_VERSION}. Upgrade tfganomaly."
            )
        training = TrainingOptions(**values["training"])
        is_letterboxed, has_statistics = training.resize_rule == "letterbox", training.score_factor != "none"
        if (values["format_version"] < 4 and has_statistics) or (values["format_version"] < 2 and is_letterboxed):
            raise RunError(
                f"the run has config format {values['format_version']}, in which borders were filled and image "
                "statistics made in another way. Train again into a new folder."
            )
        return cls(
            training,
            ModelOptions(**values["model"]),
            values["data_source"],
            values["data_archive"],
            ScoreRule.from_dict(values["score_rule"]),
        )


def preprocessing_of(training: TrainingOptions, model: ModelOptions) -> Preprocessing:
    """How options turn an image into a model's input; `channels` must be decided."""
    size = model.image_size
    return Preprocessing(size, size, int(model.channels or 0), training.resize_rule, training.contrast_rule)


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def config_path(self) -> Path:
        """The options."""
        return self.path / "config.json"

    @property
    def manifest_path(self) -> Path:
        """Status and provenance."""
        return self.path / "manifest.json"

    @property
    def history_path(self) -> Path:
        """Losses by epoch."""
        return self.path / "history.jsonl"

    @property
    def model_path(self) -> Path:
        """The trained model."""
        return self.path / "model.keras"

    @property
    def calibration_path(self) -> Path:
        """Threshold and score range."""
        return self.path / "calibration.json"

    @property
    def stand_out_path(self) -> Path:
        """Sheet of the images that stand out."""
        return self.path / "stand_out.png"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoint"

    @property
    def samples(self) -> Path:
        """Folder of the pictures, one an epoch."""
        return self.path / "samples"

    @property
    def tensorboard(self) -> Path:
        """Folder of the TensorBoard event files."""
        return self.path / "tensorboard"

    def create(self, config: RunConfig) -> None:
        """Makes the folder and writes its configuration.

        Raises:
            RunError: The folder exists and is not empty, or cannot be made. What a kill leaves of a folder that was
                just being made counts as empty.
        """
        if self.path.exists() and not self._is_unused():
            hint = "add --resume to go on with it" if self.config_path.is_file() else "it was not made by train"
            raise RunError(f"the run folder '{self.path}' exists already ({hint}); name a new one with --run.")
        try:
            for folder in (self.checkpoints, self.samples):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot make the run folder '{self.path}': {error.strerror}. Choose a folder that you may write to."
            ) from error
        self.rewrite_config(config)

    def _is_unused(self) -> bool:
        if not self.path.is_dir():
            return False
        made = [path for path in self.path.iterdir() if not is_leftover(path)]
        if not all(path in (self.checkpoints, self.samples) and path.is_dir() for path in made):
            return False
        if any(any(path.iterdir()) for path in made):
            return False
        remove_leftovers(self.path)
        return True

    def rewrite_config(self, config: RunConfig) -> None:
        """Replaces `config.json`."""
        _write_json(self.config_path, config.to_dict())

    def read_config(self) -> RunConfig:
        """Reads `config.json`.

        Raises:
            RunError: There is no run here, or its configuration is damaged.
        """
        if self.path.is_file():
            raise RunError(f"'{self.path}' is a file; expected the folder given to `tfganomaly train --run`.")
        if not self.path.is_dir():
            raise RunError(
                f"there is no run folder '{self.path}'; make one with `tfganomaly train DATA --run {self.path}`."
            )
        try:
            return RunConfig.from_dict(self._read_json(self.config_path))
        except (KeyError, TypeError) as error:
            raise RunError(f"'{self.config_path}' is damaged ({error}); train again into a new folder.") from error

    def read_manifest(self) -> dict[str, Any]:
        """Reads `manifest.json`; raises RunError as `read_config`."""
        return self._read_json(self.manifest_path)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replaces `manifest.json`."""
        _write_json(self.manifest_path, manifest)

    def read_calibration(self) -> Calibration:
        """Reads `calibration.json`; raises RunError as `read_config`."""
        return Calibration.from_dict(self._read_json(self.calibration_path))

    def write_calibration(self, calibration: Calibration) -> None:
        """Replaces `calibration.json`."""
        _write_json(self.calibration_path, calibration.to_dict())

    def read_history(self) -> list[dict[str, float]]:
        """The finished epochs, oldest first; a line that is damaged ends them."""
        if not self.history_path.is_file():
            return []
        epochs = []
        for line in self.history_path.read_text("utf-8", errors="replace").splitlines():
            try:
                epochs.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return epochs

    def write_history(self, epochs: list[dict[str, float]]) -> None:
        """Replaces `history.jsonl`."""
        write_text_atomically(self.history_path, "".join(json.dumps(epoch) + "\n" for epoch in epochs))

    def require_finished(self) -> None:
        """Raises RunError unless this is a run whose training is done."""
        self.read_config()
        needed = (self.manifest_path, self.model_path, self.calibration_path)
        if not all(path.is_file() for path in needed) or self.read_manifest().get("status") != "finished":
            raise RunError(
                f"the training in '{self.path}' is not finished; go on with "
                f"`tfganomaly train DATA --run {self.path} --resume`."
            )

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            values = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise RunError(
                f"'{self.path}' is not a run folder: it has no {path.name}. Name the folder given to "
                f"`tfganomaly train --run`."
            ) from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise RunError(f"'{path}' is damaged ({error}); train again into a new folder.") from error
        if not isinstance(values, dict):
            raise RunError(f"'{path}' is damaged (not a JSON object); train again into a new folder.")
        return values


def is_leftover(path: Path) -> bool:
    """Whether this is the temporary file of a write, which stays behind at a kill; `atomic_files` names it."""
    return re.fullmatch(r"\..*\.\d+-[0-9a-f]{8}\.part(\..*)?", path.name) is not None


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of writes that a kill interrupted; nothing else may be writing there."""
    for path in folder.glob(".*.part*"):
        if is_leftover(path):
            with suppress(OSError):
                path.unlink()


def _write_json(path: Path, values: dict[str, Any]) -> None:
    write_text_atomically(path, json.dumps(values, indent=2, sort_keys=True) + "\n")
