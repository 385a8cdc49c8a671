import numpy as np
import pytest

from tfganomaly.synthetic_defects import shapes

SIDE = 64


@pytest.mark.parametrize(
    "shape",
    [
        shapes.straight_line,
        shapes.jagged_line,
        shapes.wavy_line,
        shapes.dots,
        shapes.blob,
        shapes.patches,
        shapes.ring,
        shapes.cut_off_part,
        shapes.border_piece,
        shapes.soft_bump,
    ],
)
def test_a_shape_covers_between_nothing_and_all(shape):
    rng = np.random.default_rng(3)
    for _ in range(20):
        alpha = shape(rng, SIDE)
        assert alpha.shape == (SIDE, SIDE)
        assert alpha.dtype == np.float32
        assert alpha.min() >= 0
        assert alpha.max() <= 1


def test_a_part_cut_off_is_never_most_of_the_image():
    rng = np.random.default_rng(0)
    assert max(shapes.cut_off_part(rng, SIDE).mean() for _ in range(100)) <= 0.6


def test_a_dent_at_one_side_of_the_image_leaves_nothing_at_the_other(monkeypatch):
    hill = np.exp(-np.square((np.arange(SIDE) - SIDE + 1) / 15)).astype(np.float32) * np.ones((SIDE, 1), np.float32)
    monkeypatch.setattr(shapes, "soft_bump", lambda rng, side_px: hill)
    rng = np.random.default_rng(0)
    dents = np.stack([shapes.dent(rng, SIDE) for _ in range(20)])
    assert np.abs(dents[:, :, : SIDE // 4]).max() < 0.01
    assert np.median(np.abs(dents[:, :, SIDE // 2 :]).max(axis=(1, 2))) == 1


def test_what_is_moved_leaves_on_one_side_and_goes_on_from_the_edge_on_the_other():
    values = np.arange(9, dtype=np.float32).reshape(3, 3)
    np.testing.assert_array_equal(shapes.moved(values, 1, -2), [[2, 2, 2], [2, 2, 2], [5, 5, 5]])
    np.testing.assert_array_equal(shapes.moved(values[:, :, np.newaxis], 0, 0)[:, :, 0], values)
