"""Converts a tf_keras graph to TFLite with a fixed batch of one: float32, int8 calibrated, int8 trained.

With a free batch dimension the transposed convolutions pull SHAPE, STRIDED_SLICE and PACK into the file, and
a quantization-aware model does not even prepare in LiteRT; so every file is made from a concrete function of
batch one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.errors import ExportError
from export.input_levels import calibration_inputs, taking_int8_inputs
from export.lazy_images import ImageSequence
from export.lowering import LoweredGraph
from tfganomaly.quiet_tensorflow import quiet_tensorflow


def convert_to_float32(graph: LoweredGraph) -> bytes:
    """Converts to a float32 file: same function as the run, for comparison and for machines without int8."""
    return _convert(_converter(graph, graph.model))


def convert_with_calibration(graph: LoweredGraph, images: ImageSequence) -> bytes:
    """Converts to int8 by post-training quantization.

    Args:
        graph: The float graph.
        images: float32 `(B, H, W, C)` in [-1, 1], good images from which the converter takes the ranges.
    """
    inputs = calibration_inputs(images)

    def representative_images() -> Iterator[list[np.ndarray]]:
        for index in range(len(inputs)):
            yield [inputs[index : index + 1]]

    converter = _converter(graph, taking_int8_inputs(graph).model)
    converter.representative_dataset = representative_images
    # Says that float fallback is not allowed; only legal beside representative images.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return _convert(_as_int8(converter))


def convert_quantization_aware(graph: LoweredGraph, quantized_model: Any) -> bytes:
    """Converts a graph whose fake-quantization operations carry the ranges to int8.

    Args:
        graph: The graph it was made from.
        quantized_model: tf_keras model with the same outputs, from `quantization_aware`.
    """
    return _convert(_as_int8(_converter(graph, quantized_model)))


def output_positions(flatbuffer: bytes) -> dict[str, int]:
    """Finds which output is which by the names in the file's signature.

    TFLite orders outputs as it likes, not as the model did.

    Returns:
        Position in the interpreter's `get_output_details()` by name.
    """
    from ai_edge_litert.interpreter import Interpreter

    with quiet_tensorflow():
        interpreter = Interpreter(model_content=flatbuffer)
        order = [details["index"] for details in interpreter.get_output_details()]
        named = interpreter.get_signature_runner().get_output_details()
    return {name: order.index(details["index"]) for name, details in named.items()}


def _converter(graph: LoweredGraph, model: Any) -> Any:
    names: Sequence[str] = graph.output_names

    @tf.function(input_signature=[tf.TensorSpec((1, *graph.input_shape), tf.float32, name="image")])
    def infer(image: Any) -> dict[str, Any]:
        return dict(zip(names, model(image, training=False), strict=True))

    # The second argument keeps the names of the outputs in the file's signature.
    return tf.lite.TFLiteConverter.from_concrete_functions([infer.get_concrete_function()], model)


def _as_int8(converter: Any) -> Any:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return converter


def _convert(converter: Any) -> bytes:
    with quiet_tensorflow() as log:
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter raises bare Exception subclasses of its own
            reason = str(error).strip().splitlines() or log.last_lines() or ["no reason given"]
            raise ExportError(f"TensorFlow's converter refused the graph: {reason[0]}") from error
