import numpy as np
import pytest

pytest.importorskip("scipy", reason="the train extra is not installed")

from tfganomaly.synthetic_defects import fills

SIDE = 64


def test_a_coloured_surface_keeps_its_hue_under_another_contrast():
    surface = np.broadcast_to(np.float32([0.6, 0.0, -0.6]), (SIDE, SIDE, 3))
    alpha = np.ones((SIDE, SIDE), np.float32)
    for seed in range(10):
        change = fills.contrast_change(np.random.default_rng(seed), surface, surface, alpha) - surface
        np.testing.assert_allclose(change, np.broadcast_to(change[:1, :1, :1], change.shape), atol=1e-4)


def test_a_flat_tone_takes_nothing_of_the_hue_that_it_covers():
    surface = np.broadcast_to(np.float32([0.6, 0.0, -0.6]), (SIDE, SIDE, 3))
    alpha = np.ones((SIDE, SIDE), np.float32)
    for seed in range(10):
        on_colour, on_grey = (
            fills.flat_tone(np.random.default_rng(seed), image, image, alpha) for image in (surface, 0 * surface)
        )
        np.testing.assert_allclose(on_colour, on_grey, atol=1e-4)
