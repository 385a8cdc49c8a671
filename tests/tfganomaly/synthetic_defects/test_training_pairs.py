import numpy as np
import pytest

pytest.importorskip("scipy", reason="the train extra is not installed")

from edge_runtime.preprocessing import NORMALISED_SPREAD, fit_contrast, scale_pixels
from tfganomaly.synthetic_defects.painter import TRAINING_KINDS, DefectKind, DefectPainter
from tfganomaly.synthetic_defects.training_pairs import (
    DAMAGED_WINDOW,
    GOOD_WINDOW,
    UNCERTAIN_WINDOW,
    harmlessly_changed,
    label_windows,
    make_pair,
)

SIDE, STRIDE = 64, 8
WHOLE = (slice(0, SIDE), slice(0, SIDE))


@pytest.fixture
def pixels():
    rows = np.linspace(60, 200, SIDE)[:, np.newaxis, np.newaxis]
    noise = np.random.default_rng(0).normal(0, 12, (SIDE, SIDE, 1))
    return fit_contrast(np.clip(rows + noise, 0, 255).astype(np.uint8), WHOLE)


def small_part_on_plain_ground():
    """The part is as bright as it can be: there is no room to stretch the image to the usual spread."""
    image = np.random.default_rng(0).normal(90, 2, (SIDE, SIDE, 1))
    image[24:36, 24:36] = 230
    return fit_contrast(image.astype(np.uint8), WHOLE)


def faint():
    return fit_contrast(np.random.default_rng(0).normal(90, 2, (SIDE, SIDE, 1)).astype(np.uint8), WHOLE)


def test_an_unpainted_pair_is_the_same_image_twice_and_all_good(pixels):
    pair = make_pair(pixels, pixels, None, np.random.default_rng(0), window_stride_px=STRIDE)
    np.testing.assert_array_equal(pair.damaged, pair.clean)
    assert pair.damaged.shape == (SIDE, SIDE, 1)
    assert pair.windows.shape == (SIDE // STRIDE, SIDE // STRIDE)
    assert (pair.windows == GOOD_WINDOW).all()


def test_as_photographed_is_the_image_that_a_device_sees(pixels):
    for image in (pixels, small_part_on_plain_ground(), faint()):
        pair = make_pair(image, image, None, np.random.default_rng(0), window_stride_px=STRIDE, is_as_photographed=True)
        np.testing.assert_array_equal(pair.clean, scale_pixels(image))
        np.testing.assert_array_equal(pair.damaged, scale_pixels(image))


def test_a_painted_image_has_the_contrast_that_a_device_will_give_it(pixels):
    painter, rng = DefectPainter(TRAINING_KINDS), np.random.default_rng(0)
    for _ in range(10):
        pair = make_pair(pixels, pixels[::-1], painter, rng, window_stride_px=STRIDE)
        assert abs(pair.damaged.mean()) < 0.15  # clipping what lies outside moves both a little
        assert abs(pair.damaged.std() - NORMALISED_SPREAD) < 0.15
        assert max(np.abs(pair.damaged).max(), np.abs(pair.clean).max()) <= 1


def test_windows_with_a_plain_change_are_damaged_and_their_neighbours_uncertain():
    clean = np.zeros((SIDE, SIDE, 1), np.float32)
    damaged = clean.copy()
    damaged[24:32, 24:32] = 0.5
    windows = label_windows(clean, damaged, STRIDE)
    assert windows[3, 3] == DAMAGED_WINDOW
    assert windows[2, 2] == windows[4, 4] == UNCERTAIN_WINDOW
    around = np.ones((8, 8), bool)
    around[1:6, 1:6] = False  # the change is averaged over 3 x 3 pixels, so it reaches into the next windows
    assert (windows[around] == GOOD_WINDOW).all()


def test_a_change_that_the_grain_hides_is_uncertain():
    rough = np.random.default_rng(0).normal(0, 0.4, (SIDE, SIDE, 1)).astype(np.float32)
    damaged = rough.copy()
    damaged[24:32, 24:32] += 0.1
    assert label_windows(rough, damaged, STRIDE)[3, 3] == UNCERTAIN_WINDOW
    smooth = np.zeros_like(rough)
    assert label_windows(smooth, smooth + (damaged - rough), STRIDE)[3, 3] == DAMAGED_WINDOW


def test_an_image_without_contrast_stays_without():
    flat = fit_contrast(np.full((SIDE, SIDE, 1), 90, np.uint8), WHOLE)
    pair = make_pair(flat, flat, None, np.random.default_rng(0), window_stride_px=STRIDE, is_as_photographed=True)
    assert np.abs(pair.damaged).max() < 0.01


def test_a_small_defect_leaves_the_rest_of_an_image_that_was_clipped_as_it_was():
    image = small_part_on_plain_ground()
    original = scale_pixels(image)
    assert original.std() < 0.8 * NORMALISED_SPREAD
    painter, rng = DefectPainter({"pits": TRAINING_KINDS["pits"]}), np.random.default_rng(0)
    for _ in range(20):
        pair = make_pair(image, image, painter, rng, window_stride_px=STRIDE, most_defects=1, is_as_photographed=True)
        untouched = pair.damaged == pair.clean
        assert untouched.mean() > 0.8
        assert np.abs(pair.damaged - original)[untouched].max() < 0.1


@pytest.mark.parametrize("has_bright_part", [False, True])
def test_a_large_defect_is_stretched_as_a_device_stretches_it(has_bright_part):
    image = np.random.default_rng(0).normal(100, 4 if has_bright_part else 30, (SIDE, SIDE, 1))
    if has_bright_part:
        image[24:36, 40:52] = 200  # then it is the room that ends the stretching, and the defect takes some of it
    damaged = image.copy()
    damaged[:, : SIDE // 3] -= 60
    pixels, expected = (fit_contrast(np.clip(one, 0, 255).astype(np.uint8), WHOLE) for one in (image, damaged))
    gain = (scale_pixels(pixels).std() / (image.clip(0, 255).std() / 127.5)) / 127.5
    kinds = {"step": DefectKind((_left_third,), ((_step_of(-60 * gain), 1.0),))}
    rng, errors = np.random.default_rng(0), []
    for _ in range(10):  # six of ten cover fully
        pair = make_pair(
            pixels, pixels, DefectPainter(kinds), rng, window_stride_px=8, most_defects=1, is_as_photographed=True
        )
        errors.append(np.abs(pair.damaged - scale_pixels(expected)).mean())
    assert min(errors) < 0.02


def test_a_faint_image_is_not_stretched_and_does_not_vanish_beside_a_defect():
    image = faint()
    painter, rng = DefectPainter({"pits": TRAINING_KINDS["pits"]}), np.random.default_rng(0)
    for _ in range(20):
        pair = make_pair(image, image, painter, rng, window_stride_px=STRIDE, is_as_photographed=True)
        assert 0.5 < pair.clean.std() / scale_pixels(image).std() <= 1.0001


def test_the_place_of_the_picture_moves_with_it():
    image = np.full((SIDE, SIDE, 1), -0.6, np.float32)
    image[20:44] = 0.6
    rng, starts = np.random.default_rng(0), set()
    for _ in range(30):
        changed, (rows, columns) = harmlessly_changed(image, rng, (slice(20, 44), slice(0, SIDE)))
        shown = changed.mean(axis=(1, 2)) > 0
        np.testing.assert_array_equal(np.flatnonzero(shown), np.arange(rows.start, rows.stop))
        assert columns == slice(0, SIDE)
        starts.add(rows.start)
    assert len(starts) > 2


def _left_third(rng, side_px):
    alpha = np.zeros((side_px, side_px), np.float32)
    alpha[:, : side_px // 3] = 1
    return alpha


def _step_of(height):
    return lambda rng, image, other, alpha: image + np.float32(height)
