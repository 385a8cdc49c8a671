from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.artefact import write_artefact
from edge_runtime.quantization import TensorDetails
from tests.edge_runtime.tiny_model import LATENT_SIZE, tiny_flatbuffer, tiny_metadata

cached_flatbuffer = cache(tiny_flatbuffer)


@pytest.fixture
def make_artefact(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a tiny artefact and returns its path."""

    def make(
        size: int = 32, channels: int = 1, *, quantized: bool = True, name: str = "tiny.tflite", **metadata: object
    ) -> Path:
        path = tmp_path / name
        flatbuffer = cached_flatbuffer(size, channels, quantized=quantized)
        write_artefact(path, flatbuffer, tiny_metadata(size, channels, quantized=quantized, **metadata))
        return path

    return make


@pytest.fixture
def artefact_path(make_artefact: Callable[..., Path]) -> Path:
    return make_artefact()


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """A folder of twelve grey images of 40 x 30 pixels, smooth with a little noise."""
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(1)
    for index in range(12):
        slope = np.linspace(60, 180, 40)[np.newaxis] + random.normal(0, 4 + index, (30, 40))
        Image.fromarray(np.clip(slope, 0, 255).astype(np.uint8)).save(folder / f"part{index}.png")
    return folder


class FakeBackend:
    """Gives fixed outputs for the input size of the tiny artefact and remembers what it was given."""

    name = "fake"

    def __init__(self, size: int = 32, channels: int = 1, latent_value: float = 0.0) -> None:
        latent_shape = (1, 1, 1, LATENT_SIZE)
        image_shape = (1, size, size, channels)
        self.input_details = TensorDetails("image", image_shape, "float32")
        self.output_details = tuple(
            TensorDetails(name, shape, "float32")
            for name, shape in (
                ("latent", latent_shape),
                ("reconstructed_latent", latent_shape),
                ("reconstruction", image_shape),
            )
        )
        self.latent_value = latent_value
        self.pixels: list[np.ndarray] = []

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        self.pixels.append(pixels.copy())
        latent = np.full(self.output_details[0].shape, self.latent_value, np.float32)
        return [latent, np.zeros_like(latent), np.zeros((1, *pixels.shape), np.float32)]

    def run_and_lend(self, pixels: np.ndarray, wanted: Sequence[int]) -> list[np.ndarray]:
        outputs = self.run(pixels)
        return [outputs[position] for position in wanted]


@pytest.fixture
def fake_backend() -> FakeBackend:
    return FakeBackend()
