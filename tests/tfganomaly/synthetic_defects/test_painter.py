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
