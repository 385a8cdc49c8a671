"""Conversion and quantization-aware training of one tiny network, built once: TensorFlow is slow to compile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from edge_runtime.flatbuffer import inspect_flatbuffer
from edge_runtime.interpreter import load_backend
from edge_runtime.preprocessing import scale_pixels
from edge_runtime.quantization import dequantize, quantize
from edge_runtime.scoring import ScoreRule
from export.errors import ExportError


@dataclass(frozen=True)
class Converted:
    """The float graph, its form for int8 inputs, the three files made from it, and how the fine-tuning went."""

    graph: Any
    int8_graph: Any
    quantized_model: Any
    result: Any
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def converted(build_ganomaly: Callable[..., Any], pixels: np.ndarray) -> Converted:
    from export.conversion import convert_quantization_aware, convert_to_float32, convert_with_calibration
    from export.input_levels import taking_int8_inputs
    from export.lowering import lower_graph

    graph = lower_graph(build_ganomaly())
    int8_graph = taking_int8_inputs(graph)
    quantized_model, result = _calibrated_and_tuned(graph, int8_graph, pixels, steps=8)
    files = {
        "float32": convert_to_float32(graph),
        "ptq": convert_with_calibration(graph, scale_pixels(pixels)),
        "qat": convert_quantization_aware(int8_graph, quantized_model),
    }
    return Converted(graph, int8_graph, quantized_model, result, files)


def _calibrated_and_tuned(
    graph: Any, int8_graph: Any, pixels: np.ndarray, steps: int, weight: float = 0.1, learning_rate: float = 3e-5
) -> tuple[Any, Any]:
    from export.activation_ranges import observe_ranges
    from export.disturbance import Purpose, with_disturbed
    from export.fake_quantization import add_fake_quantization
    from export.input_levels import int8_inputs
    from export.quantization_aware import AgreementCheck, FineTuningSettings, fine_tune

    images = with_disturbed(pixels, 0, Purpose.RANGES).changed(int8_inputs)
    quantized_model = add_fake_quantization(int8_graph, observe_ranges(int8_graph, images, 0).least_squares)
    settings = FineTuningSettings(steps, 8, learning_rate, weight, seed=0)
    return quantized_model, fine_tune(
        graph, quantized_model, pixels, AgreementCheck(graph, pixels[:16], ScoreRule(), 0), settings
    )


def _run(flatbuffer: bytes, pixels: np.ndarray) -> dict[str, np.ndarray]:
    from export.conversion import output_positions

    backend = load_backend(flatbuffer)
    outputs = [backend.run(image) for image in pixels]
    return {
        name: dequantize(np.concatenate([each[position] for each in outputs]), backend.output_details[position])
        for name, position in output_positions(flatbuffer).items()
    }


def _float_outputs(graph: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(graph.output_names, (value.numpy() for value in graph.model(images)), strict=True))


@pytest.mark.parametrize("kind", ["ptq", "qat"])
def test_an_int8_file_has_no_float_tensor(converted: Converted, kind: str) -> None:
    inspection = inspect_flatbuffer(converted.files[kind])
    assert inspection.float_tensors == ()
    assert set(inspection.tensor_type_counts) == {"INT8", "INT32"}
    assert inspection.operation_counts == {"CONV_2D": 8, "LEAKY_RELU": 6, "TRANSPOSE_CONV": 4, "TANH": 1}
    assert all(tensor.type == "INT8" and tensor.shape[0] == 1 for tensor in (*inspection.inputs, *inspection.outputs))


@pytest.mark.parametrize("kind", ["ptq", "qat"])
def test_kernels_are_quantized_for_each_channel(converted: Converted, kind: str) -> None:
    operations = inspect_flatbuffer(converted.files[kind]).operations
    kernels = [
        tensor
        for operation in operations
        if operation.name in ("CONV_2D", "TRANSPOSE_CONV")
        for tensor in operation.inputs
        if tensor.is_constant and tensor.type == "INT8"
    ]
    assert len(kernels) == 12
    assert all(len(kernel.scales) == kernel.shape[0] for kernel in kernels)  # output channels come first in TFLite


def test_the_float32_file_computes_the_graph(converted: Converted, pixels: np.ndarray) -> None:
    expected = _float_outputs(converted.graph, scale_pixels(pixels))
    given = _run(converted.files["float32"], pixels)
    for name, values in expected.items():
        np.testing.assert_allclose(given[name], values, atol=1e-4 * np.abs(values).max())


@pytest.mark.parametrize("kind", ["ptq", "qat"])
def test_outputs_are_found_by_name_and_near_the_float_model(
    converted: Converted, pixels: np.ndarray, kind: str
) -> None:
    expected = _float_outputs(converted.graph, scale_pixels(pixels))
    given = _run(converted.files[kind], pixels)
    for name, values in expected.items():
        # A swapped pair of outputs would correlate by about 0.
        assert np.corrcoef(given[name].ravel(), values.ravel())[0, 1] > 0.98, name


@pytest.mark.parametrize("kind", ["ptq", "qat"])
def test_every_grey_value_has_its_own_int8_level(converted: Converted, kind: str) -> None:
    pixels = np.arange(256, dtype=np.uint8)
    tensor = load_backend(converted.files[kind]).input_details
    assert quantize(scale_pixels(pixels), tensor).tolist() == list(range(-128, 128))
    # What the levels stand for is what the graph for int8 inputs takes.
    levels = np.arange(-128, 128).astype(np.int8)
    np.testing.assert_allclose(dequantize(levels, tensor), scale_pixels(pixels) - 1 / 255, atol=1e-6)


def test_the_fake_quantized_graph_predicts_the_file(converted: Converted, pixels: np.ndarray) -> None:
    from export.input_levels import int8_inputs

    simulated = converted.quantized_model(int8_inputs(scale_pixels(pixels)), training=True)
    given = _run(converted.files["qat"], pixels)
    expected = _float_outputs(converted.graph, scale_pixels(pixels))
    for name, values in zip(converted.graph.output_names, simulated, strict=True):
        to_file = np.abs(given[name] - values.numpy()).mean()
        to_float = np.abs(given[name] - expected[name]).mean()
        assert to_file < to_float, name


def test_the_best_step_is_kept_and_step_0_is_a_candidate(converted: Converted) -> None:
    objectives = {step: agreement.objective(0.1) for step, agreement in converted.result.history.items()}
    assert list(objectives)[:: len(objectives) - 1] == [0, 8]
    assert objectives[converted.result.best_step] == min(objectives.values()) <= objectives[0]


def test_the_graph_has_the_weights_of_the_best_step(converted: Converted, pixels: np.ndarray) -> None:
    from export.quantization_aware import AgreementCheck

    # Steps so large that each is worse than none: the last one's weights must not stay.
    quantized_model, result = _calibrated_and_tuned(
        converted.graph, converted.int8_graph, pixels, steps=8, learning_rate=0.3
    )
    agreement = AgreementCheck(converted.graph, pixels[:16], ScoreRule(), 0).of(quantized_model)()
    kept, last = (result.history[step].disagreement for step in (result.best_step, 8))
    assert last > 10 * kept
    assert agreement.disagreement == pytest.approx(kept, rel=1e-3)


def test_the_encoder_loss_lets_scores_of_good_images_sink_below_those_of_disturbed_ones(
    converted: Converted, pixels: np.ndarray
) -> None:
    plain, with_loss = (
        _calibrated_and_tuned(converted.graph, converted.int8_graph, pixels, steps=24, weight=weight)[1].history[24]
        for weight in (0.0, 1.0)
    )
    assert with_loss.good_shift < plain.good_shift
    assert with_loss.good_shift - with_loss.disturbed_shift < plain.good_shift - plain.disturbed_shift


def test_without_a_step_the_calibrated_graph_stays(converted: Converted, pixels: np.ndarray) -> None:
    quantized_model, result = _calibrated_and_tuned(converted.graph, converted.int8_graph, pixels, steps=0)
    assert result.best_step == 0
    float_kernel = converted.int8_graph.model.layers[1].get_weights()[0]
    kernels = [variable.numpy() for variable in quantized_model.trainable_variables]
    assert any(kernel.shape == float_kernel.shape and (kernel == float_kernel).all() for kernel in kernels)


def test_fine_tuning_leaves_the_float_graph_untouched(build_ganomaly: Callable[..., Any], converted: Converted) -> None:
    from export.lowering import lower_graph

    fresh = lower_graph(build_ganomaly()).model.get_weights()
    for before, after in zip(fresh, converted.graph.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_float_tensor_in_an_int8_file_is_named(converted: Converted) -> None:
    from export.building import check_all_integer

    with pytest.raises(ExportError, match=r"still has \d+ float tensors, such as "):
        check_all_integer(inspect_flatbuffer(converted.files["float32"]))


def test_what_the_converter_refuses_is_one_error(converted: Converted) -> None:
    from export.conversion import _convert

    class Refusing:
        def convert(self) -> bytes:
            raise RuntimeError("op 'Foo' is not known\nand a long trace")

    with pytest.raises(ExportError, match=r"refused the graph: op 'Foo' is not known$"):
        _convert(Refusing())


def test_skip_connections_and_dense_layers_become_int8_too(randomise: Callable[..., Any]) -> None:
    import keras
    from keras import layers

    from export.activation_ranges import observe_ranges
    from export.conversion import convert_quantization_aware
    from export.fake_quantization import add_fake_quantization
    from export.lowering import lower_graph

    image = keras.Input((16, 16, 1))
    down = layers.LeakyReLU(negative_slope=0.2)(layers.Conv2D(4, 4, 2, "same")(image))
    joined = layers.Concatenate()([layers.Activation("relu")(layers.Conv2D(4, 3, 1, "same")(down)), down])
    reconstruction = layers.Conv2DTranspose(1, 4, 2, "same", activation="tanh")(joined)

    def encode(tensor: Any) -> Any:
        return layers.Reshape((1, 1, 5))(layers.Dense(5)(layers.Flatten()(layers.Conv2D(3, 4, 4)(tensor))))

    outputs = [encode(image), encode(layers.Add()([reconstruction, image])), reconstruction]
    graph = lower_graph(randomise(keras.Model(image, outputs)))
    images = np.random.default_rng(0).uniform(-1, 1, (16, 16, 16, 1)).astype(np.float32)
    quantized_model = add_fake_quantization(graph, observe_ranges(graph, images, 0).least_squares)
    inspection = inspect_flatbuffer(convert_quantization_aware(graph, quantized_model))
    assert inspection.float_tensors == ()
    assert {"CONCATENATION", "ADD", "FULLY_CONNECTED"} <= set(inspection.operation_counts)


def test_the_ranges_are_those_that_keep_the_scores_best(converted: Converted, pixels: np.ndarray) -> None:
    from export.activation_ranges import observe_ranges, ranges_between
    from export.building import RANGE_SHARES, calibrate
    from export.disturbance import Purpose, with_disturbed
    from export.fake_quantization import add_fake_quantization
    from export.input_levels import calibration_inputs, int8_inputs
    from export.quantization_aware import AgreementCheck

    graph = converted.int8_graph
    agreement = AgreementCheck(converted.graph, pixels[:16], ScoreRule(), 0)
    images = (
        calibration_inputs(scale_pixels(pixels)),
        with_disturbed(pixels, 0, Purpose.RANGES).changed(int8_inputs),
    )
    narrow, wide = (observe_ranges(graph, observed, 0) for observed in images)
    tried = [ranges_between(narrow.least_squares, wide.least_squares, share) for share in RANGE_SHARES]
    of_each = [
        agreement.of(add_fake_quantization(graph, ranges))().disagreement for ranges in (*tried, narrow.extremes)
    ]
    assert len(set(of_each)) > 1
    chosen = calibrate(graph, pixels, agreement, 0, lambda *stage: None)
    assert agreement.of(chosen)().disagreement == pytest.approx(min(of_each))


def test_with_the_extremes_of_good_images_the_untuned_file_computes_as_post_training_quantization(
    converted: Converted, pixels: np.ndarray
) -> None:
    from export.activation_ranges import observe_ranges
    from export.conversion import convert_quantization_aware
    from export.fake_quantization import add_fake_quantization
    from export.input_levels import calibration_inputs

    graph = converted.int8_graph
    observed = observe_ranges(graph, calibration_inputs(scale_pixels(pixels)), 0)
    of_squares, of_extremes = (
        _run(convert_quantization_aware(graph, add_fake_quantization(graph, ranges)), pixels) for ranges in observed
    )
    for name, values in _run(converted.files["ptq"], pixels).items():
        np.testing.assert_allclose(of_extremes[name], values, atol=1e-5)  # an int8 step is 1e-3 and more
        assert np.abs(of_squares[name] - values).max() > 1e-3


def test_ranges_between_two_are_by_ratio_and_keep_their_zeros() -> None:
    from export.activation_ranges import ActivationRange, ranges_between

    narrow, wide = {"layer": ActivationRange(0.0, 2.0)}, {"layer": ActivationRange(-4.0, 32.0)}
    assert ranges_between(narrow, wide, 0.5)["layer"] == pytest.approx((-2.0, 8.0))
    assert ranges_between(narrow, wide, 0)["layer"] == pytest.approx(narrow["layer"])
    assert ranges_between(narrow, wide, 1)["layer"] == pytest.approx(wide["layer"])
