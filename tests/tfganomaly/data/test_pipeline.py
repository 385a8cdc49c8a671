import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the train extra is not installed")

from edge_runtime.preprocessing import scale_pixels
from tfganomaly.data.pipeline import training_batches, validation_batches


@pytest.fixture
def pixels():
    return np.arange(10 * 4 * 4, dtype=np.uint8).reshape(10, 4, 4, 1)


def first_batches(pixels, count, **arguments):
    return [batch.numpy() for batch in training_batches(pixels, 3, steps_per_epoch=3, **arguments).take(count)]


def test_batches_are_scaled_as_on_the_device(pixels):
    batch = next(iter(validation_batches(pixels, 10)))
    np.testing.assert_array_equal(batch.numpy(), scale_pixels(pixels))


def test_an_epoch_shows_each_image_at_most_once_and_drops_the_partial_batch(pixels):
    epoch = np.concatenate(first_batches(pixels, 3, seed=0))
    assert epoch.shape == (9, 4, 4, 1)
    assert len({image.tobytes() for image in epoch}) == 9


def test_the_order_depends_on_seed_and_epoch_alone(pixels):
    from_start = first_batches(pixels, 6, seed=0)
    resumed = first_batches(pixels, 3, seed=0, first_epoch=1)
    other_seed = first_batches(pixels, 3, seed=1)
    np.testing.assert_array_equal(from_start[3:], resumed)
    assert not np.array_equal(from_start[:3], from_start[3:])
    assert not np.array_equal(from_start[:3], other_seed)


def test_validation_shows_a_fixed_even_choice_in_whole_batches(monkeypatch):
    from tfganomaly.data import pipeline

    monkeypatch.setattr(pipeline, "MOST_VALIDATION_IMAGES", 7)
    pixels = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    batches = validation_batches(pixels, 3)
    shown = np.concatenate([(batch.numpy() + 1) * 127.5 for batch in batches]).ravel().round().tolist()
    assert shown == [0, 16, 33, 49, 66, 82]
    again = np.concatenate([(batch.numpy() + 1) * 127.5 for batch in batches]).ravel().round().tolist()
    assert again == shown


def test_a_validation_set_smaller_than_a_batch_is_one_batch(pixels):
    assert [batch.shape[0] for batch in validation_batches(pixels, 64)] == [10]
