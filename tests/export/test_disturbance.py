from __future__ import annotations

import tracemalloc

import numpy as np

from edge_runtime.preprocessing import scale_pixels, unscale_pixels
from export.disturbance import Purpose, disturb_images, with_disturbed, with_disturbed_pixels


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
    both = with_disturbed(images, 0, Purpose.RANGES)
    np.testing.assert_array_equal(images, copy)
    np.testing.assert_array_equal(both[: len(images)], images)


def test_the_same_seed_disturbs_in_the_same_way(pixels: np.ndarray) -> None:
    images = scale_pixels(pixels)
    np.testing.assert_array_equal(with_disturbed(images, 5, Purpose.RANGES), with_disturbed(images, 5, Purpose.RANGES))
    assert (with_disturbed(images, 5, Purpose.RANGES) != with_disturbed(images, 6, Purpose.RANGES)).any()


def test_each_purpose_has_copies_of_its_own(pixels: np.ndarray) -> None:
    copies = {with_disturbed_pixels(pixels, seed, purpose).tobytes() for purpose in Purpose for seed in (0, 1, 2)}
    assert len(copies) == 3 * len(Purpose)


def test_pixels_are_disturbed_as_floats_are_to_the_bit(pixels: np.ndarray) -> None:
    colour = np.concatenate([pixels, pixels[::-1], 255 - pixels], axis=-1)
    for images in (pixels, colour[:, :20]):
        np.testing.assert_array_equal(
            with_disturbed_pixels(images, 3, Purpose.THRESHOLD),
            unscale_pixels(with_disturbed(scale_pixels(images), 3, Purpose.THRESHOLD)),
        )


def test_disturbing_pixels_holds_no_more_than_the_result_and_a_few_images() -> None:
    images = np.zeros((200, 32, 32, 3), np.uint8)
    tracemalloc.start()
    both = with_disturbed_pixels(images, 0, Purpose.COMPARISON)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1.5 * both.nbytes  # floats of all images were six times as much
