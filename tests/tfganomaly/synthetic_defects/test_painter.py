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
