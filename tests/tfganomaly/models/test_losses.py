import math

import pytest

tf = pytest.importorskip("tensorflow", reason="the train extra is not installed")

from tfganomaly.models import losses  # noqa: E402


def test_feature_matching_is_the_mean_squared_difference():
    real = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    reconstructed = tf.constant([[1.0, 0.0], [0.0, 4.0]])
    assert float(losses.feature_matching_loss(real, reconstructed)) == pytest.approx((0 + 4 + 9 + 0) / 4)


def test_contextual_loss_is_the_mean_absolute_difference():
    images = tf.constant([[-1.0, 1.0], [0.5, 0.0]])
    reconstructions = tf.constant([[1.0, 1.0], [0.0, 0.25]])
    assert float(losses.contextual_loss(images, reconstructions)) == pytest.approx((2 + 0 + 0.5 + 0.25) / 4)


def test_latent_loss_is_the_mean_squared_difference_with_a_gradient_to_both():
    latents, reconstructed = tf.Variable([1.0, 2.0]), tf.Variable([0.0, 4.0])
    with tf.GradientTape() as tape:
        loss = losses.latent_loss(latents, reconstructed)
    assert float(loss) == pytest.approx((1 + 4) / 2)
    gradients = tape.gradient(loss, [latents, reconstructed])
    assert gradients[0].numpy().tolist() == [1.0, -2.0]
    assert gradients[1].numpy().tolist() == [-1.0, 2.0]


def test_discriminator_loss_is_half_the_sum_of_both_cross_entropies():
    real, reconstructed = tf.constant([[2.0], [0.0]]), tf.constant([[-1.0], [3.0]])

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    by_hand = 0.5 * (
        -(math.log(sigmoid(2)) + math.log(sigmoid(0))) / 2 - (math.log(1 - sigmoid(-1)) + math.log(1 - sigmoid(3))) / 2
    )
    assert float(losses.discriminator_loss(real, reconstructed)) == pytest.approx(by_hand, rel=1e-6)
