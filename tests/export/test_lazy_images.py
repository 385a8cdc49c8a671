from __future__ import annotations

import tracemalloc

import numpy as np

from edge_runtime.preprocessing import scale_pixels
from export.lazy_images import scaled


def test_pixels_are_scaled_when_they_are_read() -> None:
    pixels = np.arange(5 * 2 * 2, dtype=np.uint8).reshape(5, 2, 2, 1)
    images = scaled(pixels)
    assert len(images) == 5
    np.testing.assert_array_equal(images[1:4], scale_pixels(pixels[1:4]))
    np.testing.assert_array_equal(images[3:], scale_pixels(pixels[3:]))
    assert images[:].dtype == np.float32


def test_a_change_is_made_to_each_image() -> None:
    pixels = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    halved = scaled(pixels).changed(lambda image: image / 2)
    assert len(halved) == 2
    np.testing.assert_array_equal(halved[:].ravel(), [-0.5, 0.5])


def test_only_what_is_read_is_in_memory() -> None:
    images = scaled(np.zeros((200, 64, 64, 3), np.uint8))
    tracemalloc.start()
    for start in range(0, 200, 4):
        assert len(images[start : start + 4]) == 4
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20 * 64 * 64 * 3 * 4  # five batches; all images are 200
