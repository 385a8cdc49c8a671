import numpy as np
import pytest

pytest.importorskip("scipy", reason="the train extra is not installed")

from tfganomaly.synthetic_defects import fills, shapes
from tfganomaly.synthetic_defects.painter import (
    SELECTION_KINDS,
    TRAINING_KINDS,
    USUAL_SHARES,
    DefectKind,
    DefectPainter,
)

SIDE = 64
ALL_KINDS = {**TRAINING_KINDS, **SELECTION_KINDS}


def good_image(seed=0, channels=1):
    return np.random.default_rng(seed).normal(0, 0.1, (SIDE, SIDE, channels)).astype(np.float32)


@pytest.mark.parametrize("name", ALL_KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_kind_changes_a_part_of_the_image_and_leaves_the_rest_as_it_was(name, channels):
    painter, rng = DefectPainter(ALL_KINDS), np.random.default_rng(1)
    image, other = good_image(0, channels), good_image(1, channels)
    before = image.copy()
    shares = []
    for _ in range(20):
        painted = painter.paint(image, other, rng, name)
        assert painted.shape == image.shape
        assert painted.dtype == np.float32
        assert np.isfinite(painted).all()
        shares.append((painted != image).any(axis=2).mean())
    np.testing.assert_array_equal(image, before)
    assert max(shares) > 0.001
    smooth = name in ("shading", "twist")  # a hill has no edge; it fades out
    assert smooth or np.median(shares) < 0.6


def test_the_same_generator_paints_the_same():
    painter = DefectPainter(TRAINING_KINDS, USUAL_SHARES)
    first, again = (
        painter.paint_several(good_image(), good_image(1), np.random.default_rng(7), most=4) for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)


def test_strength_reaches_from_barely_visible_to_plain():
    painter, rng = (
        DefectPainter({"spot": DefectKind((shapes.blob,), ((fills.tone_step, 1.0),))}),
        np.random.default_rng(0),
    )
    image = good_image()
    strongest = [float(np.abs(painter.paint(image, image, rng) - image).max()) for _ in range(200)]
    assert min(strongest) < 0.2
    assert max(strongest) > 1.0


def test_a_kind_is_drawn_as_often_as_its_share_says():
    kinds = {
        "bright": DefectKind((shapes.blob,), ((lambda rng, image, other, alpha: image + 1, 1.0),)),
        "dark": DefectKind((shapes.blob,), ((lambda rng, image, other, alpha: image - 1, 1.0),)),
    }
    painter, rng = DefectPainter(kinds, {"bright": 0.9, "dark": 0.1}), np.random.default_rng(0)
    image = good_image()
    num_bright = sum((painter.paint(image, image, rng) - image).sum() > 0 for _ in range(300))
    assert 240 <= num_bright <= 297


def test_the_epoch_is_chosen_by_kinds_that_training_never_paints():
    assert not TRAINING_KINDS.keys() & SELECTION_KINDS.keys()
    selection_fills = {fill for kind in SELECTION_KINDS.values() for fill, _ in kind.fills}
    training_fills = {fill for kind in TRAINING_KINDS.values() for fill, _ in kind.fills}
    assert {fills.twisted, fills.weave, fills.smeared} <= selection_fills - training_fills


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


STRIP = (slice(20, 44), slice(0, SIDE))
COLUMN = (slice(0, SIDE), slice(24, 40))


@pytest.mark.parametrize("part", [STRIP, COLUMN])
@pytest.mark.parametrize("name", ALL_KINDS)
def test_what_is_painted_lies_in_the_picture_and_not_in_the_border_around_it(name, part):
    painter, rng = DefectPainter(ALL_KINDS), np.random.default_rng(1)
    image, other = good_image(), good_image(1)
    border = np.ones((SIDE, SIDE), bool)
    border[part] = False
    visible, visible_in_a_square = [], []
    for _ in range(60):
        change = np.abs(painter.paint(image, other, rng, name, part) - image)
        assert not change[border].any()
        visible.append(change.max() > 0.02)
        visible_in_a_square.append(np.abs(painter.paint(image, other, rng, name) - image).max() > 0.02)
    assert np.mean(visible) >= np.mean(visible_in_a_square) - 0.1
    assert np.mean(visible) > 0.7


@pytest.mark.parametrize("part", [STRIP, COLUMN])
def test_a_broken_edge_lies_at_the_edge_of_the_picture(part):
    kinds = {"border": DefectKind((shapes.border_piece,), ((lambda rng, image, other, alpha: image + 1, 1.0),))}
    painter, rng = DefectPainter(kinds), np.random.default_rng(0)
    image = np.zeros((SIDE, SIDE, 1), np.float32)
    touches = []
    for _ in range(40):
        inside = painter.paint(image, image, rng, part=part)[part][:, :, 0] > 0
        touches.append(inside[[0, -1]].any() or inside[:, [0, -1]].any())
    assert all(touches)


def test_where_the_picture_fills_the_square_nothing_is_placed_otherwise():
    painter = DefectPainter(ALL_KINDS)
    everywhere = (slice(0, SIDE), slice(0, SIDE))
    for seed in range(20):
        painted, again = (
            painter.paint(good_image(), good_image(1), np.random.default_rng(seed), part=part)
            for part in (None, everywhere)
        )
        np.testing.assert_array_equal(painted, again)


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


def test_a_rim_does_not_appear_at_the_opposite_side_of_the_image():
    def at_the_right(rng, side_px):
        alpha = np.zeros((side_px, side_px), np.float32)
        alpha[:, -3:] = 1
        return alpha

    kind = DefectKind((at_the_right,), ((lambda rng, image, other, alpha: image + 1, 1.0),), can_have_rim=True)
    painter, rng = DefectPainter({"right": kind}), np.random.default_rng(0)
    image = np.zeros((SIDE, SIDE, 1), np.float32)
    painted = np.stack([painter.paint(image, image, rng) for _ in range(60)])
    assert not painted[:, :, : SIDE // 2].any()
    assert (painted < 0).any()  # there were rims


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
