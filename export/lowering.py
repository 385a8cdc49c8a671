"""Lowers a flat Keras 3 graph to the tf_keras graph that quantization-aware training understands.

tensorflow-model-optimization knows tf_keras only, and has no pattern for a transposed convolution followed
by batch normalization: left apart, the int8 file would fall back to float there. So batch normalization is
folded into the kernel and bias before it, and a ReLU becomes its convolution's own activation:

    y = gamma * (k * x + b - mean) / sqrt(variance + epsilon) + beta
      = (k * s) * x + (b - mean) * s + beta,    s = gamma / sqrt(variance + epsilon)

The graph may be any acyclic graph of the layers in `LOWERINGS`: branches, skip connections, layers used twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tf_keras

from export.errors import ExportError
from export.layer_graph import Call, LayerGraph, outputs_by_name, read_graph


@dataclass(frozen=True)
class LoweredGraph:
    """A model's inference graph in tf_keras.

    Attributes:
        model: tf_keras functional model; input float32 `(None, H, W, C)` in [-1, 1], a list of outputs.
        output_names: What each output is, in the model's order: names out of `edge_runtime.artefact.OUTPUT_NAMES`.
    """

    model: Any
    output_names: tuple[str, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the input image."""
        _, height, width, channels = self.model.input_shape
        return height, width, channels


def lower_graph(model: keras.Model) -> LoweredGraph:
    """Rebuilds a Keras 3 inference graph in tf_keras, with batch normalization folded.

    Args:
        model: Flat functional model, one image input with static height and width; its outputs are a dict by
            name, or a list: latent, reconstructed latent, reconstruction.

    Returns:
        A graph that computes the same function with weights of its own; `model` is not touched.

    Raises:
        ExportError: A layer has no lowering, or a batch normalization has no convolution to fold into.
    """
    graph = read_graph(model)
    absorbed_by = _find_absorbed(graph)
    tensors: dict[Call, Any] = {}
    weights: list[tuple[Any, list[np.ndarray]]] = []
    for call, layer in graph.layers.items():
        if isinstance(layer, keras.layers.InputLayer):
            tensors[call] = tf_keras.Input(layer.batch_shape[1:], name=layer.name)
            continue
        inputs = [tensors[source] for source in graph.sources[call]]
        if call in absorbed_by or isinstance(layer, keras.layers.Dropout):
            tensors[call] = inputs[0]
            continue
        try:
            lowering = next(LOWERINGS[kind] for kind in type(layer).__mro__ if kind in LOWERINGS)
        except StopIteration:
            known = ", ".join(sorted(kind.__name__ for kind in LOWERINGS))
            raise ExportError(
                f"Layer '{layer.name}' is a {type(layer).__name__}, which the export cannot lower. "
                f"Build the inference graph from these layers: {known}, BatchNormalization."
            ) from None
        absorbed = [graph.layers[other] for other, owner in absorbed_by.items() if owner == call]
        name = f"{layer.name}_call{call[1]}" if call[1] else layer.name
        lowered, values = lowering(layer, absorbed, name)
        tensors[call] = lowered(inputs if len(inputs) > 1 else inputs[0])
        weights.append((lowered, values))
        if isinstance(layer, _KERNEL_LAYERS) and _activation_of(layer) not in _FUSED_ACTIVATIONS:
            tensors[call] = tf_keras.layers.Activation(_activation_of(layer), name=f"{name}_act")(tensors[call])
    (image,) = (tensors[call] for call in graph.inputs)
    lowered_model = tf_keras.Model(image, [tensors[call] for call in graph.outputs.values()], name="inference_graph")
    for lowered, values in weights:
        lowered.set_weights(values)
    return LoweredGraph(lowered_model, tuple(graph.outputs))


def check_same_function(model: keras.Model, graph: LoweredGraph, images: np.ndarray) -> float:
    """Checks that the lowered graph gives the model's outputs on real images.

    Args:
        model: The graph that was lowered.
        graph: What it became.
        images: float32 `(B, H, W, C)` in [-1, 1].

    Returns:
        The largest difference of any output value, relative to that output's largest magnitude.

    Raises:
        ExportError: An output differs by more than float rounding explains.
    """
    expected = outputs_by_name(model(images, training=False))
    given = dict(zip(graph.output_names, graph.model(images, training=False), strict=True))
    worst = 0.0
    for name, value in expected.items():
        reference = np.asarray(value)
        difference = np.abs(reference - np.asarray(given[name])).max() / max(np.abs(reference).max(), 1e-12)
        worst = max(worst, float(difference))
        # Folding rounds differently: 1e-6 to 1e-5 is usual, a wrong fold gives 0.01 and more.
        if not difference < 1e-3:
            raise ExportError(
                f"The lowered graph's '{name}' differs from the model's by {difference:.2g} of its range on "
                f"{len(images)} images; expected at most 0.001. The model uses a layer in a way that "
                f"export/lowering.py does not know."
            )
    return worst


def _find_absorbed(graph: LayerGraph) -> dict[Call, Call]:
    """Finds batch normalizations and ReLUs that the convolution before them can do as well.

    Only where nothing else reads the tensor in between.

    Returns:
        The absorbing call by the absorbed one, in the graph's order.

    Raises:
        ExportError: A batch normalization cannot be absorbed.
    """
    readers, outputs = graph.readers, set(graph.outputs.values())
    absorbed: dict[Call, Call] = {}
    activated: set[Call] = set()
    for call, layer in graph.layers.items():
        if len(graph.sources[call]) != 1:
            continue
        (source,) = graph.sources[call]
        owner = absorbed.get(source, source)
        free = readers[source] == 1 and source not in outputs and owner not in activated
        foldable = free and _is_linear_kernel_layer(graph.layers[owner])
        if isinstance(layer, keras.layers.BatchNormalization):
            if not foldable:
                raise ExportError(
                    f"Batch normalization '{layer.name}' follows '{source[0]}'; it can be folded only into a "
                    f"convolution or dense layer that is followed by nothing else and has no activation."
                )
            absorbed[call] = owner
        elif foldable and _is_plain_relu(layer):
            absorbed[call] = owner
            activated.add(owner)
    return absorbed


def _is_linear_kernel_layer(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, _KERNEL_LAYERS) and _activation_of(layer) == "linear"


def _is_plain_relu(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return isinstance(layer, keras.layers.Activation) and _activation_of(layer) == "relu"


def _activation_of(layer: keras.layers.Layer) -> Any:
    """The activation's name in tf_keras, or the description of one that has none."""
    return keras.activations.serialize(layer.activation)


def _folded_weights(
    layer: keras.layers.Layer, absorbed: list[keras.layers.Layer], output_axis: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Kernel and bias of a layer with the batch normalizations after it multiplied in.

    Args:
        layer: Conv2D, Conv2DTranspose or Dense.
        absorbed: The layers it takes over.
        output_axis: Which axis of the kernel counts output channels: the last, but the third of a
            Conv2DTranspose.
    """
    kernel = np.asarray(layer.kernel, np.float64)
    bias = np.asarray(layer.bias, np.float64) if layer.use_bias else None
    for norm in absorbed:
        if not isinstance(norm, keras.layers.BatchNormalization):
            continue
        scale = 1.0 / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
        if norm.scale:
            scale = scale * np.asarray(norm.gamma, np.float64)
        shape = [1] * kernel.ndim
        shape[output_axis] = -1
        kernel = kernel * scale.reshape(shape)
        bias = ((0.0 if bias is None else bias) - np.asarray(norm.moving_mean, np.float64)) * scale
        if norm.center:
            bias = bias + np.asarray(norm.beta, np.float64)
    return kernel.astype(np.float32), None if bias is None else bias.astype(np.float32)


_Lowered = tuple[Any, list[np.ndarray]]


def _lower_kernel_layer(
    kind: Any, copied: tuple[str, ...], output_axis: int
) -> Callable[[keras.layers.Layer, list[keras.layers.Layer], str], _Lowered]:
    """Makes the lowering of a layer with kernel and bias, of its activations ReLU alone."""

    def lowering(layer: keras.layers.Layer, absorbed: list[keras.layers.Layer], name: str) -> _Lowered:
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise ExportError(f"Layer '{layer.name}' is channels_first; expected channels_last.")
        kernel, bias = _folded_weights(layer, absorbed, output_axis)
        is_relu = _activation_of(layer) == "relu" or any(_is_plain_relu(other) for other in absorbed)
        settings = {key: getattr(layer, key) for key in copied}
        lowered = kind(**settings, use_bias=bias is not None, activation="relu" if is_relu else None, name=name)
        return lowered, [kernel] if bias is None else [kernel, bias]

    return lowering


def _lower_plain_layer(
    kind: Any, renamed: Mapping[str, str]
) -> Callable[[keras.layers.Layer, list[keras.layers.Layer], str], _Lowered]:
    """Makes the lowering of a layer without weights: tf_keras argument name to Keras 3 attribute."""

    def lowering(layer: keras.layers.Layer, _: list[keras.layers.Layer], name: str) -> _Lowered:
        return kind(**{new: getattr(layer, old) for new, old in renamed.items()}, name=name), []

    return lowering


def _lower_activation(layer: keras.layers.Layer, _: list[keras.layers.Layer], name: str) -> _Lowered:
    return tf_keras.layers.Activation(_activation_of(layer), name=name), []


# Any other one becomes a layer of its own, which needs a range for what it reads.
_FUSED_ACTIVATIONS = ("linear", "relu")
_KERNEL_LAYERS = (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.Dense)

# What is known. Each entry keeps to operations that exist in int8 and that tfmot can observe.
LOWERINGS: Mapping[type, Callable[[keras.layers.Layer, list[keras.layers.Layer], str], _Lowered]] = {
    keras.layers.Conv2D: _lower_kernel_layer(
        tf_keras.layers.Conv2D,
        ("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups"),
        -1,
    ),
    keras.layers.Conv2DTranspose: _lower_kernel_layer(
        tf_keras.layers.Conv2DTranspose,
        ("filters", "kernel_size", "strides", "padding", "output_padding", "dilation_rate"),
        2,
    ),
    keras.layers.Dense: _lower_kernel_layer(tf_keras.layers.Dense, ("units",), -1),
    keras.layers.LeakyReLU: _lower_plain_layer(tf_keras.layers.LeakyReLU, {"alpha": "negative_slope"}),
    keras.layers.ReLU: _lower_plain_layer(
        tf_keras.layers.ReLU,
        {"max_value": "max_value", "negative_slope": "negative_slope", "threshold": "threshold"},
    ),
    keras.layers.Activation: _lower_activation,
    keras.layers.Concatenate: _lower_plain_layer(tf_keras.layers.Concatenate, {"axis": "axis"}),
    keras.layers.Add: _lower_plain_layer(tf_keras.layers.Add, {}),
    keras.layers.Flatten: _lower_plain_layer(tf_keras.layers.Flatten, {}),
    keras.layers.Reshape: _lower_plain_layer(tf_keras.layers.Reshape, {"target_shape": "target_shape"}),
}
