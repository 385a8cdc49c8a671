"""From a folder of good images to a trained, calibrated run: the story of `tfganomaly train`."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.image_statistics import ImageStatistics
from tfganomaly.data.folders import refuse_output_among_images
from tfganomaly.data.image_checks import check_images
from tfganomaly.data.items import ImageItem, InspectionDataset, fingerprint
from tfganomaly.data.loading import LoadedImages
from tfganomaly.errors import RunError
from tfganomaly.evaluation.calibrate import calibrate_scorer
from tfganomaly.file_lock import file_lock
from tfganomaly.options import DEFAULT_RECIPE
from tfganomaly.quiet_tensorflow import import_quietly
from tfganomaly.training.configuration import new_config, resumed_config
from tfganomaly.training.good_images import GoodImages, check_enough, read_good_images
from tfganomaly.training.observer import TrainingObserver
from tfganomaly.training.provenance import provenance, provenance_of_resume
from tfganomaly.training.run import TrainedRun, save_model
from tfganomaly.training.run_folder import RunConfig, RunFolder, remove_leftovers
from tfganomaly.training.stand_out import report_stand_outs
from tfganomaly.training.statistics_power import choose_power, with_power

if TYPE_CHECKING:
    from tfganomaly.models.contract import AnomalyModel

_LOCK_FILE = ".training.lock"


@dataclass(frozen=True)
class TrainingSummary:
    """What a training came to.

    Attributes:
        run: The run folder.
        num_train: Good images trained on.
        num_validation: Good images held back for threshold and early stopping.
        unreadable: Name and reason of each image that was left out.
        epochs: Finished epochs.
        epochs_now: How many of them this call has trained.
        seconds: Time that this call took, reading and calibration included.
        losses: The losses of the last epoch.
        threshold: On the raw score.
        notes: What the user should know about data and threshold.
    """

    run: Path
    num_train: int
    num_validation: int
    unreadable: tuple[tuple[str, str], ...]
    epochs: int
    epochs_now: int
    seconds: float
    losses: Mapping[str, float]
    threshold: float
    notes: tuple[str, ...]

    def text(self) -> str:
        """A few lines for the end of a training."""
        lines = [
            f"trained on {self.num_train} good images, {_count(self.epochs, 'epoch')}, {self.seconds:.0f} s"
            + ("" if self.epochs_now == self.epochs else f" ({_count(self.epochs_now, 'epoch')} of them now)"),
            f"threshold  {self.threshold:.6g} on the raw score, from {self.num_validation} held-back good images",
            f"run        {self.run}  (reconstructions by epoch in {self.run / 'samples'})",
        ]
        if self.unreadable:
            lines.append(f"left out   images that could not be read: {len(self.unreadable)}")
        lines += [f"note       {note}" for note in self.notes]
        output = f"{self.run.resolve().name}.tflite"
        lines.append(f"next       {shlex.join(['tfganomaly', 'export', str(self.run), '--output', output])}")
        return "\n".join(lines)


def train(
    source: str,
    run: Path,
    recipe: str | None = None,
    given_options: Mapping[str, Any] | None = None,
    *,
    archive: Path | None = None,
    resume: bool = False,
    observer: TrainingObserver | None = None,
    after_epoch: Callable[[AnomalyModel], Mapping[str, float]] | None = None,
) -> TrainingSummary:
    """Trains a model on good images and calibrates its threshold on held-back ones.

    Args:
        source: A folder or the name of a data set, as `tfganomaly.data.sources.open_dataset` takes it.
        run: The folder to write; must be new or empty unless `resume`.
        recipe: The set of defaults; None: `DEFAULT_RECIPE`, or the run's own when it is resumed.
        given_options: Fields of `TrainingOptions` and `ModelOptions` that differ from the recipe.
        archive: A local file for a named data set.
        resume: Go on with the run in this folder.
        observer: Hears of progress.
        after_epoch: Called with the model after each epoch; its figures join the losses in the run's history.

    Raises:
        TfganomalyError: Its subclasses, for options, data, run folder and a training that went wrong; whatever was
            finished before stays in the folder.
    """
    observer = observer or TrainingObserver()
    given_options = given_options or {}
    started = time.monotonic()
    folder = RunFolder(run)
    if resume:
        config = resumed_config(folder, source, recipe, given_options, archive)
        dataset = config.open_dataset()
    else:
        config, dataset = new_config(source, recipe or DEFAULT_RECIPE, given_options, archive)
        refuse_output_among_images(dataset.source, run, "--run")
    chosen = chosen_training_items(dataset.train, config)
    check_enough(len(chosen), len(dataset.validation), config.training.max_train_images)
    if not resume:
        folder.create(config)
    refusal = f"another process is training in '{folder.path}'; wait until it is done, or end it."
    with file_lock(folder.path / _LOCK_FILE, refusal):
        remove_leftovers(folder.path)
        return _train_in(folder, config, dataset, chosen, observer, after_epoch, started)


def _train_in(
    folder: RunFolder,
    config: RunConfig,
    dataset: InspectionDataset,
    chosen: tuple[ImageItem, ...],
    observer: TrainingObserver,
    after_epoch: Callable[[AnomalyModel], Mapping[str, float]] | None,
    started: float,
) -> TrainingSummary:
    """Trains in a folder that this process alone holds."""
    num_before = len(folder.read_history())
    for warning in dataset.warnings:
        observer.message(f"warning: {warning}")

    images = read_good_images(folder, config, chosen, dataset.validation, observer)
    oddities = check_images(images.train, images.validation, config.preprocessing)
    for oddity in oddities:
        observer.message(f"warning: {oddity}")
    manifest = _record_beginning(folder, config, images)
    observer.message(_opening_line(config, dataset.name, images))

    config = _with_statistics(folder, config, images.train)
    import_quietly()  # only now: whatever is wrong with options, data or folder has been said without the wait
    _fit(folder, config, images, observer, after_epoch)
    trained = TrainedRun(folder.path)
    _choose_power(trained, images, observer)
    calibration = calibrate_scorer(
        trained, images.validation.pixels, images.validation.textures, config.training.false_alarm_rate
    )
    folder.write_calibration(calibration)
    stand_outs = report_stand_outs(folder, trained, calibration, images.train, images.validation)
    history = _record_end(folder, manifest)
    return TrainingSummary(
        run=folder.path,
        num_train=len(images.train.items),
        num_validation=len(images.validation.items),
        unreadable=images.unreadable,
        epochs=len(history),
        epochs_now=len(history) - num_before,
        seconds=time.monotonic() - started,
        losses={name: value for name, value in history[-1].items() if name != "epoch"},
        threshold=calibration.threshold,
        notes=(*dataset.warnings, *oddities, *calibration.remarks, *stand_outs),
    )


def _record_beginning(folder: RunFolder, config: RunConfig, images: GoodImages) -> dict[str, Any]:
    """Writes down what the training is made with, and at a resume what it goes on with; returns the manifest."""
    begun = folder.read_manifest() if folder.manifest_path.is_file() else {}
    manifest = {
        "status": "training",
        **(provenance_of_resume(begun) if begun else provenance()),
        "seed": config.training.seed,
        "data_fingerprint": fingerprint(images.train.items),
        "num_train": len(images.train.items),
        "num_validation": len(images.validation.items),
        "unreadable": [list(entry) for entry in images.unreadable],
    }
    if begun and begun.get("data_fingerprint") != manifest["data_fingerprint"]:
        raise RunError(
            f"the training images have changed since the run '{folder.path}' was begun. Restore them, or train into "
            f"a new folder."
        )
    recorded = folder.read_config()
    if (config.training, config.data_archive) != (recorded.training, recorded.data_archive):
        # The threshold belongs to the former score or weights: until there is a new one the run is not finished.
        folder.calibration_path.unlink(missing_ok=True)
        folder.rewrite_config(config)
    folder.write_manifest(manifest)
    return manifest


def _fit(
    folder: RunFolder,
    config: RunConfig,
    images: GoodImages,
    observer: TrainingObserver,
    after_epoch: Callable[[AnomalyModel], Mapping[str, float]] | None,
) -> None:
    """Trains the model and writes it into the folder."""
    from tfganomaly.training.fitting import fit, without_optimizers

    model = fit(
        folder,
        config,
        images.train.pixels,
        images.validation.pixels,
        observer,
        after_epoch,
        images.train_parts,
        images.validation_parts,
    )
    save_model(without_optimizers(model, config.training.model), folder.model_path)


def _record_end(folder: RunFolder, manifest: Mapping[str, Any]) -> list[dict[str, float]]:
    """Declares the run finished, removes what only the training needed and returns the history."""
    history = folder.read_history()
    folder.write_manifest({**manifest, "status": "finished", "epochs": len(history)})
    for cache in folder.checkpoints.glob("*.pixels"):
        cache.unlink()
    return history


def _with_statistics(folder: RunFolder, config: RunConfig, images: LoadedImages) -> RunConfig:
    """The configuration with the statistics of the good training images in its score, where they are asked for."""
    if config.training.score_factor == "none" or config.score_rule.statistics is not None:
        return config
    assert images.textures is not None
    statistics = ImageStatistics.of_images(images.pixels, images.textures)
    rule = dataclasses.replace(config.score_rule, statistics=statistics)
    config = dataclasses.replace(config, score_rule=rule)
    folder.rewrite_config(config)
    return config


def _choose_power(trained: TrainedRun, images: GoodImages, observer: TrainingObserver) -> None:
    """Says and writes into the run how much its image statistics count, where it has any."""
    if trained.score_rule.statistics is None:
        return
    choice = choose_power(trained, images.validation.pixels, trained.data_seed, images.validation_parts)
    observer.message(choice.text())
    trained.change_score_rule(with_power(trained.score_rule, choice.power))


def chosen_training_items(items: tuple[ImageItem, ...], config: RunConfig) -> tuple[ImageItem, ...]:
    """All items, or as many as `max_train_images` allows, drawn with the seed and kept in order."""
    limit = config.training.max_train_images
    if limit is None or limit >= len(items):
        return items
    drawn = np.random.default_rng(config.training.seed).choice(len(items), size=limit, replace=False)
    return tuple(items[index] for index in sorted(drawn))


def _opening_line(config: RunConfig, data_name: str, images: GoodImages) -> str:
    training, model = config.training, config.model
    return (
        f"{training.model} ({training.recipe}) on {data_name}: {len(images.train.items)} good images, "
        f"{len(images.validation.items)} held back, {model.image_size} x {model.image_size} "
        f"{'grey' if model.channels == 1 else 'RGB'}, {_count(training.epochs, 'epoch')}, seed {training.seed}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
