import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the train extra is not installed")

import keras

from tfganomaly.models import networks
from tfganomaly.models.ganomaly import Ganomaly
from tfganomaly.options import ModelOptions


def trainable(networks_or_network):
    return sum(int(np.prod(variable.shape)) for variable in networks_or_network)


@pytest.mark.parametrize(
    ("image_size", "channels", "generator", "discriminator"),
    [
        (32, 1, 3_200_384, 661_248),
        (32, 3, 3_206_528, 663_296),
        (64, 1, 10_723_712, 2_763_520),
        (128, 3, 38_359_424, 11_164_416),
    ],
)
def test_parameter_counts_are_those_of_the_authors_code(image_size, channels, generator, discriminator):
    model = Ganomaly(ModelOptions(image_size=image_size, channels=channels))
    assert trainable(model.generator_variables) == generator
    assert trainable(model.discriminator.trainable_variables) == discriminator


def test_encoder_and_decoder_at_32_have_the_authors_counts_and_no_bias():
    encoder = networks.encoder(32, 1, 100, 64)
    decoder = networks.decoder(32, 1, 100, 64)
    assert trainable(encoder.trainable_variables) == 1_066_752
    assert trainable(decoder.trainable_variables) == 1_066_880
    assert not [v.path for network in (encoder, decoder) for v in network.variables if v.name == "bias"]


def test_shapes_pass_through_the_networks():
    images = np.zeros((2, 64, 64, 3), np.float32)
    latent = networks.encoder(64, 3, 10, 8)(images)
    assert latent.shape == (2, 1, 1, 10)
    assert networks.decoder(64, 3, 10, 8)(latent).shape == (2, 64, 64, 3)
    logit, feature = networks.discriminator(64, 3, 8)(images)
    assert logit.shape == (2, 1)
    assert feature.shape == (2, 4, 4, 64)


def test_extra_layers_add_three_by_three_convolutions_with_batch_norm():
    plain, extra = networks.encoder(32, 1, 10, 8), networks.encoder(32, 1, 10, 8, extra_layers=2)
    added = trainable(extra.trainable_variables) - trainable(plain.trainable_variables)
    assert added == 2 * (3 * 3 * 8 * 8 + 2 * 8)


def test_a_slope_of_zero_is_relu_which_export_can_fuse():
    leaky, relu = networks.encoder(32, 1, 10, 8, slope=0.1), networks.encoder(32, 1, 10, 8, slope=0.0)
    assert [layer.negative_slope for layer in leaky.layers if isinstance(layer, keras.layers.LeakyReLU)] == [0.1] * 3
    assert sum(isinstance(layer, keras.layers.ReLU) for layer in relu.layers) == 3
    assert trainable(relu.trainable_variables) == trainable(leaky.trainable_variables)


def test_weights_start_as_the_paper_says():
    encoder = networks.encoder(32, 1, 100, 64)
    kernels = [variable.numpy() for variable in encoder.trainable_variables if variable.name == "kernel"]
    assert all(abs(kernel.std() - 0.02) < 0.002 and abs(kernel.mean()) < 0.002 for kernel in kernels)
    scales = np.concatenate([v.numpy() for v in encoder.trainable_variables if v.name == "gamma"])
    assert abs(scales.mean() - 1) < 0.005
    assert abs(scales.std() - 0.02) < 0.005


def test_batch_norm_has_the_authors_momentum_and_epsilon():
    norms = [layer for layer in networks.encoder(32, 1, 10, 8).layers if "norm" in layer.name]
    assert len(norms) == 2
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}


def test_a_redraw_has_the_initial_distribution_and_repeats_with_its_seed():
    network = networks.discriminator(32, 1, 64)
    networks.draw_initial_weights(network, (3, 7))
    first = [variable.numpy() for variable in network.trainable_variables]
    networks.draw_initial_weights(network, (3, 8))
    other = [variable.numpy() for variable in network.trainable_variables]
    networks.draw_initial_weights(network, (3, 7))
    again = [variable.numpy() for variable in network.trainable_variables]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True) if a.any())
    kernels = [kernel for kernel in first if kernel.ndim == 4]
    assert all(abs(kernel.std() - 0.02) < 0.002 for kernel in kernels)
    assert not np.array_equal(kernels[1].ravel()[:100], kernels[2].ravel()[:100])
