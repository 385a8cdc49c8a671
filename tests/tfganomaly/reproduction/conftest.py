"""A small collection in the form of MNIST whose classes differ, and the options of a training of seconds."""

import numpy as np
import pytest

TINY = {
    "generator_width": 4,
    "discriminator_width": 4,
    "latent_size": 8,
    "batch_size": 32,
    "epochs": 2,
    "xla": False,
}


@pytest.fixture(scope="session")
def tiny_mnist(tmp_path_factory):
    """400 + 100 noisy images; of class k a bright square stands in row and column k."""
    random = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 400), ("test", 100)):
        labels = np.arange(count) % 10
        images = random.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 8, 2 * label : 2 * label + 8] = 220
        arrays |= {f"x_{part}": images, f"y_{part}": labels.astype(np.uint8)}
    path = tmp_path_factory.mktemp("collection") / "mnist.npz"
    np.savez(path, **arrays)
    return path
