"""A tiny encoder-decoder-encoder whose batch normalizations have seen something, so that folding is tested."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tfganomaly.quiet_tensorflow import import_quietly

if TYPE_CHECKING:
    import keras

IMAGE_SIZE = 32


def _randomise(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives kernels and batch-norm statistics values of the size that training gives them."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.name in ("gamma", "moving_variance"):
            values = rng.uniform(0.5, 2.0, variable.shape)
        elif variable.name == "kernel":
            values = rng.normal(0, 1.2 / np.sqrt(np.prod(variable.shape[:-1])), variable.shape)
        else:
            values = rng.normal(0, 0.3, variable.shape)
        variable.assign(values)
    return model


def _ganomaly(image_size: int = IMAGE_SIZE, width: int = 4, latent_size: int = 6, channels: int = 1) -> keras.Model:
    """GANomaly's own graph: fully convolutional, so that on images larger than 32 the latent is a map."""
    import keras
    from keras import layers

    def normalised(tensor: keras.KerasTensor, activation: str) -> keras.KerasTensor:
        tensor = layers.BatchNormalization(epsilon=1e-5)(tensor)
        return layers.LeakyReLU(negative_slope=0.2)(tensor) if activation == "leaky" else layers.ReLU()(tensor)

    def encode(tensor: keras.KerasTensor) -> keras.KerasTensor:
        tensor = layers.LeakyReLU(negative_slope=0.2)(layers.Conv2D(width, 4, 2, "same", use_bias=False)(tensor))
        for filters in (2 * width, 4 * width):
            tensor = normalised(layers.Conv2D(filters, 4, 2, "same", use_bias=False)(tensor), "leaky")
        return layers.Conv2D(latent_size, 4, 1, "valid", use_bias=False)(tensor)

    def decode(tensor: keras.KerasTensor) -> keras.KerasTensor:
        tensor = normalised(layers.Conv2DTranspose(4 * width, 4, 1, "valid", use_bias=False)(tensor), "relu")
        for filters in (2 * width, width):
            tensor = normalised(layers.Conv2DTranspose(filters, 4, 2, "same", use_bias=False)(tensor), "relu")
        tensor = layers.Conv2DTranspose(channels, 4, 2, "same", use_bias=False)(tensor)
        return layers.Activation("tanh")(tensor)

    image = keras.Input((image_size, image_size, channels), name="image")
    latent = encode(image)
    reconstruction = decode(latent)
    return _randomise(keras.Model(image, [latent, encode(reconstruction), reconstruction], name="tiny"))


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    import_quietly()


@pytest.fixture(scope="session")
def build_ganomaly() -> Callable[..., keras.Model]:
    """Makes a tiny randomised GANomaly graph; takes image_size, width, latent_size, channels."""
    return _ganomaly


@pytest.fixture(scope="session")
def randomise() -> Callable[..., keras.Model]:
    """Gives any model weights and batch-norm statistics as if trained."""
    return _randomise


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """uint8 (40, 32, 32, 1): soft discs in noise."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE]
    centres = rng.uniform(10, 22, (40, 2, 1, 1))
    discs = np.exp(-((rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2) / 60)
    return np.clip(200 * discs + rng.normal(30, 8, discs.shape), 0, 255).astype(np.uint8)[..., np.newaxis]


@pytest.fixture(scope="session")
def labelled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MVTec layout: 40 good discs to train on, a test part of 10 good ones and 6 with a bright bar."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(2)
    rows, columns = np.mgrid[:40, :40]
    for part, count in (("train/good", 40), ("test/good", 10), ("test/bar", 6)):
        (folder / part).mkdir(parents=True)
        for index in range(count):
            centre = rng.uniform(16, 24, 2)
            disc = 170 * np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / 120)
            picture = disc + rng.normal(30, 6, disc.shape)
            if part == "test/bar":
                picture[index * 4 + 5 : index * 4 + 10] = 250
            Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / part / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="session")
def run(labelled_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GANomaly trained for two epochs on `labelled_folder`."""
    from tfganomaly.training.trainer import train

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    options = {
        "image_size": 32,
        "generator_width": 4,
        "discriminator_width": 4,
        "latent_size": 6,
        "epochs": 2,
        "batch_size": 8,
        "validation_fraction": 0.25,
        "xla": False,  # compiling takes longer than these few steps
    }
    train(str(labelled_folder), folder, "paper", options)
    return folder
