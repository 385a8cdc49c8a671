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


def test_images_come_first_and_stay_as_they_are(pixels: np.ndarray) -> None:
    copy = pixels.copy()
    both = with_disturbed(pixels, 0, Purpose.RANGES)
    assert len(both) == 2 * len(pixels)
    np.testing.assert_array_equal(both[: len(pixels)], scale_pixels(pixels))
    np.testing.assert_array_equal(pixels, copy)


def test_copies_are_those_that_disturbing_all_at_once_makes(pixels: np.ndarray) -> None:
    rng = np.random.default_rng((5, Purpose.AGREEMENT))
    copies = with_disturbed(pixels, 5, Purpose.AGREEMENT)[len(pixels) :]
    np.testing.assert_array_equal(copies, disturb_images(scale_pixels(pixels), rng))


def test_a_copy_is_the_same_each_time_and_in_any_order(pixels: np.ndarray) -> None:
    both = with_disturbed(pixels, 5, Purpose.RANGES)
    whole, last = both[:], both[-3:]
    np.testing.assert_array_equal(last, whole[-3:])
    np.testing.assert_array_equal(with_disturbed(pixels, 5, Purpose.RANGES)[:], whole)
    assert (with_disturbed(pixels, 6, Purpose.RANGES)[:] != whole).any()


def test_each_purpose_has_copies_of_its_own(pixels: np.ndarray) -> None:
    copies = {with_disturbed_pixels(pixels, seed, purpose).tobytes() for purpose in Purpose for seed in (0, 1, 2)}
    assert len(copies) == 3 * len(Purpose)


def test_disturbed_pixels_are_the_floats_rounded(pixels: np.ndarray) -> None:
    colour = np.concatenate([pixels, pixels[::-1], 255 - pixels], axis=-1)
    for images in (pixels, colour[:, :20]):
        np.testing.assert_array_equal(
            with_disturbed_pixels(images, 3, Purpose.THRESHOLD),
            unscale_pixels(with_disturbed(images, 3, Purpose.THRESHOLD)[:]),
        )


def test_disturbing_pixels_holds_no_more_than_the_result_and_a_few_images() -> None:
    images = np.zeros((200, 32, 32, 3), np.uint8)
    tracemalloc.start()
    both = with_disturbed_pixels(images, 0, Purpose.COMPARISON)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1.5 * both.nbytes  # floats of all images were six times as much
