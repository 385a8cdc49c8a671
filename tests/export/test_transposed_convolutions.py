from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_runtime.flatbuffer import inspect_flatbuffer
from edge_runtime.preprocessing import scale_pixels

MANY, FEW = 32, 3  # on a small map the phases of the first are apart, those of the second packed


def _one_layer(shape: tuple[int, int, int], **settings: Any) -> Any:
    import tf_keras

    from export.lowering import LoweredGraph

    image = tf_keras.Input(shape, name="image")
    layer = tf_keras.layers.Conv2DTranspose(**{"bias_initializer": "normal", "name": "up", **settings})
    return LoweredGraph(tf_keras.Model(image, [layer(image), image]), ("latent", "reconstructed_latent"))


def _kinds(graph: Any) -> list[str]:
    return [type(layer).__name__ for layer in graph.model.layers]


def _difference(graph: Any, other: Any) -> float:
    images = np.random.default_rng(0).normal(size=(2, *graph.input_shape)).astype(np.float32)
    pairs = zip(graph.model(images), other.model(images), strict=True)
    return max(float(np.abs(given.numpy() - expected.numpy()).max()) for given, expected in pairs)


@pytest.mark.parametrize("filters", [FEW, MANY])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "stride"), [(2, 2), (4, 2), (6, 2), ((4, 6), 2), (3, 3), (9, 3)], ids=lambda value: str(value)
)
def test_every_form_is_the_same_function(filters: int, padding: str, kernel: Any, stride: int) -> None:
    from export.transposed_convolutions import replace_transposed_convolutions

    for shape in [(4, 4, 7), (2, 5, 7), (1, 1, 7)]:
        graph = _one_layer(
            shape, filters=filters, kernel_size=kernel, strides=stride, padding=padding, activation="relu"
        )
        replaced = replace_transposed_convolutions(graph)
        assert "Conv2DTranspose" not in _kinds(replaced)
        assert replaced.model.output_shape == graph.model.output_shape
        assert _difference(graph, replaced) < 1e-5  # float32 rounding of some hundred products


@pytest.mark.parametrize(
    ("size", "filters", "convolutions"),
    [
        (4, 256, 4),  # packed, 25 windows for 16 pixels would be computed
        (16, 64, 4),
        (32, 20, 1),  # apart, 20 channels would be computed as 32, together as 80
        (32, 1, 1),
    ],
)
def test_phases_are_packed_where_that_computes_less(size: int, filters: int, convolutions: int) -> None:
    from export.transposed_convolutions import replace_transposed_convolutions

    graph = _one_layer((size, size, 2), filters=filters, kernel_size=4, strides=2, padding="same")
    assert _kinds(replace_transposed_convolutions(graph)).count("Conv2D") == convolutions


def test_a_single_pixel_becomes_one_product_without_padding() -> None:
    from export.transposed_convolutions import replace_transposed_convolutions

    graph = _one_layer((1, 1, 7), filters=5, kernel_size=4, padding="valid", use_bias=False)
    replaced = replace_transposed_convolutions(graph)
    assert _kinds(replaced) == ["InputLayer", "Conv2D", "Reshape"]
    assert replaced.model.layers[1].kernel.shape == (1, 1, 7, 4 * 4 * 5)
    assert _difference(graph, replaced) < 1e-5


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 5, "strides": 2, "padding": "same"},  # the stride does not divide the kernel
        {"kernel_size": 4, "strides": 1, "padding": "valid"},  # a latent map: nothing to gain
        {"kernel_size": 3, "strides": 1, "padding": "same", "dilation_rate": 2},
        {"kernel_size": 4, "strides": 2, "padding": "valid", "output_padding": 1},
        {"kernel_size": 4, "strides": (2, 1), "padding": "same"},
    ],
)
def test_what_has_no_faster_form_stays(settings: dict[str, Any]) -> None:
    from export.transposed_convolutions import replace_transposed_convolutions

    graph = _one_layer((4, 4, 7), filters=3, **settings)
    replaced = replace_transposed_convolutions(graph)
    assert _kinds(replaced) == _kinds(graph)
    assert _difference(graph, replaced) == 0


@pytest.mark.parametrize("image_size", [32, 48])
def test_a_whole_network_is_the_same_function(build_ganomaly: Callable[..., Any], image_size: int) -> None:
    from export.lowering import check_same_function, lower_graph
    from export.transposed_convolutions import replace_transposed_convolutions

    model = build_ganomaly(image_size=image_size, width=16)  # both packed layers and layers in phases
    lowered = lower_graph(model)
    graph = replace_transposed_convolutions(lowered)
    images = np.random.default_rng(3).uniform(-1, 1, (4, image_size, image_size, 1)).astype(np.float32)
    assert check_same_function(model, graph, images) < 1e-4
    assert graph.output_names == lowered.output_names
    # From a latent map the first one has no faster form.
    assert _kinds(graph).count("Conv2DTranspose") == (0 if image_size == 32 else 1)


def test_the_graph_that_was_rewritten_keeps_its_weights(build_ganomaly: Callable[..., Any]) -> None:
    from export.lowering import lower_graph
    from export.transposed_convolutions import replace_transposed_convolutions

    graph = lower_graph(build_ganomaly())
    before = [np.array(weights) for weights in graph.model.get_weights()]
    replaced = replace_transposed_convolutions(graph)
    replaced.model.set_weights([np.zeros_like(weights) for weights in replaced.model.get_weights()])
    for old, new in zip(before, graph.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_phases_of_one_map_share_the_range_of_what_is_read_of_it(
    build_ganomaly: Callable[..., Any], pixels: np.ndarray
) -> None:
    from export.activation_ranges import observe_ranges
    from export.lowering import lower_graph
    from export.transposed_convolutions import replace_transposed_convolutions

    lowered = lower_graph(build_ganomaly(width=16))
    images = scale_pixels(pixels)
    ranges = observe_ranges(replace_transposed_convolutions(lowered), images, 0).least_squares
    phases = {name.rpartition("_phase")[0]: [] for name in ranges if "_phase" in name}
    for name, chosen in ranges.items():
        if "_phase" in name:
            phases[name.rpartition("_phase")[0]].append(chosen)
    assert phases
    assert all(len(each) == 4 and len(set(each)) == 1 for each in phases.values())
    # What a packed convolution computes beyond the map does not widen its range.
    plain = observe_ranges(lowered, images, 0).least_squares
    for name, chosen in ranges.items():
        if name.endswith("_packed"):
            assert chosen == pytest.approx(plain[name.removesuffix("_packed")], rel=1e-4)


@pytest.mark.parametrize("kind", ["ptq", "qat"])
def test_it_becomes_int8_throughout_and_near_the_float_model(
    build_ganomaly: Callable[..., Any], pixels: np.ndarray, kind: str
) -> None:
    from edge_runtime.interpreter import load_backend
    from edge_runtime.quantization import dequantize
    from export.activation_ranges import observe_ranges
    from export.conversion import convert_quantization_aware, convert_with_calibration, output_positions
    from export.fake_quantization import add_fake_quantization
    from export.lowering import lower_graph
    from export.transposed_convolutions import replace_transposed_convolutions

    graph = replace_transposed_convolutions(lower_graph(build_ganomaly(width=16)))
    images = scale_pixels(pixels)
    if kind == "ptq":
        flatbuffer = convert_with_calibration(graph, images)
    else:
        quantized_model = add_fake_quantization(graph, observe_ranges(graph, images, 0).least_squares)
        flatbuffer = convert_quantization_aware(graph, quantized_model)
    inspection = inspect_flatbuffer(flatbuffer)
    assert set(inspection.tensor_type_counts) == {"INT8", "INT32"}
    # Convolutions: 8 of the encoders, one product, twice 4 phases, one packed. Nothing converts scales in between.
    assert inspection.operation_counts == {
        "CONV_2D": 18,
        "PAD": 7,  # a phase whose padding is TFLite's "same" needs none, and the converter sees it
        "CONCATENATION": 2,
        "DEPTH_TO_SPACE": 3,
        "STRIDED_SLICE": 1,
        "RESHAPE": 1,
        "LEAKY_RELU": 6,
        "TANH": 1,
    }
    backend = load_backend(flatbuffer)
    given = [backend.run(image) for image in pixels]
    expected = dict(zip(graph.output_names, graph.model(images), strict=True))
    for name, position in output_positions(flatbuffer).items():
        raw = np.concatenate([outputs[position] for outputs in given])
        values = dequantize(raw, backend.output_details[position])
        assert np.corrcoef(values.ravel(), expected[name].numpy().ravel())[0, 1] > 0.98, name
