"""Read the files in which MNIST, Fashion-MNIST and CIFAR-10 are published.

Three formats: NumPy archives (`mnist.npz`), idx files (`train-images-idx3-ubyte`, with or without `.gz`) in a
folder, and the Python batches of CIFAR-10 as a folder, `.tar` or `.tar.gz`. Nothing here knows where the
files lie.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from tfganomaly.errors import DataError

Result = TypeVar("Result")

DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    SystemError,
    tokenize.TokenError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
    pickle.UnpicklingError,
)
"""What NumPy, gzip, tarfile and pickle raise for files that are cut off, overwritten or of another kind."""


@dataclass(frozen=True)
class LabelledArrays:
    """The two published parts of an array data set.

    Attributes:
        train_images: uint8, (N, H, W) or (N, H, W, 3), range 0 to 255.
        train_labels: int64, (N,), range 0 to 9.
        test_images: uint8, (M, H, W) or (M, H, W, 3), range 0 to 255.
        test_labels: int64, (M,), range 0 to 9.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def sha256(self) -> str:
        """Return 64 hexadecimal digits, equal when the four arrays are, in whatever format they were published."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(f"{array.shape}{array.dtype.str}".encode())
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()


def read_npz(path: Path) -> LabelledArrays:
    """Read a NumPy archive with the keys x_train, y_train, x_test, y_test.

    Raises:
        DataError: The file is damaged, of another kind or lacks a key.
    """

    def read() -> LabelledArrays:
        with path.open("rb") as stream:
            if not zipfile.is_zipfile(stream):  # of which NumPy says that it were a pickle that one may trust
                raise ValueError("it is no ZIP archive")
        with np.load(path, allow_pickle=False) as archive:
            missing = {"x_train", "y_train", "x_test", "y_test"} - set(archive.files)
            if missing:
                raise DataError(
                    f"'{path}' has no array {', '.join(sorted(missing))}; expected x_train, y_train, x_test, y_test."
                )
            return checked_arrays(
                str(path), archive["x_train"], archive["y_train"], archive["x_test"], archive["y_test"]
            )

    return _or_data_error(path, "a NumPy archive (.npz)", read)


CIFAR_BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
_IDX_STEMS = ("train-images", "train-labels", "t10k-images", "t10k-labels")


def is_complete(folder: Path) -> bool:
    """Return whether a folder holds all four idx files or all six batches, and not what a stopped download left."""
    has_all_idx_files = all(_find_idx_file(folder, stem) is not None for stem in _IDX_STEMS)
    return has_all_idx_files or all((folder / name).is_file() for name in CIFAR_BATCHES)


def has_idx_files(folder: Path) -> bool:
    """Return whether a folder holds the training images of MNIST or Fashion-MNIST as an idx file."""
    return _find_idx_file(folder, "train-images") is not None


def read_idx_folder(folder: Path) -> LabelledArrays:
    """Read the four idx files train-images, train-labels, t10k-images and t10k-labels of a folder.

    Raises:
        DataError: One of them is missing, cut off or of another kind.
    """
    return checked_arrays(str(folder), *(read_idx_file(folder, stem) for stem in _IDX_STEMS))


def read_idx_file(folder: Path, stem: str) -> np.ndarray:
    """Read one idx file: two zero bytes, type 8, number of axes, big-endian sizes, then the uint8 values.

    Args:
        folder: Where the file lies.
        stem: Start of its name, such as "train-images".

    Returns:
        uint8 array in the shape that the file states.

    Raises:
        DataError: The file is missing, cut off or of another kind.
    """
    path = _find_idx_file(folder, stem)
    if path is None:
        raise DataError(
            f"'{folder}' has no file '{stem}-idx*-ubyte' or '{stem}-idx*-ubyte.gz'. Expected four of them: "
            "train-images, train-labels, t10k-images and t10k-labels."
        )

    def read() -> np.ndarray:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        zeros, value_type, num_axes = struct.unpack(">HBB", content[:4])
        if zeros != 0 or value_type != 8 or not 1 <= num_axes <= 3:
            raise ValueError("its header is not that of an idx file of bytes")
        shape = struct.unpack(f">{num_axes}I", content[4 : 4 + 4 * num_axes])
        return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_axes).reshape(shape)

    return _or_data_error(path, "an idx file of bytes", read)


def has_cifar_batches(folder: Path) -> bool:
    """Return whether a folder holds the Python batches of CIFAR-10."""
    return (folder / "data_batch_1").is_file()


def read_cifar_folder(folder: Path) -> LabelledArrays:
    """Read the six Python batches of CIFAR-10 from a folder.

    Raises:
        DataError: A batch is missing or damaged.
    """

    def open_batch(name: str) -> IO[bytes]:
        return (folder / name).open("rb")

    return _or_data_error(folder, "the Python batches of CIFAR-10", lambda: _read_batches(str(folder), open_batch))


def read_cifar_archive(path: Path) -> LabelledArrays:
    """Read the six Python batches of CIFAR-10 from `cifar-10-python.tar.gz`, without unpacking it to disk.

    Raises:
        DataError: The archive is damaged, of another kind or lacks a batch.
    """

    def read() -> LabelledArrays:
        with tarfile.open(path) as archive:
            batches = {}
            for member in archive:  # in file order, so that the compressed stream is read once
                stream = archive.extractfile(member) if Path(member.name).name in CIFAR_BATCHES else None
                if stream is not None:
                    batches[Path(member.name).name] = stream.read()
        missing = [name for name in CIFAR_BATCHES if name not in batches]
        if missing:
            raise DataError(f"'{path}' lacks {', '.join(missing)}; expected the six batches of cifar-10-python.tar.gz.")
        return _read_batches(str(path), lambda name: io.BytesIO(batches[name]))

    return _or_data_error(path, "an archive of the Python batches of CIFAR-10 (cifar-10-python.tar.gz)", read)


def checked_arrays(
    origin: str, train_images: np.ndarray, train_labels: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray
) -> LabelledArrays:
    """Check shapes and types of the four arrays of a data set.

    Args:
        origin: Where they come from, for the message.
        train_images: uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3).
        train_labels: Whole numbers, N in all, of shape (N,) or (N, 1).
        test_images: As `train_images`.
        test_labels: As `train_labels`.

    Raises:
        DataError: Images are not uint8 of a shape that is understood, labels do not match them, or are not 0 to 9.
    """
    arrays = LabelledArrays(
        *_checked_part(f"training part of '{origin}'", train_images, train_labels),
        *_checked_part(f"test part of '{origin}'", test_images, test_labels),
    )
    shapes = arrays.train_images.shape[1:], arrays.test_images.shape[1:]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"The images of '{origin}' are {shapes[0]} in the training and {shapes[1]} in the test part; expected one "
            "shape."
        )
    return arrays


def _checked_part(part: str, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))):
        raise DataError(
            f"The images of the {part} are {images.dtype} of shape {images.shape}; expected uint8 of shape "
            "(N, height, width) or (N, height, width, 3)."
        )
    if labels.size != len(images) or labels.dtype.kind not in "iu" or not len(images):
        raise DataError(
            f"The {part} has {len(images)} images and {labels.size} labels of type {labels.dtype}; expected one whole "
            "number for each image."
        )
    labels = labels.reshape(-1).astype(np.int64)
    if labels.min() < 0 or labels.max() > 9:
        raise DataError(f"The labels of the {part} go from {labels.min()} to {labels.max()}; expected 0 to 9.")
    return images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images, labels


class _ArraysOnlyUnpickler(pickle.Unpickler):
    """Refuses everything in a pickle that is not a NumPy array, so that a foreign file cannot run code."""

    ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of a batch of images")
        if name == "_reconstruct":
            return np.ndarray.__reduce__(np.empty(0))[0]  # lies in numpy.core or numpy._core, depending on the version
        return super().find_class(module, name)


def _read_batches(origin: str, open_batch: Callable[[str], IO[bytes]]) -> LabelledArrays:
    images, labels = [], []
    for name in CIFAR_BATCHES:
        with open_batch(name) as stream:
            batch = _ArraysOnlyUnpickler(stream, encoding="bytes").load()
        planes = np.asarray(batch[b"data"])
        if planes.dtype != np.uint8 or planes.shape[1:] != (3072,):
            raise DataError(
                f"The images of '{name}' in '{origin}' are {planes.dtype} of shape {planes.shape}; expected uint8 of "
                "shape (N, 3072)."
            )
        # The red plane, then green, then blue, each row by row.
        images.append(np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)))
        labels.append(np.asarray(batch[b"labels"]))
    return checked_arrays(origin, np.concatenate(images[:5]), np.concatenate(labels[:5]), images[5], labels[5])


def _find_idx_file(folder: Path, stem: str) -> Path | None:
    # "train-images-idx3-ubyte" as published, "train-images.idx3-ubyte" as some mirrors have it
    candidates = sorted(folder.glob(f"{stem}[-.]idx*-ubyte")) + sorted(folder.glob(f"{stem}[-.]idx*-ubyte.gz"))
    return candidates[0] if candidates else None


def _or_data_error(path: Path, expected: str, read: Callable[[], Result]) -> Result:
    try:
        return read()
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"'{path}' cannot be read as {expected}: {reason}. Is the file complete? Fetch it again if not."
        ) from error
