"""Open a data set by the text that a user gives: a folder, or the name of a public data set."""

from __future__ import annotations

import os
from pathlib import Path

from tfganomaly.data.arrays import COLLECTIONS, ArrayCollection, open_one_versus_rest
from tfganomaly.data.elpv import open_elpv
from tfganomaly.data.folders import open_folder
from tfganomaly.data.items import InspectionDataset
from tfganomaly.errors import DataError

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
    name, colon, anomalous_class = source.partition(":")
    collection = _collection(name)
    if collection is not None and (colon or not Path(source).is_dir()):
        if not anomalous_class:
            raise DataError(
                f"'{source}' does not say which class is the anomaly; expected for example "
                f"'{collection.name}:{collection.class_names[8]}' or '{collection.name}:8'."
            )
        return open_one_versus_rest(
            collection, anomalous_class, archive=archive, validation_fraction=validation_fraction, seed=seed
        )
    if archive is not None:
        raise DataError(
            f"An archive was given ('{archive}'), but '{source}' does not come out of one. Archives go with "
            f"{', '.join(COLLECTIONS)}; leave it out otherwise."
        )
    if source.lower() == "elpv":
        return open_elpv(validation_fraction=validation_fraction, seed=seed)
    folder = Path(source).expanduser()
    if not folder.exists():
        raise DataError(f"There is no folder '{source}'. Expected a folder of images, or one of: {NAMED_SOURCES}.")
    return open_folder(folder, validation_fraction=validation_fraction, seed=seed, for_evaluation=for_evaluation)


def _collection(name: str) -> ArrayCollection | None:
    plain = name.lower().replace("-", "").replace("_", "")
    return next((entry for key, entry in COLLECTIONS.items() if key.replace("-", "") == plain), None)
