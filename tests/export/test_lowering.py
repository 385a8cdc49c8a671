from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from export.errors import ExportError
from tfganomaly.options import ModelOptions


def _images(count: int, size: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, (count, size, size, channels)).astype(np.float32)


def _kinds(graph: Any) -> list[str]:
    return [type(layer).__name__ for layer in graph.model.layers]


def test_folded_graph_gives_the_model_s_outputs(build_ganomaly: Callable[..., Any]) -> None:
    from export.lowering import check_same_function, lower_graph

    model = build_ganomaly()
    graph = lower_graph(model)
    # Folding is exact up to float32 rounding.
    assert check_same_function(model, graph, _images(8, 32)) < 1e-4
    assert graph.output_names == ("latent", "reconstructed_latent", "reconstruction")
    assert "BatchNormalization" not in _kinds(graph)
    assert "ReLU" not in _kinds(graph)  # fused into the transposed convolutions
    assert _kinds(graph).count("LeakyReLU") == 6


def test_the_fold_is_the_formula(build_ganomaly: Callable[..., Any]) -> None:
    from export.lowering import lower_graph

    model = build_ganomaly()
    norm = next(layer for layer in model.layers if "BatchNormalization" in type(layer).__name__)
    convolution = model.layers[model.layers.index(norm) - 1]
    kernel, bias = lower_graph(model).model.get_layer(convolution.name).get_weights()
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in norm.get_weights())
    scale = gamma / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(kernel, np.asarray(convolution.kernel) * scale, rtol=1e-5)
    np.testing.assert_allclose(bias, beta - mean * scale, rtol=1e-4, atol=1e-6)


def test_lowering_leaves_the_model_untouched(build_ganomaly: Callable[..., Any]) -> None:
    from export.lowering import lower_graph

    model = build_ganomaly()
    before = [np.array(weights) for weights in model.get_weights()]
    graph = lower_graph(model)
    graph.model.layers[1].set_weights([np.zeros_like(weights) for weights in graph.model.layers[1].get_weights()])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_latent_map_survives_lowering(build_ganomaly: Callable[..., Any]) -> None:
    from export.lowering import check_same_function, lower_graph

    model = build_ganomaly(image_size=48)
    graph = lower_graph(model)
    assert graph.model.output_shape[0] == (None, 3, 3, 6)
    assert check_same_function(model, graph, _images(4, 48)) < 1e-4


def test_the_real_model_s_inference_graph_is_lowered() -> None:
    from export.lowering import check_same_function, lower_graph
    from tfganomaly.models.ganomaly import Ganomaly

    model = Ganomaly(ModelOptions(image_size=32, channels=3, latent_size=8, generator_width=4, discriminator_width=4))
    inference_graph = model.inference_graph()
    graph = lower_graph(inference_graph)
    assert graph.input_shape == (32, 32, 3)
    assert check_same_function(inference_graph, graph, _images(4, 32, 3)) < 1e-4


def test_skip_connections_and_layers_used_twice_are_lowered(randomise: Callable[..., Any]) -> None:
    import keras
    from keras import layers

    from export.lowering import check_same_function, lower_graph

    image = keras.Input((32, 32, 1))
    shared = layers.Conv2D(6, 4, 4, "same")  # Keras gives the next one the name that its second call might have
    first = layers.Conv2D(4, 3, 1, "same", use_bias=False)(image)
    # Read twice: neither the normalization nor the ReLU may be folded away for the other reader.
    wide = layers.BatchNormalization()(first)
    activated = layers.ReLU()(wide)
    joined = layers.Concatenate()([wide, layers.Dropout(0.5)(activated)])
    reconstruction = layers.Conv2D(1, 3, 1, "same", activation="tanh")(joined)
    summed = layers.Add()([reconstruction, image])
    outputs = {
        "reconstruction": reconstruction,
        "latent": shared(image),
        "reconstructed_latent": shared(summed),
    }
    model = randomise(keras.Model(image, outputs))
    graph = lower_graph(model)
    assert check_same_function(model, graph, _images(4, 32)) < 1e-4
    assert "ReLU" in _kinds(graph)


def test_an_unknown_layer_is_named() -> None:
    import keras

    from export.lowering import lower_graph

    image = keras.Input((8, 8, 1))
    tensor = keras.layers.GaussianNoise(0.1, name="odd_one")(image)
    with pytest.raises(ExportError, match=r"'odd_one' is a GaussianNoise.*Conv2DTranspose"):
        lower_graph(keras.Model(image, [tensor, tensor, tensor]))


def test_a_batch_normalization_without_a_convolution_is_refused() -> None:
    import keras

    from export.lowering import lower_graph

    image = keras.Input((8, 8, 1))
    tensor = keras.layers.BatchNormalization(name="lonely")(image)
    with pytest.raises(ExportError, match="'lonely' follows"):
        lower_graph(keras.Model(image, [tensor, tensor, tensor]))


def test_a_model_inside_the_graph_is_refused(build_ganomaly: Callable[..., Any]) -> None:
    import keras

    from export.lowering import lower_graph

    image = keras.Input((32, 32, 1))
    inner = build_ganomaly()
    with pytest.raises(ExportError, match="flat graph"):
        lower_graph(keras.Model(image, inner(image)))


def test_outputs_that_are_not_known_are_refused() -> None:
    import keras

    from export.lowering import lower_graph

    image = keras.Input((8, 8, 1))
    with pytest.raises(ExportError, match=r"outputs are .*mask"):
        lower_graph(keras.Model(image, {"mask": keras.layers.Conv2D(1, 3)(image)}))


def test_a_lowered_graph_that_computes_something_else_is_refused(build_ganomaly: Callable[..., Any]) -> None:
    from export.lowering import check_same_function, lower_graph

    model = build_ganomaly()
    graph = lower_graph(model)
    convolution = graph.model.layers[1]
    convolution.set_weights([1.1 * weights for weights in convolution.get_weights()])
    with pytest.raises(ExportError, match="differs from the model's"):
        check_same_function(model, graph, _images(4, 32))
