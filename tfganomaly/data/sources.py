"""Open a data set by the text that a user gives: a folder, or the name of a public data set."""

from __future__ import annotations

import os
from pathlib import Path

from tfganomaly.data.arrays import COLLECTIONS, ArrayCollection, class_label, open_one_versus_rest
from tfganomaly.data.elpv import open_elpv
from tfganomaly.data.folders import open_folder
from tfganomaly.data.items import InspectionDataset
from tfganomaly.errors import DataError

ELPV = "elpv"
NAMED_SOURCES = "elpv, mnist:8, fashion-mnist:bag, cifar10:bird (the class after the colon is the anomaly)"


def open_dataset(
    source: str,
    *,
    archive: Path | None = None,
    validation_fraction: float | None = None,
    seed: int = 0,
    for_evaluation: bool = False,
) -> InspectionDataset:
    """Open a data set. Nothing is decoded yet, and neither TensorFlow nor the network is used (see Raises).

    The test part depends on `source` and `seed` alone, so that models with other validation fractions
    compare.

    Example:
        ```python
        dataset = open_dataset("photographs/bracket")
        dataset = open_dataset("fashion-mnist:bag", seed=1)
        print(len(dataset.train), dataset.num_test_by_defect)  # good images to train on; images by defect
        ```

    Args:
        source: A folder (MVTec layout or good images only), "elpv", or a collection and its anomalous class
            by number or name: "mnist:8", "fashion-mnist:8" or "fashion-mnist:bag", "cifar10:bird". A folder
            of such a name is given as "./elpv".
        archive: Local file or folder of MNIST, Fashion-MNIST or CIFAR-10.
        validation_fraction: Share of the good training images to hold back, 0 < fraction < 1; None:
            a tenth, and more of few images (`hold_out.held_back_count`).
        seed: Chooses what is held back.
        for_evaluation: Whether a folder's test part without images to train on is enough.

    Returns:
        The data set. Its `source` opens it again from any working directory.

    Raises:
        DataError: The source does not exist, is empty, mixed up or damaged, or has too few good images. A
            collection that is not on this machine is downloaded by Keras, the only case that loads
            TensorFlow; when that fails the message says where to put the file.
        MissingExtraError: A package for this source is not installed.
    """
    source = os.fspath(source)
    collection, anomalous_class = _collection_and_class(source)
    if collection is not None:
        return open_one_versus_rest(
            collection, anomalous_class, archive=archive, validation_fraction=validation_fraction, seed=seed
        )
    if archive is not None:
        raise DataError(
            f"An archive was given ('{archive}'), but '{source}' does not come out of one. Archives go with "
            f"{', '.join(COLLECTIONS)}; leave it out otherwise."
        )
    if source.lower() == ELPV:
        return open_elpv(validation_fraction=validation_fraction, seed=seed)
    folder = Path(source).expanduser()
    if not folder.exists():
        raise DataError(f"There is no folder '{source}'. Expected a folder of images, or one of: {NAMED_SOURCES}.")
    return open_folder(folder, validation_fraction=validation_fraction, seed=seed, for_evaluation=for_evaluation)


def canonical_source(source: str) -> str:
    """Return the text that `InspectionDataset.source` of a source has, without opening it: one for all its spellings.

    Raises:
        DataError: It is empty, or names a collection, but no class of it.
    """
    collection, anomalous_class = _collection_and_class(source)
    if collection is not None:
        return f"{collection.name}:{class_label(collection, anomalous_class)}"
    return ELPV if source.lower() == ELPV else os.path.realpath(Path(source).expanduser())


def _collection_and_class(source: str) -> tuple[ArrayCollection | None, str]:
    """Return the collection that a source names and its text for the class, or None and no text."""
    if not source:
        raise DataError(
            "The name of the data is empty, as that of a shell variable that is not set. Expected a folder of images, "
            f"or one of: {NAMED_SOURCES}."
        )
    name, colon, anomalous_class = source.partition(":")
    collection = _collection(name)
    if collection is None or (not colon and Path(source).is_dir()):
        return None, ""
    if not anomalous_class:
        example = f"{collection.name}:{collection.class_names[8]}"
        raise DataError(f"'{source}' does not say which class is the anomaly; expected for example '{example}'.")
    return collection, anomalous_class


def _collection(name: str) -> ArrayCollection | None:
    plain = name.lower().replace("-", "").replace("_", "")
    return next((entry for key, entry in COLLECTIONS.items() if key.replace("-", "") == plain), None)
