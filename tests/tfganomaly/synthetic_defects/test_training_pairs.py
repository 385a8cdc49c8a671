import numpy as np
import pytest

pytest.importorskip("scipy", reason="the train extra is not installed")

from edge_runtime.preprocessing import NORMALISED_SPREAD, normalise_contrast
from tfganomaly.synthetic_defects.painter import TRAINING_KINDS, DefectPainter
from tfganomaly.synthetic_defects.training_pairs import (
    DAMAGED_WINDOW,
    GOOD_WINDOW,
    UNCERTAIN_WINDOW,
    label_windows,
    make_pair,
)

SIDE, STRIDE = 64, 8


@pytest.fixture
def pixels():
    rows = np.linspace(60, 200, SIDE)[:, np.newaxis, np.newaxis]
    noise = np.random.default_rng(0).normal(0, 12, (SIDE, SIDE, 1))
    return normalise_contrast(np.clip(rows + noise, 0, 255).astype(np.uint8))


def test_an_unpainted_pair_is_the_same_image_twice_and_all_good(pixels):
    pair = make_pair(pixels, pixels, None, np.random.default_rng(0), window_stride_px=STRIDE)
    np.testing.assert_array_equal(pair.damaged, pair.clean)
    assert pair.damaged.shape == (SIDE, SIDE, 1)
    assert pair.windows.shape == (SIDE // STRIDE, SIDE // STRIDE)
    assert (pair.windows == GOOD_WINDOW).all()


def test_as_photographed_is_the_image_that_a_device_sees(pixels):
    pair = make_pair(pixels, pixels, None, np.random.default_rng(0), window_stride_px=STRIDE, is_as_photographed=True)
    np.testing.assert_allclose(pair.clean, pixels / 127.5 - 1, atol=0.03)


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
    flat = normalise_contrast(np.full((SIDE, SIDE, 1), 90, np.uint8))
    pair = make_pair(flat, flat, None, np.random.default_rng(0), window_stride_px=STRIDE, is_as_photographed=True)
    assert np.abs(pair.damaged).max() < 0.01
