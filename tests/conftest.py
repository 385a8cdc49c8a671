"""Fixtures that several areas share: where the real data is, and tiny images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def magnetic_tiles() -> Path:
    """The folder of magnetic tiles in MVTec layout, real images with masks."""
    return _existing(SHARED_DATA / "magnetic_tile_256")


@pytest.fixture(scope="session")
def mnist_file() -> Path:
    """The file of the real MNIST."""
    return _existing(SHARED_DATA / "mnist" / "mnist.npz")


@pytest.fixture(scope="session")
def fashion_mnist_folder() -> Path:
    """The folder in which Debian installs Fashion-MNIST."""
    return _existing(Path("/usr/share/datasets/fashion-mnist"))


@pytest.fixture(scope="session")
def good_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain folder of 40 small grey images that look alike: a soft bright disc with noise."""
    folder = tmp_path_factory.mktemp("good")
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:48, 0:48]
    for index in range(40):
        centre = random.uniform(20, 28, 2)
        disc = 180 * np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / 200)
        pixels = np.clip(disc + random.normal(30, 5, (48, 48)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"part_{index:03d}.png")
    return folder


def _existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"the real data is not on this machine ({path})")
    return path
