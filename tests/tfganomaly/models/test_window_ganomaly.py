import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="the train extra is not installed")
keras = pytest.importorskip("keras", reason="the train extra is not installed")

from edge_runtime.scoring import ModelOutputs, anomaly_scores  # noqa: E402
from tfganomaly.errors import OptionError  # noqa: E402
from tfganomaly.models import window_losses  # noqa: E402
from tfganomaly.models.window_ganomaly import WindowGanomaly, relative_scores  # noqa: E402
from tfganomaly.models.window_networks import WINDOW_STRIDE_PX  # noqa: E402
from tfganomaly.options import ModelOptions, resolve_options  # noqa: E402
from tfganomaly.synthetic_defects.training_pairs import DAMAGED_WINDOW, GOOD_WINDOW, UNCERTAIN_WINDOW  # noqa: E402


def tiny(size=64, channels=1):
    return WindowGanomaly(ModelOptions(image_size=size, channels=channels, latent_size=8, generator_width=4))


@pytest.mark.parametrize("channels", [1, 3])
def test_each_window_of_eight_pixels_has_a_latent_vector(channels):
    model = tiny(96, channels)
    outputs = model.model_outputs(np.zeros((2, 96, 96, channels), np.float32))
    assert outputs.latent.shape == (2, 96 // WINDOW_STRIDE_PX, 96 // WINDOW_STRIDE_PX, 8)
    assert outputs.reconstruction.shape == (2, 96, 96, channels)


def test_a_window_sees_far_beyond_itself_but_its_own_place_most():
    keras.utils.set_random_seed(0)
    model = tiny(256)
    calm = np.zeros((1, 256, 256, 1), np.float32)
    changed = calm.copy()
    changed[0, 128:136, 128:136] = 1.0
    difference = np.abs(np.asarray(model.encoder(changed)) - np.asarray(model.encoder(calm))).max(axis=-1)[0]
    assert np.unravel_index(difference.argmax(), difference.shape) in {(16, 16), (16, 15), (15, 16), (15, 15)}
    assert difference[16, 24] > 0  # 64 pixels away


def test_the_recipe_stays_within_two_megabytes_of_int8_parameters():
    training, options = resolve_options("inspection", {"channels": 3})
    assert training.model == "window_ganomaly"
    assert WindowGanomaly(options).count_params() < 2_000_000


def test_an_epoch_is_one_and_a_half_passes_within_bounds():
    steps = [tiny().usual_steps_per_epoch(count, 16) for count in (20, 320, 688, 1085, 10_000)]
    assert steps == [20, 30, 64, 100, 100]


def test_a_size_that_the_stages_do_not_divide_is_refused():
    with pytest.raises(OptionError, match="multiple of 32"):
        ModelOptions(image_size=100, channels=1)


def test_the_losses_are_those_computed_by_hand():
    distances = tf.constant([[[0.0, 3.0], [8.0, 15.0]]])  # h = 0, 1, 2, 3
    good = tf.constant([[[1.0, 1.0], [0.0, 0.0]]])
    assert float(window_losses.good_window_loss(distances, good)) == pytest.approx(0.5)
    assert float(window_losses.hardest_window_loss(distances, good)) == pytest.approx(1.0)
    damaged = 1 - good
    expected = np.mean([-np.log(1 - np.exp(-h)) for h in (2, 3)])
    assert float(window_losses.damaged_window_loss(distances, damaged)) == pytest.approx(expected, rel=1e-4)
    none = tf.zeros_like(good)
    assert float(window_losses.good_window_loss(distances, none)) == 0
    assert float(window_losses.damaged_window_loss(distances, none)) == 0


def test_the_hardest_windows_are_two_of_a_hundred():
    distances = tf.reshape(tf.square(tf.range(1.0, 101.0)) - 1, (1, 10, 10))  # h = 0, 1, ... 99
    is_good = tf.reshape(tf.cast(tf.range(100) < 98, tf.float32), (1, 10, 10))
    assert float(window_losses.hardest_window_loss(distances, is_good)) == pytest.approx((96 + 97) / 2)


def test_windows_without_any_distance_give_finite_losses_and_gradients():
    latent = tf.Variable(np.zeros((1, 2, 2, 4), np.float32))
    with tf.GradientTape() as tape:
        distances = tf.reduce_sum(tf.square(latent), axis=-1)
        loss = window_losses.damaged_window_loss(distances, tf.ones((1, 2, 2)))
    assert np.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, latent).numpy()).all()


@pytest.mark.parametrize("windows", [16, 32])  # along a side: the largest 2.56 and 10.24 of them, rounded
def test_the_epoch_is_chosen_by_the_score_that_decides(windows):
    random = np.random.default_rng(0)
    latent, reconstructed = random.normal(0, 1, (2, 3, windows, windows, 8)).astype(np.float32)
    images = random.uniform(-1, 1, (3, 8 * windows, 8 * windows, 1)).astype(np.float32)
    drawn = images + np.float32([0.5, 0.1, 0])[:, np.newaxis, np.newaxis, np.newaxis]
    outputs = {"latent": latent, "reconstructed_latent": reconstructed, "reconstruction": drawn}
    scores = anomaly_scores(WindowGanomaly.score_rule, images, ModelOutputs(**outputs))
    np.testing.assert_allclose(relative_scores(images, outputs).numpy(), scores, rtol=1e-5)


def test_the_step_size_rises_then_falls():
    model = tiny()
    model.prepare_training(learning_rate=1e-3, beta_1=0.9, seed=0, xla=False, steps=1000)
    schedule = model.generator_optimizer._learning_rate
    sizes = [float(schedule(step)) for step in (0, 25, 50, 500, 1000)]
    assert sizes[0] < sizes[1] < sizes[2] == pytest.approx(1e-3, rel=1e-3)
    assert sizes[2] > sizes[3] > sizes[4] == pytest.approx(2e-5, rel=1e-2)


def test_a_training_shorter_than_the_warm_up_still_has_step_sizes():
    model = tiny()
    model.prepare_training(learning_rate=1e-3, beta_1=0.9, seed=0, xla=False, steps=10)
    assert all(np.isfinite(float(model.generator_optimizer._learning_rate(step))) for step in range(11))


def test_a_faintly_painted_image_counts_as_painted_in_the_ranking(monkeypatch):
    """Its windows are uncertain, so that nothing is learnt of them; in a ranking it is no good image."""
    model, labels = tiny(), []
    monkeypatch.setattr(model.ranking, "update_state", lambda truth, scores: labels.append(truth.numpy().tolist()))
    windows = np.full((3, 64 // WINDOW_STRIDE_PX, 64 // WINDOW_STRIDE_PX), GOOD_WINDOW, np.int8)
    windows[1, 2, 3], windows[2, 4, 4] = UNCERTAIN_WINDOW, DAMAGED_WINDOW
    images = np.zeros((3, 64, 64, 1), np.float32)
    model.test_step((tf.constant(images), (tf.constant(images), tf.constant(windows))))
    assert labels == [[False, True, True]]
