import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the train extra is not installed")
import keras

from tfganomaly.models.layers import WholeMapConv2D, WholeMapConv2DTranspose


@pytest.mark.parametrize("size", [4, 7])
def test_the_convolution_is_that_of_keras_on_one_window_and_on_several(size):
    images = np.random.default_rng(0).normal(size=(3, size, size, 5)).astype(np.float32)
    ours = WholeMapConv2D(6, 4, 1, "valid", use_bias=False)
    theirs = keras.layers.Conv2D(6, 4, 1, "valid", use_bias=False)
    for layer in (ours, theirs):
        layer.build(images.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3])
def test_the_transposed_convolution_is_that_of_keras_on_one_vector_and_on_several(size):
    latents = np.random.default_rng(0).normal(size=(3, size, size, 5)).astype(np.float32)
    ours = WholeMapConv2DTranspose(6, 4, 1, "valid", use_bias=False)
    theirs = keras.layers.Conv2DTranspose(6, 4, 1, "valid", use_bias=False)
    for layer in (ours, theirs):
        layer.build(latents.shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(latents), theirs(latents), rtol=1e-4, atol=1e-5)
