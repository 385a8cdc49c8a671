"""The rewritten file computes what the converter's file computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edge_runtime.edgetpu.check import check_for_edgetpu
from edge_runtime.flatbuffer import inspect_flatbuffer
from edge_runtime.preprocessing import scale_pixels
from export.edgetpu_graph import adapt_to_edgetpu
from export.errors import ExportError
from tests.edge_runtime.model_builder import GraphBuilder

RELU = schema.ActivationFunctionType.RELU
RELU6 = schema.ActivationFunctionType.RELU6


def _run(flatbuffer: bytes, inputs: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=flatbuffer)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _leaky_relu(
    shape: tuple[int, ...], alpha: float, scale: float, zero_point: int, output_scale: float, output_zero_point: int
) -> bytes:
    graph = GraphBuilder()
    given = graph.tensor(*shape, scale=scale, zero_point=zero_point)
    made = graph.tensor(*shape, scale=output_scale, zero_point=output_zero_point)
    options = schema.LeakyReluOptionsT()
    options.alpha = alpha
    graph.operation("LEAKY_RELU", [given], [made], 2, options)
    return graph.to_bytes([given], [made])


def _transposed_convolution(activation: int, zero_point: int, scale: float = 0.02, with_bias: bool = True) -> bytes:
    random = np.random.default_rng(0)
    graph = GraphBuilder()
    given = graph.tensor(1, 4, 4, 3)
    shape = graph.integers(1, 8, 8, 5)
    kernel = graph.tensor(5, 4, 4, 3, scale=0.01, values=random.integers(-127, 128, (5, 4, 4, 3), np.int8))
    bias = graph.tensor(5, kind="INT32", scale=0.0005, values=random.integers(-900, 900, 5, np.int32))
    made = graph.tensor(1, 8, 8, 5, scale=scale, zero_point=zero_point)
    options = schema.TransposeConvOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.SAME, 2, 2
    options.fusedActivationFunction = activation
    inputs = [shape, kernel, given] + ([bias] if with_bias else [])
    graph.operation("TRANSPOSE_CONV", inputs, [made], 4, options)
    return graph.to_bytes([given], [made])


@pytest.mark.parametrize("shape", [(1, 8, 8, 4), (1, 256)])
@pytest.mark.parametrize(
    ("alpha", "scales"),
    [(0.2, (0.05, -5, 0.03, -90)), (0.2, (0.01, 30, 0.01, 30)), (0.01, (0.1, 0, 0.09, -100)), (0.0, (0.1, 0, 0.1, 0))],
)
def test_a_prelu_gives_the_leaky_relu_within_one_int8_step_for_every_level(
    shape: tuple[int, ...], alpha: float, scales: tuple[float, int, float, int]
) -> None:
    levels = np.arange(-128, 128, dtype=np.int8).reshape(shape)
    before = _leaky_relu(shape, alpha, *scales)
    after = adapt_to_edgetpu(before)
    (operation,) = inspect_flatbuffer(after).operations
    assert (operation.name, operation.version) == ("PRELU", 1)
    # Each kernel rounds the product in its own way, so they may part by one step.
    steps = _run(after, levels).astype(int) - _run(before, levels).astype(int)
    assert np.abs(steps).max() <= 1
    scale, zero_point, output_scale, output_zero_point = scales
    real = (levels.astype(float) - zero_point) * scale
    exact = np.where(real > 0, real, alpha * real) / output_scale + output_zero_point
    assert np.abs(_run(after, levels) - np.clip(exact, -128, 127)).max() <= 1


def test_the_alpha_is_what_the_converter_makes_of_keras_s_prelu() -> None:
    import tensorflow as tf
    import tf_keras

    image = tf_keras.Input((8, 8, 4))
    layer = tf_keras.layers.PReLU(alpha_initializer=tf_keras.initializers.Constant(0.2), shared_axes=[1, 2])
    model = tf_keras.Model(image, layer(image))
    infer = tf.function(lambda images: model(images), input_signature=[tf.TensorSpec((1, 8, 8, 4))])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([infer.get_concrete_function()], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [[np.linspace(-1, 1, 256, dtype=np.float32).reshape(1, 8, 8, 4)]]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]

    def form(flatbuffer: bytes) -> tuple[Any, ...]:
        (operation,) = (each for each in inspect_flatbuffer(flatbuffer).operations if each.name == "PRELU")
        alpha = operation.inputs[1]
        return operation.version, alpha.shape, alpha.type, alpha.zero_points, alpha.scales

    *ours, (scale,) = form(adapt_to_edgetpu(_leaky_relu((1, 8, 8, 4), 0.2, 0.05, 0, 0.05, 0)))
    *expected, (expected_scale,) = form(converter.convert())
    assert ours == expected
    assert scale == pytest.approx(expected_scale, rel=1e-6)


@pytest.mark.parametrize(("activation", "zero_point", "scale"), [(RELU, -128, 0.02), (RELU6, -128, 6 / 255)])
def test_without_its_fused_activation_a_transposed_convolution_gives_the_same_bytes(
    activation: int, zero_point: int, scale: float
) -> None:
    before = _transposed_convolution(activation, zero_point, scale)
    after = adapt_to_edgetpu(before)
    (operation,) = inspect_flatbuffer(after).operations
    assert (operation.name, operation.version, operation.fused_activation) == ("TRANSPOSE_CONV", 3, "NONE")
    for seed in range(5):
        inputs = np.random.default_rng(seed).integers(-128, 128, (1, 4, 4, 3), np.int8)
        outputs = _run(before, inputs)
        np.testing.assert_array_equal(_run(after, inputs), outputs)
        assert outputs.min() == -128  # the activation does cut something off
        assert outputs.max() > 0


def test_without_bias_the_version_is_2() -> None:
    after = adapt_to_edgetpu(_transposed_convolution(schema.ActivationFunctionType.NONE, 5, with_bias=False))
    assert inspect_flatbuffer(after).operations[0].version == 2


@pytest.mark.parametrize(
    ("activation", "zero_point", "scale"),
    [(RELU, -127, 0.02), (RELU, 0, 0.02), (RELU6, -128, 0.1), (schema.ActivationFunctionType.TANH, 0, 1 / 128)],
)
def test_an_activation_that_saturation_does_not_replace_is_refused(
    activation: int, zero_point: int, scale: float
) -> None:
    with pytest.raises(ExportError, match="fused activation that its int8 range does not contain"):
        adapt_to_edgetpu(_transposed_convolution(activation, zero_point, scale))


def test_constants_stay_aligned_for_kernels_that_read_them_in_place() -> None:
    content = adapt_to_edgetpu(_transposed_convolution(RELU, -128))
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.BuffersLength()):
        table = model.Buffers(index)._tab
        if table.Offset(4):
            assert table.Vector(table.Offset(4)) % 16 == 0


@pytest.fixture(scope="module")
def graph(build_ganomaly: Callable[..., Any]) -> Any:
    from export.lowering import lower_graph

    return lower_graph(build_ganomaly())


@pytest.fixture(scope="module")
def network(graph: Any, pixels: np.ndarray) -> bytes:
    from export.conversion import convert_with_calibration

    return convert_with_calibration(graph, scale_pixels(pixels))


def test_a_whole_network_maps_and_is_as_near_to_the_float_model(graph: Any, network: bytes, pixels: np.ndarray) -> None:
    from edge_runtime.interpreter import load_backend
    from edge_runtime.quantization import dequantize
    from export.conversion import output_positions

    adapted = adapt_to_edgetpu(network)
    found = check_for_edgetpu(inspect_flatbuffer(adapted))
    assert found.num_mapped == len(found.operations) == 19
    assert found.cuts == ()
    assert inspect_flatbuffer(adapted).float_tensors == ()
    assert check_for_edgetpu(inspect_flatbuffer(network)).is_refused
    positions = output_positions(network)
    assert output_positions(adapted) == positions
    images = scale_pixels(pixels)
    expected = dict(zip(graph.output_names, (value.numpy() for value in graph.model(images)), strict=True))
    errors = {}
    for name, content in (("before", network), ("after", adapted)):
        backend = load_backend(content)
        outputs = [backend.run(image) for image in pixels]
        given = {
            output: dequantize(np.concatenate([each[place] for each in outputs]), backend.output_details[place])
            for output, place in positions.items()
        }
        errors[name] = {output: np.abs(given[output] - expected[output]).mean() for output in positions}
    # The kernels of LEAKY_RELU and PRELU round differently, and neither is nearer to the float model: 2.4 and 2.5 steps
    # on the reconstructed latent.
    for output, error in errors["after"].items():
        assert error < 1.25 * errors["before"][output], output


def test_equal_models_give_equal_bytes_and_a_second_pass_changes_nothing(network: bytes) -> None:
    adapted = adapt_to_edgetpu(network)
    assert adapt_to_edgetpu(network) == adapted
    assert adapt_to_edgetpu(adapted) == adapted
