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
from edge_runtime.scoring import ScoreRule
from tfganomaly.data.folders import refuse_output_among_images
from tfganomaly.data.hold_out import MIN_HELD_BACK
from tfganomaly.data.image_checks import check_images
from tfganomaly.data.items import ImageItem, InspectionDataset, fingerprint
from tfganomaly.data.loading import LoadedImages, count_channels, load_images
from tfganomaly.data.picture_parts import picture_parts
from tfganomaly.data.pixel_cache import record_type
from tfganomaly.data.sources import open_dataset
from tfganomaly.errors import OptionError, RunError, TrainingError
from tfganomaly.evaluation.calibrate import calibrate_scorer
from tfganomaly.models.catalogue import MODELS
from tfganomaly.options import DEFAULT_RECIPE, models_and_recipes, resolve_options
from tfganomaly.quiet_tensorflow import import_quietly
from tfganomaly.score_choice import USUAL_SCORE_RULES, choose_score
from tfganomaly.training.observer import TrainingObserver
from tfganomaly.training.provenance import provenance, provenance_of_resume
from tfganomaly.training.run import TrainedRun, save_model
from tfganomaly.training.run_folder import RunConfig, RunFolder
from tfganomaly.training.stand_out import report_stand_outs
from tfganomaly.training.statistics_power import choose_power, with_power

if TYPE_CHECKING:
    from tfganomaly.models.contract import AnomalyModel

# Above this many bytes of pixels the images are kept in a file beside the checkpoints and read from there.
LARGEST_CACHE_IN_MEMORY = 2**30
FEWEST_TRAINING_IMAGES = 2


@dataclass(frozen=True)
class TrainingSummary:
    """What a training came to.

    Attributes:
        run: The run folder.
        num_train: Good images trained on.
        num_validation: Good images held back for threshold and early stopping.
        unreadable: Name and reason of each image that was left out.
        epochs: Finished epochs.
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
    seconds: float
    losses: Mapping[str, float]
    threshold: float
    notes: tuple[str, ...]

    def text(self) -> str:
        """A few lines for the end of a training."""
        lines = [
            f"trained on {self.num_train} good images, {self.epochs} epochs, {self.seconds:.0f} s",
            f"threshold  {self.threshold:.6g} on the raw score, from {self.num_validation} held-back good images",
            f"run        {self.run}  (reconstructions by epoch in {self.run / 'samples'})",
        ]
        if self.unreadable:
            lines.append(f"left out   {len(self.unreadable)} images that could not be read")
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
        config = _resumed_config(folder, source, recipe, given_options, archive)
        dataset = config.open_dataset()
    else:
        config, dataset = _new_config(source, recipe or DEFAULT_RECIPE, given_options, archive)
        refuse_output_among_images(dataset.source, run, "--run")
    chosen = chosen_training_items(dataset.train, config)
    _check_enough(len(chosen), len(dataset.validation), config.training.max_train_images)
    if not resume:
        folder.create(config)
    for warning in dataset.warnings:
        observer.message(f"warning: {warning}")

    train_images = _read(chosen, config, observer, folder.checkpoints / "train.pixels")
    validation_images = _read(dataset.validation, config, observer, folder.checkpoints / "validation.pixels")
    _check_enough(len(train_images.items), len(validation_images.items), config.training.max_train_images)
    oddities = check_images(train_images, validation_images, config.preprocessing)
    for oddity in oddities:
        observer.message(f"warning: {oddity}")
    unreadable = (*train_images.unreadable, *validation_images.unreadable)
    manifest = {
        "status": "training",
        **(provenance_of_resume(folder.read_manifest()) if folder.manifest_path.is_file() else provenance()),
        "seed": config.training.seed,
        "data_fingerprint": fingerprint(train_images.items),
        "num_train": len(train_images.items),
        "num_validation": len(validation_images.items),
        "unreadable": [list(entry) for entry in unreadable],
    }
    if resume:
        _check_same_data(folder, manifest)
        recorded = folder.read_config()
        if (config.training, config.data_archive) != (recorded.training, recorded.data_archive):
            # The threshold belongs to the former score or weights: until there is a new one the run is not finished.
            folder.calibration_path.unlink(missing_ok=True)
            folder.rewrite_config(config)
    folder.write_manifest(manifest)
    observer.message(_opening_line(config, dataset, train_images, validation_images))

    config = _with_statistics(folder, config, train_images)
    import_quietly()  # only now: whatever is wrong with options, data or folder has been said without the wait
    from tfganomaly.training.fitting import fit, without_optimizers

    parts = [picture_parts(images.items, config.preprocessing) for images in (train_images, validation_images)]
    model = fit(folder, config, train_images.pixels, validation_images.pixels, observer, after_epoch, *parts)
    save_model(without_optimizers(model, config.training.model), folder.model_path)
    trained = TrainedRun(folder.path)
    _choose_power(trained, validation_images, observer)
    calibration = calibrate_scorer(
        trained, validation_images.pixels, validation_images.textures, config.training.false_alarm_rate
    )
    folder.write_calibration(calibration)
    stand_outs = report_stand_outs(folder, trained, calibration, train_images, validation_images)
    history = folder.read_history()
    folder.write_manifest({**manifest, "status": "finished", "epochs": len(history)})
    for cache in folder.checkpoints.glob("*.pixels"):
        cache.unlink()
    notes = [*dataset.warnings, *oddities, *calibration.remarks, *stand_outs]
    return TrainingSummary(
        run=run,
        num_train=len(train_images.items),
        num_validation=len(validation_images.items),
        unreadable=unreadable,
        epochs=len(history),
        seconds=time.monotonic() - started,
        losses={name: value for name, value in history[-1].items() if name != "epoch"},
        threshold=calibration.threshold,
        notes=tuple(notes),
    )


def _new_config(
    source: str, recipe: str, given: Mapping[str, Any], archive: Path | None
) -> tuple[RunConfig, InspectionDataset]:
    training, model = resolve_options(recipe, given)
    dataset = open_dataset(
        source, archive=archive, validation_fraction=training.validation_fraction, seed=training.seed
    )
    if model.channels is None:
        model = dataclasses.replace(model, channels=count_channels(dataset.train))
    rule = _chosen_score(training.score, USUAL_SCORE_RULES[training.model], training.model)
    config = RunConfig(training, model, dataset.source, str(archive.resolve()) if archive else None, rule)
    return config, dataset


def _chosen_score(text: str | None, usual: ScoreRule, model: str) -> ScoreRule:
    rule = choose_score(text, usual)
    if rule.needs_discriminator and not MODELS[model].has_discriminator:
        others = models_and_recipes(lambda other: other.has_discriminator)
        raise OptionError(
            f"--score is {text}, which needs the discriminator, and the model {model} has none. Take latent_l2, "
            f"latent_l1, reconstruction_l1 or relative_latent_l2, or {others}."
        )
    return rule


def _resumed_config(
    folder: RunFolder, source: str, recipe: str | None, given: Mapping[str, Any], archive: Path | None
) -> RunConfig:
    """The run's own configuration; of the options given again only the epochs and the deciding score may differ.

    So may the place of the archive, whose contents are compared later. Epochs cannot be taken back.
    """
    config = folder.read_config()
    recorded = {**dataclasses.asdict(config.training), **dataclasses.asdict(config.model)}
    for name, value in {**given, "recipe": recipe}.items():
        if value is not None and value != recorded[name] and name not in ("epochs", "score"):
            flag = "--" + name.replace("_", "-")
            raise OptionError(
                f"{flag} is {value}, but the run '{folder.path}' was begun with {recorded[name]}. Leave it out, or "
                f"train into a new folder."
            )
    if _same_source(source) != _same_source(config.data_source):
        raise RunError(
            f"the run '{folder.path}' was begun with the data '{config.data_source}', not '{source}'. Name the same "
            f"data, or train into a new folder."
        )
    finished, epochs = len(folder.read_history()), given.get("epochs")
    if epochs is not None and epochs < finished:
        raise OptionError(
            f"--epochs is {epochs}, but the run '{folder.path}' has been trained for {finished} already. Give at least "
            f"{finished}, leave it out, or train into a new folder."
        )
    changed = {name: given[name] for name in ("epochs", "score") if given.get(name) is not None}
    return dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, **changed),
        score_rule=_chosen_score(changed.get("score"), config.score_rule, config.training.model),
        data_archive=str(archive.resolve()) if archive else config.data_archive,
    )


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


def _choose_power(trained: TrainedRun, images: LoadedImages, observer: TrainingObserver) -> None:
    """Says and writes into the run how much its image statistics count, where it has any."""
    if trained.score_rule.statistics is None:
        return
    parts = picture_parts(images.items, trained.preprocessing)
    choice = choose_power(trained, images.pixels, trained.data_seed, parts)
    observer.message(choice.text())
    trained.change_score_rule(with_power(trained.score_rule, choice.power))


def _same_source(source: str) -> str:
    path = Path(source)
    return str(path.resolve()) if path.exists() else source


def chosen_training_items(items: tuple[ImageItem, ...], config: RunConfig) -> tuple[ImageItem, ...]:
    """All items, or as many as `max_train_images` allows, drawn with the seed and kept in order."""
    limit = config.training.max_train_images
    if limit is None or limit >= len(items):
        return items
    drawn = np.random.default_rng(config.training.seed).choice(len(items), size=limit, replace=False)
    return tuple(items[index] for index in sorted(drawn))


def _read(items: tuple[ImageItem, ...], config: RunConfig, observer: TrainingObserver, cache: Path) -> LoadedImages:
    with_textures = config.training.score_factor != "none"
    size = len(items) * record_type(config.preprocessing, with_texture=with_textures).itemsize
    images = load_images(
        items,
        config.preprocessing,
        with_textures=with_textures,
        progress=observer.reading_images,
        cache_path=cache if size > LARGEST_CACHE_IN_MEMORY else None,
    )
    for name, reason in images.unreadable:
        observer.message(f"left out {name}: {reason}")
    return images


def _check_enough(num_train: int, num_held_back: int, limit: int | None) -> None:
    if limit is not None and limit < FEWEST_TRAINING_IMAGES:
        raise OptionError(
            f"--max-train-images is {limit}; at least {FEWEST_TRAINING_IMAGES} images are needed to train on. Give "
            "more, or leave it out."
        )
    if num_train < FEWEST_TRAINING_IMAGES or num_held_back < MIN_HELD_BACK:
        raise TrainingError(
            f"too few good images: {num_train} to train on and {num_held_back} held back; at least "
            f"{FEWEST_TRAINING_IMAGES} and {MIN_HELD_BACK} that can be read are needed. Add good images."
        )


def _check_same_data(folder: RunFolder, manifest: Mapping[str, Any]) -> None:
    if not folder.manifest_path.is_file():
        return
    if folder.read_manifest()["data_fingerprint"] != manifest["data_fingerprint"]:
        raise RunError(
            f"the training images have changed since the run '{folder.path}' was begun. Restore them, or train into "
            f"a new folder."
        )


def _opening_line(
    config: RunConfig, dataset: InspectionDataset, train_images: LoadedImages, validation_images: LoadedImages
) -> str:
    training, model = config.training, config.model
    return (
        f"{training.model} ({training.recipe}) on {dataset.name}: {len(train_images.items)} good images, "
        f"{len(validation_images.items)} held back, {model.image_size} x {model.image_size} "
        f"{'grey' if model.channels == 1 else 'RGB'}, {training.epochs} epochs, seed {training.seed}"
    )
