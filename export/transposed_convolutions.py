"""Rewrites transposed convolutions as convolutions, which a CPU runs faster: the same function in another form.

A transposed convolution of stride s spreads each pixel of a map over a window of a map s times larger. Read from the
other end, the output pixels `s j + e` of an axis are, for each e below s, an ordinary convolution of the small map
with every s-th tap of the kernel: a phase. For the same multiplications LiteRT's TRANSPOSE_CONV takes 1.5 to 6 times
as long as its CONV_2D. Three forms, chosen by shape:

- *phases*: a convolution for each of the s * s phases, interleaved afterwards. No multiplication more than before.
- *packed*: one convolution whose output channels are all phases of the channels wanted, over windows that reach past
  the map's edge; what no output pixel wants is cut off. For few channels, which fill a matrix kernel only together.
- *single pixel*: the windows of a 1 x 1 map do not overlap, so it is one matrix product.

Measured in docs/results.md, decided in docs/decisions/0006-transposed-convolutions.md. Not for the Edge TPU: it has
TRANSPOSE_CONV, and no DEPTH_TO_SPACE.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras

from export.lowering import LoweredGraph

# XNNPACK's widest int8 kernels compute 16 output channels at once, however few are wanted.
_CHANNELS_AT_ONCE = 16
# Phases of 16 channels are 15 to 20 % slower than their multiplications say (each reads the map anew), those of 64 are
# not. Up to this ratio of multiplications packing them wins or costs next to nothing.
_MOST_PACKING_COSTS = 1.07


def replace_transposed_convolutions(graph: LoweredGraph) -> LoweredGraph:
    """Rebuilds a graph with a faster form in the place of each transposed convolution that has one.

    Args:
        graph: The float graph; not touched.

    Returns:
        A graph of the same function with weights of its own. A transposed convolution of more than one pixel stays as
        it is where its stride is 1 or does not divide its kernel; any with dilation, output padding or unequal strides.
    """
    tensors: dict[str, Any] = {}
    for layer in graph.model.layers:
        inputs = [tensors[source.name] for source in _sources(layer)]
        if _is_single_pixel(layer):
            tensors[layer.name] = _single_pixel_form(layer, *inputs)
        elif _has_phases(layer):
            form = _packed_form if _is_better_packed(layer) else _phases_form
            tensors[layer.name] = form(layer, *inputs)
        else:
            tensors[layer.name] = _copied(layer, inputs)
    image = tensors[graph.model.inputs[0].node.layer.name]
    outputs = [tensors[output.node.layer.name] for output in graph.model.outputs]
    return replace(graph, model=tf_keras.Model(image, outputs, name=graph.model.name))


@tf_keras.utils.register_keras_serializable(package="tfganomaly")
class InterleavePhases(tf_keras.layers.Layer):
    """Lays the phases of a map side by side: (B, h, w, C) each to (B, s h, s w, C). It only moves numbers.

    Args:
        stride: s, the phases of one axis.
    """

    def __init__(self, stride: int, **keras_arguments: Any) -> None:
        super().__init__(**keras_arguments)
        self.stride = stride

    def call(self, inputs: Any) -> Any:
        """Takes s * s maps, the phases of a row after one another, or one map with all of them as its channels."""
        channels = tf.concat(inputs, axis=-1) if isinstance(inputs, (list, tuple)) else inputs
        return tf.nn.depth_to_space(channels, self.stride)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "stride": self.stride}


class _Phase(NamedTuple):
    """The output pixels `stride j + offset` of one axis as a convolution.

    Attributes:
        first_tap: Its kernel is every `stride`-th tap from this one on, in reverse order.
        padding: Pixels to pad the input with, before and after.
    """

    first_tap: int
    padding: tuple[int, int]


def _phase(layer: Any, axis: int, offset: int) -> _Phase:
    kernel_size, stride = layer.kernel_size[axis], layer.strides[axis]
    windows_later, first_tap = divmod(offset + _cut(layer, axis), stride)
    overlap = kernel_size // stride - 1
    grown = overlap if layer.padding == "valid" else 0
    return _Phase(first_tap, (overlap - windows_later, grown + windows_later))


def _cut(layer: Any, axis: int) -> int:
    """Pixels that "same" padding cuts off the start of the whole output, in which pixel i begins at `stride i`."""
    return (layer.kernel_size[axis] - layer.strides[axis]) // 2 if layer.padding == "same" else 0


def _has_phases(layer: Any) -> bool:
    if not _is_plain_transposed_convolution(layer):
        return False
    stride = layer.strides[0]
    return stride == layer.strides[1] > 1 and all(size % stride == 0 for size in layer.kernel_size)


def _is_better_packed(layer: Any) -> bool:
    """Compares output pixels times channels, both as they are computed: with those at the edge that are cut off."""
    height, width = layer.input_shape[1:3]
    stride = layer.strides[0]
    windows = (height + layer.kernel_size[0] // stride - 1) * (width + layer.kernel_size[1] // stride - 1)
    wanted = (windows if layer.padding == "valid" else height * width) * stride**2
    packed_channels = _computed_channels(stride**2 * layer.filters)
    return windows * packed_channels <= _MOST_PACKING_COSTS * wanted * _computed_channels(layer.filters)


def _computed_channels(wanted: int) -> int:
    return -(-wanted // _CHANNELS_AT_ONCE) * _CHANNELS_AT_ONCE


def _is_single_pixel(layer: Any) -> bool:
    if not _is_plain_transposed_convolution(layer) or layer.input_shape[1:3] != (1, 1):
        return False
    return all(size >= stride for size, stride in zip(layer.kernel_size, layer.strides, strict=True))


def _is_plain_transposed_convolution(layer: Any) -> bool:
    return (
        isinstance(layer, tf_keras.layers.Conv2DTranspose)
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.output_padding is None
    )


def _phases_form(layer: Any, tensor: Any) -> Any:
    kernel, bias = _weights(layer)  # (kh, kw, in, out)
    stride = layer.strides[0]
    phases = []
    for row, column in product(range(stride), repeat=2):
        rows, columns = _phase(layer, 0, row), _phase(layer, 1, column)
        name = f"{layer.name}_phase{row}{column}"
        taps = kernel[rows.first_tap :: stride, columns.first_tap :: stride][::-1, ::-1]
        padded = _padded(tensor, (rows.padding, columns.padding), name)
        phases.append(_convolved(padded, taps, bias, layer.activation, name))
    return InterleavePhases(stride, name=f"{layer.name}_interleaved")(phases)


def _packed_form(layer: Any, tensor: Any) -> Any:
    kernel, bias = _weights(layer)  # (kh, kw, in, out)
    stride = layer.strides[0]
    taps = np.concatenate(
        [kernel[row::stride, column::stride][::-1, ::-1] for row, column in product(range(stride), repeat=2)], axis=-1
    )
    overlaps = [size // stride - 1 for size in layer.kernel_size]
    padded = _padded(tensor, tuple((overlap, overlap) for overlap in overlaps), layer.name)
    packed = _convolved(padded, taps, np.tile(bias, stride**2), layer.activation, f"{layer.name}_packed")
    whole = InterleavePhases(stride, name=f"{layer.name}_interleaved")(packed)
    if layer.padding == "valid" or not any(overlaps):
        return whole
    cuts = tuple((_cut(layer, axis), stride * overlaps[axis] - _cut(layer, axis)) for axis in (0, 1))
    return tf_keras.layers.Cropping2D(cuts, name=f"{layer.name}_cut")(whole)


def _single_pixel_form(layer: Any, tensor: Any) -> Any:
    kernel, bias = _weights(layer)  # (kh, kw, in, out)
    height, width, filters = layer.output_shape[1:]
    top, left = _cut(layer, 0), _cut(layer, 1)
    taps = (
        kernel[top : top + height, left : left + width]
        .transpose(2, 0, 1, 3)
        .reshape(1, 1, -1, height * width * filters)
    )
    pixels = _convolved(tensor, taps, np.tile(bias, height * width), layer.activation, f"{layer.name}_product")
    return tf_keras.layers.Reshape((height, width, filters), name=f"{layer.name}_map")(pixels)


def _weights(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Kernel of a transposed convolution with its axes as a convolution's, and its bias."""
    kernel = layer.kernel.numpy().transpose(0, 1, 3, 2)
    return kernel, layer.bias.numpy() if layer.use_bias else np.zeros(kernel.shape[-1], np.float32)


def _padded(tensor: Any, padding: tuple[tuple[int, int], ...], name: str) -> Any:
    if not np.any(padding):
        return tensor
    return tf_keras.layers.ZeroPadding2D(padding, name=f"{name}_padding")(tensor)


def _convolved(tensor: Any, kernel: np.ndarray, bias: np.ndarray, activation: Any, name: str) -> Any:
    """Convolves without padding; kernel (kh, kw, in, out)."""
    convolution = tf_keras.layers.Conv2D(kernel.shape[-1], kernel.shape[:2], activation=activation, name=name)
    convolved = convolution(tensor)
    convolution.set_weights([kernel, bias])
    return convolved


def _sources(layer: Any) -> list[Any]:
    """The layers that a layer of a lowered graph reads; each is called once there."""
    return list(tf.nest.flatten(layer.inbound_nodes[0].inbound_layers))


def _copied(layer: Any, inputs: list[Any]) -> Any:
    copy = layer.__class__.from_config(layer.get_config())
    if not inputs:
        return copy.output
    output = copy(inputs if len(inputs) > 1 else inputs[0])
    copy.set_weights(layer.get_weights())
    return output
