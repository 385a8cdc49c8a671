"""Opens the data for an evaluation, so that nothing counts as held back that the model was not trained beside."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.image_files import natural_order
from tfganomaly.data.items import InspectionDataset, fingerprint
from tfganomaly.data.sources import canonical_source, open_dataset

if TYPE_CHECKING:
    from tfganomaly.training.run import TrainedRun


def open_for_run(run: TrainedRun, source: str, archive: Path | None) -> InspectionDataset:
    """Opens data with the split that a run was trained with.

    Args:
        run: A finished run.
        source: As `open_dataset` takes it.
        archive: Likewise.

    Returns:
        The data. Good images without a test part that are not those of the training are all in the test part.

    Raises:
        DataError: As `open_dataset`.
    """
    from tfganomaly.training.trainer import chosen_training_items

    if archive is None and run.config.data_archive and canonical_source(source) == run.data_source:
        archive = Path(run.config.data_archive)
    dataset = open_dataset(
        source, archive=archive, validation_fraction=run.validation_fraction, seed=run.data_seed, for_evaluation=True
    )
    if dataset.test:
        return _with_word_of_another_class(dataset, run.data_source)
    taken = chosen_training_items(dataset.train, run.config)
    is_known = run.fingerprint_of(taken) == run.folder.read_manifest().get("data_fingerprint")
    return dataset if is_known else _as_new_images(dataset, run.data_source)


def open_for_artefact(
    trained_on: Mapping[str, Any], validation_fraction: float | None, seed: int, source: str, archive: Path | None
) -> InspectionDataset:
    """Opens data with the split of an artefact's training; see `open_for_run`.

    An artefact does not tell which images could not be read or were not drawn. Where its own folder holds more images
    than it was trained on, the split is taken for that of the training.

    Args:
        trained_on: `ArtefactMetadata.data`.
        validation_fraction: Of its training's split.
        seed: Likewise.
        source: As `open_dataset` takes it.
        archive: Likewise.
    """
    dataset = open_dataset(
        source, archive=archive, validation_fraction=validation_fraction, seed=seed, for_evaluation=True
    )
    recorded, own_source = trained_on.get("fingerprint"), str(trained_on.get("source", ""))
    if dataset.test:
        return _with_word_of_another_class(dataset, own_source)
    if recorded is None:
        return dataset
    if fingerprint(dataset.train) == recorded:
        return dataset
    num_train = trained_on.get("num_train") or 0
    if dataset.source != own_source or len(dataset.train) <= num_train:
        return _as_new_images(dataset, own_source)
    note = (
        f"'{own_source}' now has {len(dataset.train)} good images beside those held back, and the model was trained on "
        f"{num_train}. If images came since the training, some that are scored here as held back were trained on, and "
        "the false alarm rate is too low; if the training left some out, all is well. Evaluate the run to be sure."
    )
    return dataclasses.replace(dataset, warnings=(note, *dataset.warnings))


def _with_word_of_another_class(dataset: InspectionDataset, trained_source: str) -> InspectionDataset:
    """The same data; where the model was trained on its collection with another class as the anomaly it says so."""
    collection, trained_collection = (source.partition(":") for source in (dataset.source, trained_source))
    if not collection[1] or collection[0] != trained_collection[0] or collection == trained_collection:
        return dataset
    note = (
        f"The model was trained on {trained_source} and is evaluated on {dataset.source}: most images of this test "
        "part, good and anomalous ones, were good training images to it, so that the figures mean little. Give "
        f"{trained_source}."
    )
    return dataclasses.replace(dataset, warnings=(note, *dataset.warnings))


def _as_new_images(dataset: InspectionDataset, trained_source: str) -> InspectionDataset:
    """The same good images, all of them to be scored, with a sentence that says what they are."""
    items = sorted((*dataset.train, *dataset.validation), key=lambda item: natural_order(item.name))
    if dataset.source == trained_source:
        note = (
            f"The good images in '{dataset.source}' have changed since the training, so that it is not known which of "
            f"them were held back: all {len(items)} were scored. Of those that it was trained on the model calls fewer "
            "anomalous than of new ones."
        )
    else:
        note = (
            f"'{dataset.source}' is not the data that the model was trained on, and it has no test part: all "
            f"{len(items)} images were scored, as good ones that are new to the model."
        )
    return dataclasses.replace(dataset, train=(), validation=(), test=tuple(items), warnings=(note, *dataset.warnings))
