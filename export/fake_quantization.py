"""Rebuilds a float graph with tensorflow-model-optimization so that it computes as the int8 file will.

Three things differ from tfmot's defaults, each of which cost accuracy:

- Ranges of activations are given, not followed by a slow moving average that starts at [-6, 6].
- Kernels of transposed convolutions are quantized for each output channel, as TFLite's kernel does and as
  post-training quantization does; tfmot takes one scale for all of them, which after folding is too coarse.
- At conversion the kernels stay float and the converter quantizes them, with the same scales: a per-channel
  fake quantization before a transposed convolution is one that the converter refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from export.activation_ranges import MOVING_LAYERS, ActivationRange
from export.input_levels import HIGHEST_INT8_INPUT, LOWEST_INT8_INPUT
from export.lowering import LoweredGraph

_PREFIX = "quant_"


def add_fake_quantization(graph: LoweredGraph, ranges: Mapping[str, ActivationRange]) -> Any:
    """Builds the graph's quantized counterpart, with weights of its own.

    Args:
        graph: The graph for int8 inputs; not touched.
        ranges: Range of the output of each layer that computes, by name, from `observe_ranges`.

    Returns:
        tf_keras model with the outputs of `graph.model`. Called with `training=True` it computes as int8
        does, kernels included; with `training=False` kernels are float, which is the form to convert. It takes
        `int8_inputs`.
    """
    custom_objects = {kind.__name__: kind for kind in (LayerQuantization, KernelQuantizer, RangeQuantizer)}
    tf_keras.backend.reset_uids()  # tfmot numbers its input layer, and names are part of the file's bytes
    with tfmot.quantization.keras.quantize_scope(custom_objects):
        annotated = tf_keras.models.clone_model(graph.model, clone_function=_annotate)
        annotated.set_weights(graph.model.get_weights())
        quantized = tfmot.quantization.keras.quantize_apply(annotated, quantized_layer_name_prefix=_PREFIX)
    for layer in quantized.layers:
        if hasattr(layer, "quantizer_vars"):  # tfmot's layer after the input
            _assign(layer.quantizer_vars, ActivationRange(LOWEST_INT8_INPUT, HIGHEST_INT8_INPUT))
        elif getattr(layer, "_output_quantizers", None):
            _assign(layer._output_quantizer_vars, ranges[layer.name.removeprefix(_PREFIX)])
    return quantized


class RangeQuantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """Rounds a tensor to 256 levels of a range that is set from outside."""

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Adds the two ends of the range to the layer's variables."""
        ends = {"min_var": (f"{name}_min", -1.0), "max_var": (f"{name}_max", 1.0)}
        return {
            key: layer.add_weight(weight, shape=(), initializer=tf_keras.initializers.Constant(value), trainable=False)
            for key, (weight, value) in ends.items()
        }

    def __call__(self, inputs: Any, training: bool, weights: Mapping[str, Any], **_: Any) -> Any:
        """Returns the rounded tensor."""
        return tf.quantization.fake_quant_with_min_max_vars(inputs, weights["min_var"], weights["max_var"])

    def get_config(self) -> dict[str, Any]:
        """No settings."""
        return {}


class KernelQuantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """Rounds a kernel to -127 .. 127 steps of its largest absolute value, for each output channel.

    Args:
        transposed: Whether the output channels are the kernel's third axis (transposed convolution) and not
            the last.
    """

    def __init__(self, transposed: bool) -> None:
        self.transposed = transposed

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Needs no variables: the range is that of the kernel itself."""
        return {}

    def __call__(self, inputs: Any, training: bool, weights: Mapping[str, Any], **_: Any) -> Any:
        """Returns the rounded kernel in training, the kernel itself for the converter."""
        if not training:
            return inputs
        kernel = tf.transpose(inputs, (0, 1, 3, 2)) if self.transposed else inputs
        largest = tf.reduce_max(tf.abs(tf.stop_gradient(kernel)), axis=tf.range(tf.rank(kernel) - 1))
        largest = tf.maximum(largest, 1e-9)  # a channel of zeros has no step
        rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -largest, largest, narrow_range=True)
        return tf.transpose(rounded, (0, 1, 3, 2)) if self.transposed else rounded

    def get_config(self) -> dict[str, Any]:
        """The constructor's argument."""
        return {"transposed": self.transposed}


class LayerQuantization(tfmot.quantization.keras.QuantizeConfig):
    """Says what of a layer is quantized: its kernel, if it has one, and its output.

    Args:
        kernel: "none", "plain" or "transposed".
        output: Whether the output has a range of its own.
    """

    def __init__(self, kernel: str, output: bool) -> None:
        self.kernel = kernel
        self.output = output

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """The kernel; the bias is int32 in the file and needs no range."""
        return [] if self.kernel == "none" else [(layer.kernel, KernelQuantizer(self.kernel == "transposed"))]

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """None: a fused activation is part of the output."""
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Puts the rounded kernel in the layer's hands for one call."""
        if quantize_weights:
            (layer.kernel,) = quantize_weights

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Nothing to set."""
        del layer, quantize_activations  # AutoGraph cannot read a function without a statement

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """The output's range."""
        return [RangeQuantizer()] if self.output else []

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"kernel": self.kernel, "output": self.output}


def _annotate(layer: Any) -> Any:
    copy = layer.__class__.from_config(layer.get_config())
    if isinstance(layer, tf_keras.layers.InputLayer):
        return copy
    if isinstance(layer, tf_keras.layers.Conv2DTranspose):
        kernel = "transposed"
    elif isinstance(layer, (tf_keras.layers.Conv2D, tf_keras.layers.Dense)):
        kernel = "plain"
    else:
        kernel = "none"
    quantization = LayerQuantization(kernel, not isinstance(layer, MOVING_LAYERS))
    return tfmot.quantization.keras.quantize_annotate_layer(copy, quantization)


def _assign(variables: Mapping[str, Any], value_range: ActivationRange) -> None:
    variables["min_var"].assign(value_range.low)
    variables["max_var"].assign(value_range.high)
