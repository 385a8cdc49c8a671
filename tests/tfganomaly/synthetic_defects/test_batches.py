import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the train extra is not installed")

from tfganomaly.synthetic_defects import batches as batches_module
from tfganomaly.synthetic_defects.batches import painted_batches, selection_batches
from tfganomaly.synthetic_defects.training_pairs import DAMAGED_WINDOW, GOOD_WINDOW

SIDE, STRIDE = 64, 8


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(60, 200, (6, SIDE, SIDE, 1), dtype=np.uint8)


def batches(pixels, count, *, seed=0, first_epoch=0):
    dataset = painted_batches(pixels, 4, seed, 3, first_epoch, STRIDE).take(count)
    return [(damaged.numpy(), clean.numpy(), windows.numpy()) for damaged, (clean, windows) in dataset]


def test_a_batch_holds_good_and_damaged_images_with_their_windows(pixels):
    damaged, clean, windows = (np.concatenate(part) for part in zip(*batches(pixels, 6), strict=True))
    assert damaged.shape == clean.shape == (24, SIDE, SIDE, 1)
    assert windows.shape == (24, SIDE // STRIDE, SIDE // STRIDE)
    is_painted = (damaged != clean).any(axis=(1, 2, 3))
    assert 8 < is_painted.sum() < 24
    assert (windows[~is_painted] == GOOD_WINDOW).all()
    assert (windows[is_painted] == DAMAGED_WINDOW).any()


def test_what_an_epoch_shows_depends_on_seed_and_epoch_alone(pixels):
    from_start, resumed, other = batches(pixels, 6), batches(pixels, 3, first_epoch=1), batches(pixels, 3, seed=1)
    for ours, theirs in zip(from_start[3:], resumed, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
    assert not np.array_equal(from_start[0][0], other[0][0])
    assert not np.array_equal(from_start[0][0], from_start[3][0])


def test_the_epoch_is_chosen_on_the_same_images_each_time_half_of_them_painted(pixels):
    first, again = (
        [(damaged.numpy(), clean.numpy()) for damaged, (clean, _) in selection_batches(pixels, 4, 0, STRIDE)]
        for _ in range(2)
    )
    assert len(first) == 3
    for (damaged, clean), (damaged_again, _) in zip(first, again, strict=True):
        np.testing.assert_array_equal(damaged, damaged_again)
        assert (damaged != clean).any(axis=(1, 2, 3)).tolist() == [False, False, True, True]


def test_a_set_too_large_for_memory_is_painted_again_and_is_the_same(pixels, monkeypatch):
    kept = [damaged.numpy() for damaged, _ in selection_batches(pixels, 4, 0, STRIDE)]
    painted = []
    make_pair = batches_module.make_pair
    monkeypatch.setattr(batches_module, "make_pair", lambda *args, **kw: painted.append(1) or make_pair(*args, **kw))
    monkeypatch.setattr(batches_module, "MOST_CACHED_BYTES", 12 * 2 * 4 * SIDE * SIDE - 1)
    dataset = selection_batches(pixels, 4, 0, STRIDE)
    for num_painted in (12, 24):
        np.testing.assert_array_equal(np.stack([damaged.numpy() for damaged, _ in dataset]), np.stack(kept))
        assert len(painted) == num_painted


def test_fewer_images_than_a_batch_are_one_batch(pixels):
    (batch,) = list(selection_batches(pixels[:3], 16, 0, STRIDE))
    assert batch[0].shape == (6, SIDE, SIDE, 1)


def test_defects_lie_where_each_image_shows_its_picture(pixels):
    parts = [(slice(16, 48), slice(0, SIDE))] * 3 + [(slice(0, SIDE), slice(0, SIDE))] * 3
    reach_px = int(SIDE * 0.04)  # training shifts the pictures
    training = painted_batches(pixels[:3], 4, 0, 3, 0, STRIDE, parts[:3]).take(6)
    selection = selection_batches(pixels, 12, 0, STRIDE, parts)
    in_training = np.concatenate([np.abs(damaged - clean) for damaged, (clean, _) in training])
    ((damaged, (clean, _)),) = list(selection)
    in_selection = np.abs(damaged - clean)[6:]
    assert not in_training[:, : 16 - reach_px].any()
    assert not in_training[:, 48 + reach_px :].any()
    assert in_training[:, 16:48].any()
    assert not in_selection[:3, :16].any()
    assert not in_selection[:3, 48:].any()
    assert in_selection[:3, 16:48].any(axis=(1, 2, 3)).all()
