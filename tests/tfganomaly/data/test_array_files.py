import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfganomaly.data.array_files import (
    read_cifar_archive,
    read_cifar_folder,
    read_idx_file,
    read_idx_folder,
    read_npz,
)
from tfganomaly.errors import DataError

Arrays = dict[str, np.ndarray]


def expect_error(read: Callable[[], object], *parts: str) -> None:
    with pytest.raises(DataError) as error:
        read()
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_npz_is_read(tmp_path: Path, digits: Arrays):
    np.savez(tmp_path / "mnist.npz", **digits)
    arrays = read_npz(tmp_path / "mnist.npz")
    np.testing.assert_array_equal(arrays.train_images, digits["x_train"])
    np.testing.assert_array_equal(arrays.test_labels, digits["y_test"])


def test_npz_may_have_a_channel_axis_and_a_label_axis(tmp_path: Path, digits: Arrays):
    digits["x_train"] = digits["x_train"][..., np.newaxis]
    digits["y_train"] = digits["y_train"][:, np.newaxis]
    np.savez(tmp_path / "mnist.npz", **digits)
    arrays = read_npz(tmp_path / "mnist.npz")
    assert arrays.train_images.shape == (100, 28, 28)
    assert arrays.train_labels.shape == (100,)


def test_npz_without_an_array_is_a_clear_error(tmp_path: Path, digits: Arrays):
    del digits["y_test"]
    np.savez(tmp_path / "mnist.npz", **digits)
    expect_error(lambda: read_npz(tmp_path / "mnist.npz"), "has no array y_test", "expected x_train")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_file_that_is_no_npz_is_a_clear_error(tmp_path: Path, content: bytes):
    (tmp_path / "mnist.npz").write_bytes(content)
    expect_error(lambda: read_npz(tmp_path / "mnist.npz"), "(.npz): it is no ZIP archive. Is the file complete?")


def test_truncated_npz_is_a_clear_error(tmp_path: Path, digits: Arrays):
    path = tmp_path / "mnist.npz"
    np.savez(path, **digits)
    path.write_bytes(path.read_bytes()[:5000])
    expect_error(lambda: read_npz(path), "cannot be read as a NumPy archive")


def test_npz_with_a_pickle_inside_is_refused(tmp_path: Path, digits: Arrays):
    np.savez(tmp_path / "mnist.npz", **{**digits, "y_train": np.array([{}] * 100, dtype=object)})
    expect_error(lambda: read_npz(tmp_path / "mnist.npz"), "cannot be read as a NumPy archive")


@pytest.mark.parametrize(
    ("key", "array", "part"),
    [
        ("x_train", np.zeros((100, 28, 28), np.float32), "training part of .* are float32"),
        ("x_train", np.zeros((100, 784), np.uint8), r"shape \(100, 784\); expected uint8"),
        ("x_test", np.zeros((50, 14, 14), np.uint8), r"\(28, 28\) in the training and \(14, 14\) in the test part"),
        ("y_train", np.zeros(99, np.uint8), "has 100 images and 99 labels"),
        ("y_train", np.zeros(100, np.float32), "labels of type float32"),
        ("y_test", np.full(50, 10), "labels of the test part of .* go from 10 to 10; expected 0 to 9"),
    ],
)
def test_arrays_of_a_wrong_form_are_clear_errors(
    tmp_path: Path, digits: Arrays, key: str, array: np.ndarray, part: str
):
    np.savez(tmp_path / "mnist.npz", **{**digits, key: array})
    with pytest.raises(DataError, match=part):
        read_npz(tmp_path / "mnist.npz")


def test_idx_folder_is_read(idx_folder: Path, digits: Arrays):
    arrays = read_idx_folder(idx_folder)
    np.testing.assert_array_equal(arrays.train_images, digits["x_train"])
    np.testing.assert_array_equal(arrays.train_labels, digits["y_train"])
    np.testing.assert_array_equal(arrays.test_images, digits["x_test"])


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images.idx3-ubyte"])
def test_idx_files_may_be_unpacked(tmp_path: Path, digits: Arrays, write_idx: Callable[..., None], name: str):
    write_idx(tmp_path / name, digits["x_train"])
    np.testing.assert_array_equal(read_idx_file(tmp_path, "train-images"), digits["x_train"])


def test_missing_idx_file_is_named(idx_folder: Path):
    (idx_folder / "t10k-labels-idx1-ubyte.gz").unlink()
    expect_error(lambda: read_idx_folder(idx_folder), "has no file 't10k-labels-idx", "four of them")


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b\x08 cut", b"\x00\x00\x08\x03\x00\x00", b"\x00\x00\x0d\x01" + b"\0" * 9]
)
def test_damaged_idx_file_is_a_clear_error(idx_folder: Path, content: bytes):
    (idx_folder / "train-images-idx3-ubyte.gz").write_bytes(content)
    expect_error(lambda: read_idx_folder(idx_folder), "train-images-idx3-ubyte.gz' cannot be read as an idx file")


def test_truncated_idx_file_is_a_clear_error(idx_folder: Path):
    path = idx_folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])
    expect_error(lambda: read_idx_folder(idx_folder), "cannot be read as an idx file")


def test_cifar_archive_is_read_with_channels_last(cifar_archive: Path):
    arrays = read_cifar_archive(cifar_archive)
    assert arrays.train_images.shape == (50, 32, 32, 3)
    assert arrays.test_images.shape == (10, 32, 32, 3)
    np.testing.assert_array_equal(arrays.train_images[7, 3, 5], [10, 20, 30])
    np.testing.assert_array_equal(arrays.test_labels, np.arange(10))


def test_cifar_folder_equals_the_archive(tmp_path: Path, cifar_archive: Path, cifar_batches: dict[str, bytes]):
    for name, content in cifar_batches.items():
        (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(
        read_cifar_folder(tmp_path).train_images, read_cifar_archive(cifar_archive).train_images
    )


def test_missing_cifar_batch_is_named(tmp_path: Path, cifar_batches: dict[str, bytes]):
    (tmp_path / "data_batch_1").write_bytes(cifar_batches["data_batch_1"])
    expect_error(lambda: read_cifar_folder(tmp_path), "cannot be read as the Python batches", "data_batch_2")


def test_truncated_cifar_archive_is_a_clear_error(cifar_archive: Path):
    content = cifar_archive.read_bytes()
    cifar_archive.write_bytes(content[: len(content) // 2])
    expect_error(lambda: read_cifar_archive(cifar_archive), "cannot be read as an archive of the Python batches")


@pytest.mark.parametrize(
    ("key", "array", "part"),
    [
        (
            b"data",
            np.full((10, 3072), 0.5),
            r"'data_batch_1' in '.*' are float64 of shape \(10, 3072\); expected uint8",
        ),
        (b"data", np.zeros((10, 1024), np.uint8), r"are uint8 of shape \(10, 1024\); expected uint8"),
        (b"labels", np.arange(10) / 10, "labels of type float64"),
    ],
)
def test_cifar_batches_of_a_wrong_type_are_clear_errors(
    tmp_path: Path, cifar_batches: dict[str, bytes], key: bytes, array: np.ndarray, part: str
):
    for name, content in cifar_batches.items():
        batch = pickle.loads(content, encoding="bytes")
        (tmp_path / name).write_bytes(pickle.dumps({**batch, key: array}, protocol=2))
    with pytest.raises(DataError, match=part):
        read_cifar_folder(tmp_path)


def test_the_digest_is_that_of_the_arrays_and_not_of_their_format(tmp_path: Path, idx_folder: Path, digits: Arrays):
    np.savez(tmp_path / "same.npz", **{**digits, "y_test": digits["y_test"].astype(np.int32)})
    digits["y_test"][3] += 1
    np.savez(tmp_path / "other.npz", **digits)
    expected = read_idx_folder(idx_folder).sha256()
    assert read_npz(tmp_path / "same.npz").sha256() == expected
    assert read_npz(tmp_path / "other.npz").sha256() != expected


class Attack:
    """Would write a file when unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.path,))


def test_cifar_batch_cannot_run_code(tmp_path: Path, cifar_batches: dict[str, bytes]):
    for name in cifar_batches:
        (tmp_path / name).write_bytes(pickle.dumps({b"data": Attack(tmp_path / "touched")}, protocol=2))
    expect_error(lambda: read_cifar_folder(tmp_path), "which is no part of a batch of images")
    assert not (tmp_path / "touched").exists()


def test_cifar_batches_without_labels_are_a_clear_error(tmp_path: Path, cifar_batches: dict[str, bytes]):
    for name in cifar_batches:
        (tmp_path / name).write_bytes(pickle.dumps({b"data": np.zeros((1, 3072), np.uint8)}, protocol=2))
    expect_error(lambda: read_cifar_folder(tmp_path), "cannot be read as the Python batches of CIFAR-10")
