from __future__ import annotations

import numpy as np

from edge_runtime.preprocessing import scale_pixels
from export.disturbance import disturb_images, with_disturbed


def test_each_image_is_changed_locally_and_stays_in_range(pixels: np.ndarray) -> None:
    images = scale_pixels(pixels)
    disturbed = disturb_images(images, np.random.default_rng(0))
    changed = (disturbed != images).reshape(len(images), -1).mean(axis=1)
    assert (changed > 0).mean() > 0.9  # an ellipse can fall outside the picture
    assert changed.mean() < 0.8
    assert np.abs(disturbed).max() <= 1.0
    assert disturbed.dtype == np.float32


def test_the_originals_are_not_touched(pixels: np.ndarray) -> None:
    images = scale_pixels(pixels)
    copy = images.copy()
    both = with_disturbed(images, seed=0)
    np.testing.assert_array_equal(images, copy)
    np.testing.assert_array_equal(both[: len(images)], images)


def test_the_same_seed_disturbs_in_the_same_way(pixels: np.ndarray) -> None:
    images = scale_pixels(pixels)
    np.testing.assert_array_equal(with_disturbed(images, 5), with_disturbed(images, 5))
    assert (with_disturbed(images, 5) != with_disturbed(images, 6)).any()
