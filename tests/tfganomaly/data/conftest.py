"""Small data sets made on the spot."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def no_keras_cache_of_this_machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point Keras's folder to an empty one, so that results do not depend on who runs the tests."""
    home = tmp_path_factory.mktemp("keras_home")
    monkeypatch.setenv("KERAS_HOME", str(home))
    return home


@pytest.fixture
def write_images() -> Callable[..., list[Path]]:
    """Return a function that writes numbered grey PNG files with a different content each."""

    def write(
        folder: Path, count: int, *, size: tuple[int, int] = (8, 8), suffix: str = ".png", first: int = 0
    ) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.RandomState(sum(f"{folder.parent.name}{folder.name}".encode()) + first)
        paths = []
        for number in range(first, first + count):
            path = folder / f"part{number}{suffix}"
            Image.fromarray(random.randint(0, 255, size[::-1], dtype=np.uint8)).save(path)
            paths.append(path)
        return paths

    return write


@pytest.fixture
def write_masks() -> Callable[..., None]:
    """Return a function that writes a mask for each given image file."""

    def write(folder: Path, images: list[Path], *, size: tuple[int, int] = (8, 8), ending: str = "_mask.png") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for image in images:
            Image.fromarray(np.full(size[::-1], 255, np.uint8)).save(folder / f"{image.stem}{ending}")

    return write


@pytest.fixture
def layout_folder(tmp_path: Path, write_images: Callable[..., list[Path]], write_masks: Callable[..., None]) -> Path:
    """Return a folder in MVTec layout: 20 good to train, test with 5 good, 4 cracks with masks and 3 dents without."""
    folder = tmp_path / "brackets"
    write_images(folder / "train" / "good", 20)
    write_images(folder / "test" / "good", 5)
    cracks = write_images(folder / "test" / "crack", 4)
    write_images(folder / "test" / "dent", 3)
    write_masks(folder / "ground_truth" / "crack", cracks)
    return folder


@pytest.fixture
def digits() -> dict[str, np.ndarray]:
    """Return arrays in the form of MNIST: 100 training and 50 test images, ten and five of each class."""
    random = np.random.RandomState(0)
    return {
        "x_train": random.randint(0, 255, (100, 28, 28), dtype=np.uint8),
        "y_train": (np.arange(100) % 10).astype(np.uint8),
        "x_test": random.randint(0, 255, (50, 28, 28), dtype=np.uint8),
        "y_test": (np.arange(50) % 10).astype(np.uint8),
    }


@pytest.fixture
def write_idx() -> Callable[..., None]:
    """Return a function that writes an array as an idx file, compressed when the name ends in .gz."""

    def write(path: Path, array: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    return write


@pytest.fixture
def idx_folder(tmp_path: Path, digits: dict[str, np.ndarray], write_idx: Callable[..., None]) -> Path:
    """Return a folder with the four compressed idx files of `digits`."""
    folder = tmp_path / "idx"
    write_idx(folder / "train-images-idx3-ubyte.gz", digits["x_train"])
    write_idx(folder / "train-labels-idx1-ubyte.gz", digits["y_train"])
    write_idx(folder / "t10k-images-idx3-ubyte.gz", digits["x_test"])
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", digits["y_test"])
    return folder


@pytest.fixture
def cifar_batches() -> dict[str, bytes]:
    """Return six small batches in CIFAR-10's format by name; the red plane holds 10, green 20, blue 30."""
    pixels = np.repeat(np.array([10, 20, 30], np.uint8), 1024)[np.newaxis].repeat(10, axis=0)
    batch = pickle.dumps({b"data": pixels, b"labels": list(range(10))}, protocol=2)
    return dict.fromkeys((*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"), batch)


@pytest.fixture
def cifar_archive(tmp_path: Path, cifar_batches: dict[str, bytes]) -> Path:
    """Return a `cifar-10-python.tar.gz` with the six batches and a file that is none."""
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"readme.html": b"<html>", **cifar_batches}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
