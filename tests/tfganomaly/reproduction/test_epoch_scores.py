import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the train extra is not installed")

from edge_runtime.preprocessing import scale_pixels
from edge_runtime.scoring import ModelOutputs, ScoreRule
from tfganomaly.data.items import ImageItem, InspectionDataset
from tfganomaly.errors import RunError
from tfganomaly.reproduction.epoch_scores import EpochScores, EpochScoring

NUM_GOOD, NUM_ANOMALOUS, SEED = 70, 40, 3


@pytest.fixture
def kept(tmp_path):
    random = np.random.default_rng(0)
    scores = EpochScores(
        np.arange(60) % 2,
        {"latent_l2": random.random(60, np.float32)},
        random.integers(0, 255, (4, 8, 8, 1), np.uint8),
        random.random((4, 8, 8, 1), np.float32),
    )
    scores.save(tmp_path / "class-0_seed-0.npz")
    return tmp_path / "class-0_seed-0.npz"


def cut(content):
    return content[: len(content) // 2]


def with_a_byte_flipped(content):
    at = content.index(b"reconstructions.npy") + 300
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [cut, with_a_byte_flipped])
def test_damaged_scores_are_one_line_that_says_what_to_delete(kept, damage):
    assert len(EpochScores.load(kept).labels) == 60
    kept.write_bytes(damage(kept.read_bytes()))
    with pytest.raises(RunError) as error:
        EpochScores.load(kept)
    text = str(error.value)
    assert text.startswith(f"'{kept}' cannot be read (")
    assert f"delete the folder '{kept.parent}'" in text
    assert "\n" not in text


class RecordingModel:
    """Takes the first pixel of an image for its latent vector and keeps what it is asked to score."""

    image_shape = (8, 8, 1)
    non_trainable_variables = ()

    def __init__(self):
        self.batches = []

    def score_outputs(self, images, training):
        import tensorflow as tf

        assert training
        images.set_shape((None, 8, 8, 1))
        kept = tf.numpy_function(self._keep, [images], tf.float32)
        kept.set_shape((None, 8, 8, 1))
        latent = kept[:, :1, :1, :]
        zeros = tf.zeros_like(latent)
        return {
            "latent": latent,
            "reconstructed_latent": zeros,
            "reconstruction": -kept,  # of the mode for training, so that it can be told from the other
            "feature_distance": zeros[:, 0, 0, 0],
        }

    def model_outputs(self, images):
        latent = images[:, :1, :1, :]
        return ModelOutputs(latent, np.zeros_like(latent), images, np.zeros(len(images), np.float32))

    def _keep(self, images):
        self.batches.append(images)
        return images


@pytest.mark.parametrize("source", ["mnist:0", "cifar10:0"])
def test_the_official_protocol_follows_the_loader_of_the_authors_which_shuffles_all_but_cifar10(source, tmp_path):
    pytest.importorskip("tensorflow", reason="the train extra is not installed")
    count = NUM_GOOD + NUM_ANOMALOUS
    pixels = np.arange(count, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    items = tuple(
        ImageItem(f"{i:03d}", pixels[i], i >= NUM_GOOD, "0" if i >= NUM_GOOD else "good") for i in range(count)
    )
    scoring = EpochScoring(
        InspectionDataset(name=source, source=source, train=(), validation=(), test=items),
        ScoreRule(),
        resize_rule="stretch",
        contrast_rule="as_is",
        official=True,
        seed=SEED,
        path=tmp_path / "scores.npz",
    )
    model = RecordingModel()
    scoring(model)

    order = np.arange(count)
    if source == "mnist:0":
        np.random.RandomState(SEED).shuffle(order)
        assert {0, 1} <= set((order[:64] >= NUM_GOOD).astype(int))  # a batch of both kinds
    assert [len(batch) for batch in model.batches] == [64, 46]
    expected = scale_pixels(pixels[order][..., None])
    np.testing.assert_array_equal(np.concatenate(model.batches), expected)
    kept = EpochScores.load(tmp_path / "scores.npz")
    first_pixels = scale_pixels(pixels[..., None])[:, 0, 0, 0]
    np.testing.assert_allclose(kept.scores["latent_l2"], first_pixels**2, rtol=1e-6)
    # What is drawn is what was scored: eight good images and eight anomalous ones, by the statistics of their batches.
    np.testing.assert_array_equal(kept.shown[..., 0, 0, 0], [*range(8), *range(NUM_GOOD, NUM_GOOD + 8)])
    np.testing.assert_array_equal(kept.reconstructions, -scale_pixels(kept.shown))
