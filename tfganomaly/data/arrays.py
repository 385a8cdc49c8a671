"""MNIST, Fashion-MNIST and CIFAR-10 as one-versus-rest problems: one class is the anomaly.

The protocol is that of the GANomaly paper and its authors' code: the normal images of the published training
and test parts are pooled, shuffled by the seed and cut 80/20; the test part is the 20 % and all images of the
anomalous class. The shuffle is the authors' own (`numpy.random.seed(seed)`, `shuffle`), so seed 0 means the
same split as theirs. The validation part comes out of the 80 % and is drawn at random, because these images
are independent of each other; it changes neither the pool nor the test part. Numbers of this protocol must
not stand in one table with those of one-class papers, which train on one *normal* class.

- MNIST: 70,000 grey digits, 28 x 28. LeCun, Cortes, Burges: The MNIST database of handwritten digits, 1998.
  CC BY-SA 3.0.
- Fashion-MNIST: 70,000 grey articles of clothing, 28 x 28. Xiao, Rasul, Vollgraf: Fashion-MNIST: a novel
  image dataset for benchmarking machine learning algorithms, 2017. MIT licence.
- CIFAR-10: 60,000 RGB photographs, 32 x 32. Krizhevsky: Learning multiple layers of features from tiny
  images, 2009. No licence is stated.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfganomaly.data import array_files
from tfganomaly.data.array_files import LabelledArrays
from tfganomaly.data.hold_out import held_back_count
from tfganomaly.data.items import GOOD, ImageItem, InspectionDataset
from tfganomaly.errors import DataError
from tfganomaly.extras import require_extra
from tfganomaly.quiet_tensorflow import import_quietly

TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class ArrayCollection:
    """One published collection of labelled images.

    Attributes:
        name: As in a source text, such as "fashion-mnist".
        class_names: The ten classes by label.
        image_shape: (H, W) or (H, W, 3).
        keras_module: Name of its module in `keras.datasets`.
        cache_places: Where Keras keeps its files, relative to `datasets` in Keras's folder; the first is
            named in messages.
        system_places: Folders in which an operating system's package installs it.
        first_labels: Of the published training part, where another collection has images of that shape: its file is
            told by them.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    keras_module: str
    cache_places: tuple[str, ...]
    system_places: tuple[str, ...] = ()
    first_labels: tuple[int, ...] = ()


COLLECTIONS: dict[str, ArrayCollection] = {
    collection.name: collection
    for collection in (
        ArrayCollection(
            name="mnist",
            class_names=tuple("0123456789"),
            image_shape=(28, 28),
            keras_module="mnist",
            cache_places=("mnist.npz",),
            first_labels=(5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7),
        ),
        ArrayCollection(
            name="fashion-mnist",
            class_names=(
                *("t-shirt", "trouser", "pullover", "dress", "coat"),
                *("sandal", "shirt", "sneaker", "bag", "ankle-boot"),
            ),
            image_shape=(28, 28),
            keras_module="fashion_mnist",
            cache_places=("fashion-mnist",),
            system_places=("/usr/share/datasets/fashion-mnist",),  # Debian's dataset-fashion-mnist
            first_labels=(9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9),
        ),
        ArrayCollection(
            name="cifar10",
            class_names=(
                *("airplane", "automobile", "bird", "cat", "deer"),
                *("dog", "frog", "horse", "ship", "truck"),
            ),
            image_shape=(32, 32, 3),
            keras_module="cifar10",
            cache_places=(
                "cifar-10-python.tar.gz",
                "cifar-10-batches-py-target/cifar-10-batches-py",  # what Keras 3 unpacks
                "cifar-10-batches-py",  # what Keras 2 unpacked
            ),
        ),
    )
}


def open_one_versus_rest(
    collection: ArrayCollection,
    anomalous_class: str,
    *,
    archive: Path | None = None,
    validation_fraction: float | None = None,
    seed: int = 0,
) -> InspectionDataset:
    """Open a collection with one class as the anomaly, by the protocol that the module describes.

    Args:
        collection: One of `COLLECTIONS`.
        anomalous_class: Its label, "0" to "9", or its name, such as "bag".
        archive: File or folder of the collection. None: the operating system's or Keras's copy, else a
            download.
        validation_fraction: Share of the training images to hold back, 0 < fraction < 1; None:
            a tenth, and more of few images (`hold_out.held_back_count`).
        seed: Of the shuffle.

    Returns:
        The data set; item names are `part/class/index` of the published collection.

    Raises:
        DataError: No such class; files missing, damaged or of another collection; too few images.
        MissingExtraError: A download is needed and Keras is not installed.
    """
    label = class_label(collection, anomalous_class)
    arrays = load_arrays(collection, archive)
    labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    normal = np.flatnonzero(labels != label)
    anomalous = np.flatnonzero(labels == label)
    if not len(anomalous):
        raise DataError(f"None of the {len(labels)} images of {collection.name} is of class {anomalous_class}.")

    np.random.RandomState(seed).shuffle(normal)
    train, test = np.split(normal, [int(len(normal) * TRAIN_SHARE)])
    train, validation = np.split(train, [len(train) - held_back_count(len(train), validation_fraction)])

    def named(indices: np.ndarray, defect: str = GOOD) -> tuple[ImageItem, ...]:
        return tuple(_item(collection, arrays, int(index), defect) for index in indices)

    class_name = collection.class_names[label]
    return InspectionDataset(
        name=f"{collection.name}, {class_name} anomalous",
        source=f"{collection.name}:{label}",
        train=named(train),
        validation=named(validation),
        test=(*named(test), *named(anomalous, class_name)),
    )


def class_label(collection: ArrayCollection, text: str) -> int:
    """Return the label of a class given by number or name; case, blanks and hyphens in a name do not matter.

    Raises:
        DataError: There is no such class; the message lists those that there are.
    """
    for label, name in enumerate(collection.class_names):
        if text.strip() == str(label) or (not name.isdigit() and _plain(text) == _plain(name)):
            return label
    names = ", ".join(
        f"{label} {name}" if name != str(label) else name for label, name in enumerate(collection.class_names)
    )
    raise DataError(f"{collection.name} has no class '{text}'; expected one of: {names}.")


def load_arrays(collection: ArrayCollection, archive: Path | None = None) -> LabelledArrays:
    """Find and read a collection.

    Looked for in this order: `archive`; the operating system's package; Keras's cache
    (`$KERAS_HOME/datasets`, else `~/.keras/datasets`); a download by `keras.datasets`, which is the only case
    that loads Keras or uses the network.

    Args:
        collection: One of `COLLECTIONS`.
        archive: A `.npz` file, a folder with one of the collection's name, with idx files or with CIFAR batches, or a
            `.tar.gz` of CIFAR batches.

    Returns:
        The images and labels, checked.

    Raises:
        DataError: Files are damaged or of another collection, or the download failed.
        MissingExtraError: A download is needed and Keras is not installed.
    """
    if archive is not None:
        return _read_checked(collection, archive)
    cache = keras_cache_folder()
    for place in (*map(Path, collection.system_places), *(cache / name for name in collection.cache_places)):
        # Not a folder in which a download stopped: what fetches it goes on with it.
        if place.is_file() or array_files.is_complete(place):
            return _read_checked(collection, place)
    return _download(collection)


def keras_cache_folder() -> Path:
    """Return the folder in which Keras keeps data sets, without importing Keras."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"


def _download(collection: ArrayCollection) -> LabelledArrays:
    place = keras_cache_folder() / collection.cache_places[0]
    advice = f"Put it at '{place}' by hand, or give its place with --archive."
    require_extra("train", "keras")
    import_quietly()
    module = importlib.import_module(f"keras.datasets.{collection.keras_module}")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras prints its progress where results go
            (train_images, train_labels), (test_images, test_labels) = module.load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{collection.name} is not on this machine and could not be downloaded ({reason}). {advice}"
        ) from error
    arrays = array_files.checked_arrays(
        f"keras.datasets.{collection.keras_module}", train_images, train_labels, test_images, test_labels
    )
    return _check_collection(collection, arrays, "keras.datasets")


def _read_checked(collection: ArrayCollection, place: Path) -> LabelledArrays:
    return _check_collection(collection, _read(collection, place), str(place))


def _read(collection: ArrayCollection, place: Path) -> LabelledArrays:
    if place.is_dir():
        npz = place / f"{collection.name}.npz"
        if npz.is_file():
            return array_files.read_npz(npz)
        if array_files.has_idx_files(place):
            return array_files.read_idx_folder(place)
        if array_files.has_cifar_batches(place):
            return array_files.read_cifar_folder(place)
        raise DataError(
            f"The folder '{place}' holds no {collection.name}: expected {npz.name}, idx files "
            "(train-images-idx3-ubyte.gz and three more) or the batches of CIFAR-10 (data_batch_1 ... test_batch)."
        )
    if not place.is_file():
        raise DataError(
            f"There is no '{place}'. Expected the file or folder of {collection.name}: give its place, or leave that "
            f"out and put it at '{keras_cache_folder() / collection.cache_places[0]}'."
        )
    if place.suffix == ".npz":
        return array_files.read_npz(place)
    if "-ubyte" in place.name:
        return array_files.read_idx_folder(place.parent)
    if ".tar" in place.suffixes or place.suffix == ".tgz":
        return array_files.read_cifar_archive(place)
    raise DataError(
        f"'{place}' is no kind of file in which {collection.name} comes; expected .npz, .tar.gz or a folder of "
        "idx files."
    )


def _check_collection(collection: ArrayCollection, arrays: LabelledArrays, origin: str) -> LabelledArrays:
    """Refuses arrays of another shape, and those that begin as another collection does."""
    shape = arrays.train_images.shape[1:]
    if shape != collection.image_shape:
        raise DataError(
            f"The images of '{origin}' are of shape {shape}; {collection.name} has {collection.image_shape}. "
            "Is it another collection's file?"
        )
    for other in COLLECTIONS.values():
        start = tuple(arrays.train_labels[: len(other.first_labels)].tolist())
        if other.name != collection.name and start and start == other.first_labels:
            raise DataError(
                f"'{origin}' holds {other.name}, not {collection.name}. Name {other.name}, or another file."
            )
    return arrays


def _item(collection: ArrayCollection, arrays: LabelledArrays, index: int, defect: str) -> ImageItem:
    part, images, labels, start = "train", arrays.train_images, arrays.train_labels, 0
    if index >= len(images):
        part, images, labels, start = "test", arrays.test_images, arrays.test_labels, len(images)
    class_name = collection.class_names[labels[index - start]]
    return ImageItem(
        name=f"{part}/{class_name}/{index - start:05d}",
        source=images[index - start],
        is_anomalous=defect != GOOD,
        defect=defect,
    )


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
