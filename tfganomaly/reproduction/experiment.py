"""The one-class-anomalous experiment of the paper: each class in turn is the anomaly, for each seed.

FOLDER/
  experiment.json       data, protocol and options: what all of its trainings share
  class-0_seed-0/       the run folder of one training, with `test_scores.npz` and, once it is done, `result.json`
  results.json          the records of all finished trainings
  auroc.png, histograms.png, reconstructions.png
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.atomic_files import write_text_atomically
from edge_runtime.scoring import ScoreRule
from tfganomaly.data.arrays import COLLECTIONS, ArrayCollection, class_label, load_arrays
from tfganomaly.data.sources import open_dataset
from tfganomaly.errors import OptionError, RunError
from tfganomaly.file_lock import file_lock
from tfganomaly.options import resolve_options
from tfganomaly.reproduction.epoch_scores import EpochScores, EpochScoring
from tfganomaly.reproduction.observer import ReproductionObserver
from tfganomaly.reproduction.options import NOT_OPTIONS, ReproductionOptions
from tfganomaly.reproduction.records import Record, pair_records, read_records, write_records
from tfganomaly.score_choice import choose_score
from tfganomaly.training.run_folder import RunFolder, is_leftover
from tfganomaly.training.trainer import train

EXPERIMENT_FORMAT_VERSION = 1
RECIPE = "paper"
RESULT = "result.json"
TEST_SCORES = "test_scores.npz"


@dataclass(frozen=True)
class Experiment:
    """What all trainings of one experiment share; `experiment.json`.

    Attributes:
        collection: The data.
        data_sha256: Of its arrays.
        protocol: "clean" or "official".
        options: Fields of `TrainingOptions` and `ModelOptions` with the values that hold.
    """

    collection: ArrayCollection
    data_sha256: str
    protocol: str
    options: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The contents of `experiment.json`."""
        return {
            "format_version": EXPERIMENT_FORMAT_VERSION,
            "collection": self.collection.name,
            "data_sha256": self.data_sha256,
            "protocol": self.protocol,
            "options": dict(self.options),
        }


@dataclass(frozen=True)
class ExperimentFolder:
    """The files of one experiment."""

    path: Path

    @property
    def results(self) -> Path:
        """All records."""
        return self.path / "results.json"

    def pair(self, label: int, seed: int) -> Path:
        """The run folder of one class and seed."""
        return self.path / f"class-{label}_seed-{seed}"

    def finished(self) -> list[Record]:
        """The records of all finished trainings, by class, then seed."""
        records = [record for path in self.path.glob(f"class-*/{RESULT}") for record in read_records(path)]
        return sorted(records, key=lambda record: (record["abnormal"], record["seed"]))

    def open_for(self, experiment: Experiment) -> None:
        """Makes the folder, or checks that it holds trainings of the same experiment; without any it takes a new one.

        Raises:
            RunError: It holds another experiment, or something else.
        """
        path = self.path / "experiment.json"
        if path.is_file() and self._has_trainings():
            self._check_same(path, experiment)
        elif not path.is_file() and self._is_foreign():
            raise RunError(f"'{self.path}' exists and was not made by reproduce; name another folder with --run.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the folder '{self.path}': {error.strerror}. Choose another --run.") from error
        write_text_atomically(path, json.dumps(experiment.to_dict(), indent=2, sort_keys=True) + "\n")

    def _has_trainings(self) -> bool:
        return any(any(self.path.glob(f"class-*/{name}")) for name in ("config.json", RESULT))

    def _is_foreign(self) -> bool:
        if not self.path.is_dir():
            return self.path.exists()
        # Left where they are: another process may be writing one of them.
        return not all(is_leftover(path) for path in self.path.iterdir())

    def _check_same(self, path: Path, experiment: Experiment) -> None:
        try:
            stored = json.loads(path.read_text("utf-8"))
            if stored["format_version"] > EXPERIMENT_FORMAT_VERSION:
                raise RunError(
                    f"'{path}' has format {stored['format_version']}, this version reads up to "
                    f"{EXPERIMENT_FORMAT_VERSION}. Upgrade tfganomaly."
                )
            # An experiment begun before an option existed was made with that option's default.
            options = {**_option_values({}), **stored["options"]}
            values = {"collection": stored["collection"], "protocol": stored["protocol"], **options}
            data_sha256 = stored.get("data_sha256", experiment.data_sha256)  # earlier versions did not record it
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise RunError(f"'{path}' is damaged ({error}); name another folder with --run.") from error
        wanted = {
            "collection": experiment.collection.name,
            "protocol": experiment.protocol,
            **experiment.options,
        }
        for name, value in wanted.items():
            if values.get(name) != value:
                raise RunError(
                    f"'{self.path}' holds an experiment with {_flag(name)} {values.get(name)}, not {value}. Give the "
                    "same options to go on with it, or another folder with --run."
                )
        if data_sha256 != experiment.data_sha256:
            raise RunError(
                f"'{self.path}' holds an experiment on other data: the images or labels of {wanted['collection']} are "
                "not those that it was begun with. Give the same data to go on with it, or another folder with --run."
            )


def reproduce(
    collection_name: str,
    folder: Path,
    classes: Sequence[str] = (),
    options: ReproductionOptions | None = None,
    given_options: Mapping[str, Any] | None = None,
    *,
    archive: Path | None = None,
    observer: ReproductionObserver | None = None,
) -> list[Record]:
    """Runs the experiment, leaving out what the folder already holds, and writes results and pictures.

    Args:
        collection_name: "mnist", "fashion-mnist" or "cifar10".
        folder: The experiment's folder. A stopped experiment goes on where its last training stood.
        classes: The anomalous classes, by label or name; none means all ten.
        options: Protocol and number of seeds.
        given_options: Fields of `TrainingOptions` and `ModelOptions` that differ from the paper's recipe.
        archive: A local file or folder of the collection.
        observer: Hears of progress.

    Returns:
        The records of all finished trainings in the folder.

    Raises:
        TfganomalyError: Its subclasses, for options, data, folder and a training that went wrong; what was finished
            before stays.
    """
    observer, options = observer or ReproductionObserver(), options or ReproductionOptions()
    collection, values = _collection(collection_name), _experiment_options(given_options or {})
    labels = [class_label(collection, name) for name in classes] or list(range(10))
    # Wrong data is said before anything is written or TensorFlow loads.
    experiment = Experiment(collection, load_arrays(collection, archive).sha256(), options.protocol, values)
    place = ExperimentFolder(folder)
    place.open_for(experiment)
    pairs = [(label, seed) for seed in range(options.seeds) for label in dict.fromkeys(labels)]
    observer.begin(place.finished(), len(pairs))
    for number, (label, seed) in enumerate(pairs, start=1):
        pair = place.pair(label, seed)
        with _held(pair):
            if not (pair / RESULT).is_file():
                observer.begin_pair(number, collection.class_names[label], seed)
                records = _run_pair(experiment, pair, label, seed, archive, observer)
                write_records(pair / RESULT, records)
                write_records(place.results, place.finished())
                observer.finish_pair(records)
            for checkpoint in (pair / "checkpoint").glob("*.weights.h5"):
                checkpoint.unlink()  # 46 MB each in the paper's size; the trained model stays
    records = place.finished()
    write_records(place.results, records)
    _draw(place, records)
    return records


def _held(pair: Path) -> AbstractContextManager[None]:
    """Keeps a second process away from a class and seed. It may have been done while this one waited for others."""
    return file_lock(
        pair.with_name(f".{pair.name}.lock"),
        f"another process is training this pair, '{pair}'; wait until it is done, or take other classes with "
        "--abnormal.",
    )


def _collection(name: str) -> ArrayCollection:
    if name not in COLLECTIONS:
        raise OptionError(f"the data set is '{name}'; expected one of {', '.join(COLLECTIONS)}.")
    return COLLECTIONS[name]


def _experiment_options(given: Mapping[str, Any]) -> dict[str, Any]:
    for name in NOT_OPTIONS:
        if given.get(name) is not None:
            raise OptionError(f"{_flag(name)} is not an option of reproduce; the experiment decides it.")
    return _option_values(given)


def _option_values(given: Mapping[str, Any]) -> dict[str, Any]:
    training, model = resolve_options(RECIPE, given)
    choose_score(training.score, ScoreRule())
    values = {**dataclasses.asdict(training), **dataclasses.asdict(model)}
    for name in NOT_OPTIONS:
        del values[name]
    return values


def _run_pair(
    experiment: Experiment, path: Path, label: int, seed: int, archive: Path | None, observer: ReproductionObserver
) -> list[Record]:
    """Trains, or goes on training, with one class as the anomaly, scoring the test part after each epoch."""
    run = RunFolder(path)
    source = f"{experiment.collection.name}:{label}"
    validation_fraction = experiment.options["validation_fraction"]
    scoring = EpochScoring(
        open_dataset(source, archive=archive, validation_fraction=validation_fraction, seed=seed),
        choose_score(experiment.options["score"], ScoreRule()),
        resize_rule=experiment.options["resize_rule"],
        contrast_rule=experiment.options["contrast_rule"],
        official=experiment.protocol == "official",
        seed=seed,
        path=path / TEST_SCORES,
    )
    train(
        source,
        path,
        RECIPE,
        {**experiment.options, "seed": seed},
        archive=archive,
        resume=run.config_path.is_file(),
        observer=observer,
        after_epoch=scoring,
    )
    return pair_records(run, EpochScores.load(path / TEST_SCORES), experiment.collection, label, experiment.protocol)


def _draw(place: ExperimentFolder, records: Sequence[Record]) -> None:
    from tfganomaly.reproduction import pictures

    shown: dict[str, EpochScores] = {}
    for record in records:
        if record["abnormal_name"] not in shown:  # of several seeds the first
            path = place.pair(record["abnormal"], record["seed"]) / TEST_SCORES
            shown[record["abnormal_name"]] = EpochScores.load(path)
    deciding = next(record["score"] for record in records if record["decides"])
    pictures.write_auroc_chart(place.path / "auroc.png", records)
    pictures.write_histograms(place.path / "histograms.png", shown, deciding)
    pictures.write_reconstructions(place.path / "reconstructions.png", shown)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-") if name != "collection" else "the data set"
