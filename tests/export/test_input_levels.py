from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize("channels", [1, 3])
def test_away_from_the_border_the_graph_for_int8_inputs_computes_the_same(
    randomise: Callable[..., Any], channels: int
) -> None:
    import keras
    from keras import layers

    from export.input_levels import int8_inputs, taking_int8_inputs
    from export.lowering import lower_graph

    image = keras.Input((16, 16, channels))
    latent = layers.Conv2D(4, 4, 2, "same", use_bias=False)(image)
    other = layers.Conv2D(4, 4, 2, "same")(image)
    graph = lower_graph(randomise(keras.Model(image, {"latent": latent, "reconstructed_latent": other})))
    images = np.random.default_rng(0).uniform(-1, 1, (5, 16, 16, channels)).astype(np.float32)
    moved = taking_int8_inputs(graph)
    assert moved.output_names == graph.output_names
    given, expected = moved.model(int8_inputs(images)), graph.model(images)
    darker = graph.model(int8_inputs(images))
    inner = slice(1, -1)
    for ours, theirs, unmade in zip(given, expected, darker, strict=True):
        ours, theirs, unmade = (np.asarray(values) for values in (ours, theirs, unmade))
        np.testing.assert_allclose(ours[:, inner, inner], theirs[:, inner, inner], atol=1e-5)
        assert np.abs(unmade - theirs)[:, inner, inner].max() > 1e-3
        # In the padding zero stands for half a grey level.
        assert np.abs(ours - theirs).max() < np.abs(graph.model.layers[1].get_weights()[0]).sum() / 255


def test_a_dense_first_layer_gets_a_bias_too(randomise: Callable[..., Any]) -> None:
    import keras
    from keras import layers

    from export.input_levels import int8_inputs, taking_int8_inputs
    from export.lowering import lower_graph

    image = keras.Input((2, 2, 3))
    latent = layers.Dense(4, use_bias=False)(image)
    graph = lower_graph(randomise(keras.Model(image, {"latent": latent, "reconstructed_latent": latent})))
    images = np.random.default_rng(0).uniform(-1, 1, (5, 2, 2, 3)).astype(np.float32)
    given, expected = taking_int8_inputs(graph).model(int8_inputs(images))[0], graph.model(images)[0]
    np.testing.assert_allclose(given, expected, atol=1e-6)


def test_other_first_layers_see_the_picture_half_a_grey_level_darker(randomise: Callable[..., Any]) -> None:
    import keras
    from keras import layers

    from export.input_levels import taking_int8_inputs
    from export.lowering import lower_graph

    image = keras.Input((8, 8, 1))
    latent = layers.Conv2DTranspose(1, 4, 2, "same")(image)
    graph = lower_graph(randomise(keras.Model(image, {"latent": latent, "reconstructed_latent": latent})))
    images = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(taking_int8_inputs(graph).model(images)[0], graph.model(images)[0])


def test_the_float_graph_stays_as_it_is(build_ganomaly: Callable[..., Any], pixels: np.ndarray) -> None:
    from export.input_levels import taking_int8_inputs
    from export.lowering import lower_graph

    graph = lower_graph(build_ganomaly())
    before = graph.model.get_weights()
    moved = taking_int8_inputs(graph)
    moved.model.set_weights([np.zeros_like(weights) for weights in moved.model.get_weights()])
    for old, new in zip(before, graph.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_calibration_pins_both_ends_of_the_range_and_leaves_the_images() -> None:
    from export.input_levels import HIGHEST_INT8_INPUT, LOWEST_INT8_INPUT, calibration_inputs

    images = np.full((2, 4, 4, 1), 0.25, np.float32)
    inputs = calibration_inputs(images)[:]
    assert inputs.dtype == np.float32
    assert (inputs.min(), inputs.max()) == pytest.approx((LOWEST_INT8_INPUT, HIGHEST_INT8_INPUT))
    assert (images == 0.25).all()
