import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="the train extra is not installed")
import keras  # noqa: E402

from tfganomaly.models import ganomaly, losses  # noqa: E402
from tfganomaly.models.ganomaly import Ganomaly  # noqa: E402
from tfganomaly.options import ModelOptions  # noqa: E402

TINY = ModelOptions(channels=1, latent_size=8, generator_width=4, discriminator_width=4)


@pytest.fixture
def model():
    keras.utils.set_random_seed(5)
    model = Ganomaly(TINY)
    model.prepare_training(learning_rate=2e-4, beta_1=0.5, seed=5, xla=False, steps=40)
    return model


@pytest.fixture
def images():
    return tf.constant(np.random.default_rng(2).uniform(-1, 1, (16, 32, 32, 1)), tf.float32)


def test_generator_loss_is_the_weighted_sum_with_the_papers_weights(model, images):
    terms = model._loss_terms(images, training=False)
    expected = 1 * terms["adversarial_loss"] + 50 * terms["contextual_loss"] + 1 * terms["latent_loss"]
    assert float(terms["generator_loss"]) == pytest.approx(float(expected), rel=1e-6)


def test_one_discriminator_pass_gives_the_gradients_of_separate_passes(model, images):
    """The authors run the discriminator again for each loss, on a detached reconstruction for its own."""
    with tf.GradientTape(persistent=True) as tape:
        terms = model._loss_terms(images, training=True)
    ours_generator = tape.gradient(terms["generator_loss"], model.generator_variables)
    ours_discriminator = tape.gradient(terms["discriminator_loss"], model.discriminator.trainable_variables)

    with tf.GradientTape() as tape:
        outputs = model._encode_decode_encode(images, training=True)
        generator_loss = (
            losses.feature_matching_loss(
                model.discriminator(images, training=True)[1],
                model.discriminator(outputs["reconstruction"], training=True)[1],
            )
            + 50 * losses.contextual_loss(images, outputs["reconstruction"])
            + losses.latent_loss(outputs["latent"], outputs["reconstructed_latent"])
        )
    theirs_generator = tape.gradient(generator_loss, model.generator_variables)
    with tf.GradientTape() as tape:
        detached = tf.stop_gradient(outputs["reconstruction"])
        discriminator_loss = losses.discriminator_loss(
            model.discriminator(images, training=True)[0], model.discriminator(detached, training=True)[0]
        )
    theirs_discriminator = tape.gradient(discriminator_loss, model.discriminator.trainable_variables)

    for ours, theirs in zip(ours_generator + ours_discriminator, theirs_generator + theirs_discriminator, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-7)


def test_a_step_moves_both_networks_and_both_optimizers(model, images):
    before = {network.name: network.get_weights() for network in (*model.generator_networks, model.discriminator)}
    model.train_step(images)
    for network in (*model.generator_networks, model.discriminator):
        moved = [not np.array_equal(a, b) for a, b in zip(before[network.name], network.get_weights(), strict=True)]
        assert all(moved), network.name
    assert int(model.generator_optimizer.iterations) == int(model.discriminator_optimizer.iterations) == 1


def test_a_validation_step_moves_nothing(model, images):
    before = model.get_weights()
    logs = model.test_step(images)
    assert set(logs) == set(model.loss_trackers)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("xla", [False, True])
def test_a_collapsed_discriminator_is_drawn_anew_and_a_healthy_one_is_not(images, xla, monkeypatch):
    def after_one_step():
        keras.utils.set_random_seed(5)
        model = Ganomaly(TINY)
        model.prepare_training(learning_rate=2e-4, beta_1=0.5, seed=5, xla=xla, steps=40)
        logs = model.train_on_batch(images, return_dict=True)
        assert logs["discriminator_redraws"] == int(model.redraw_count)
        return int(model.redraw_count), [variable.numpy() for variable in model.discriminator.trainable_variables]

    count, trained = after_one_step()
    assert count == 0
    monkeypatch.setattr(ganomaly, "COLLAPSED_DISCRIMINATOR_LOSS", 1e9)
    count, drawn = after_one_step()
    assert count == 1
    assert not any(np.allclose(a, b) for a, b in zip(trained, drawn, strict=True) if b.any())
    assert drawn[1].std() == pytest.approx(0.02, abs=0.004)
    # A training that is resumed must draw the same again.
    _, again = after_one_step()
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=True))


def test_adam_is_the_papers(model):
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        assert float(optimizer.learning_rate) == pytest.approx(2e-4)
        assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.5, 0.999, 1e-8)
