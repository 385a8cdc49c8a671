"""Writes a lowered float graph as ONNX, the form in which other runtimes take a network.

Channels come first, padding is explicit, weights are the graph's own: what PyTorch's exporter writes of such a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from export.lowering import LoweredGraph

OPSET = 17
# Opset 17 goes with it; onnx would write its newest, which a runtime of the same month may not read.
_IR_VERSION = 9
_TO_THE_END = 2**31
_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def write_onnx(graph: LoweredGraph, path: Path) -> None:
    """Writes `graph` with a batch of one; input "image" and the graph's outputs float32 (1, C, H, W).

    Raises:
        SystemExit: The graph has a layer that this benchmark does not know.
    """
    import onnx
    from onnx import TensorProto, helper

    height, width, channels = graph.input_shape
    writer = _Writer()
    for layer in graph.model.layers:
        writer.add(layer)
    outputs = []
    for name, tensor in zip(graph.output_names, graph.model.outputs, strict=True):
        writer.node("Identity", [writer.results[tensor.node.layer.name]], name)
        shape = [1, tensor.shape[3], tensor.shape[1], tensor.shape[2]]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, height, width])
    onnx_graph = helper.make_graph(writer.nodes, "network", [image], outputs, writer.constants)
    model = helper.make_model(onnx_graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


class _Writer:
    """Collects nodes and constants; knows under which name each layer's result is found."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.results: dict[str, str] = {}
        self.pending_padding: dict[str, list[tuple[int, int]]] = {}

    def add(self, layer: Any) -> None:
        """Adds one layer of a lowered graph."""
        sources = layer.inbound_nodes[0].inbound_layers
        sources = sources if isinstance(sources, list) else [sources]
        inputs = [self.results[source.name] for source in sources]
        kind = type(layer).__name__
        name = layer.name
        if kind == "InputLayer":
            self.results[name] = "image"
        elif kind == "ZeroPadding2D":  # becomes the convolution's own
            self.results[name] = inputs[0]
            self.pending_padding[name] = [tuple(pads) for pads in layer.padding]
        elif kind == "InterleavePhases":
            phases = inputs[0] if len(inputs) == 1 else self.node("Concat", inputs, f"{name}_phases", axis=1)
            self.results[name] = self.node("DepthToSpace", [phases], f"{name}_out", blocksize=layer.stride)
        elif kind == "Cropping2D":
            (top, bottom), (left, right) = layer.cropping
            starts = self.integers(f"{name}_starts", [top, left])
            stops = self.integers(f"{name}_stops", [-bottom or _TO_THE_END, -right or _TO_THE_END])
            axes = self.integers(f"{name}_axes", [2, 3])
            self.results[name] = self.node("Slice", [inputs[0], starts, stops, axes], f"{name}_out")
        elif kind == "Reshape" and tuple(layer.input_shape[1:3]) == (1, 1):
            shape = self.integers(f"{name}_shape", [1, *layer.target_shape])
            pixels = self.node("Reshape", [inputs[0], shape], f"{name}_pixels")
            self.results[name] = self.node("Transpose", [pixels], f"{name}_out", perm=[0, 3, 1, 2])
        elif kind in ("Conv2D", "Conv2DTranspose"):
            self.results[name] = self._convolution(kind, layer, inputs[0], self.pending_padding.get(sources[0].name))
        elif kind == "LeakyReLU":
            self.results[name] = self.node("LeakyRelu", inputs, f"{name}_out", alpha=float(layer.alpha))
        elif kind == "PReLU":
            slopes = np.broadcast_to(layer.alpha.numpy(), (1, 1, layer.input_shape[-1])).transpose(2, 0, 1)
            self.results[name] = self.node("PRelu", [*inputs, self.constant(f"{name}_slope", slopes)], f"{name}_out")
        elif kind == "ReLU" and layer.max_value is None and not layer.negative_slope and not layer.threshold:
            self.results[name] = self.node("Relu", inputs, f"{name}_out")
        elif kind == "Activation":
            self.results[name] = self._activated(layer, inputs[0])
        elif kind == "Add":
            self.results[name] = self.node("Add", inputs, f"{name}_out")
        elif kind == "Concatenate":
            self.results[name] = self.node("Concat", inputs, f"{name}_out", axis=1)
        else:
            raise SystemExit(f"Layer '{name}' is a {kind}, which this benchmark cannot write as ONNX.")

    def node(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Adds an operation and returns the name of its result."""
        from onnx import helper

        self.nodes.append(helper.make_node(operation, inputs, [output], f"{output}_{operation}", **attributes))
        return output

    def constant(self, name: str, values: np.ndarray) -> str:
        """Adds a float32 constant and returns its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def integers(self, name: str, values: list[int]) -> str:
        """Adds an int64 constant and returns its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def _convolution(self, kind: str, layer: Any, source: str, padding: list[tuple[int, int]] | None) -> str:
        # (kh, kw, in, out) to (out, in, kh, kw), and (kh, kw, out, in) of a transposed one to (in, out, kh, kw).
        inputs = [source, self.constant(f"{layer.name}_kernel", layer.kernel.numpy().transpose(3, 2, 0, 1))]
        if layer.use_bias:
            inputs.append(self.constant(f"{layer.name}_bias", layer.bias.numpy()))
        transposed = kind == "Conv2DTranspose"
        pads = padding or [
            _padding(kernel, stride, size, layer.padding, transposed)
            for kernel, stride, size in zip(layer.kernel_size, layer.strides, layer.input_shape[1:3], strict=True)
        ]
        result = self.node(
            "ConvTranspose" if transposed else "Conv",
            inputs,
            f"{layer.name}_map",
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.strides),
            pads=[before for before, _ in pads] + [after for _, after in pads],
        )
        return self._activated(layer, result)

    def _activated(self, layer: Any, source: str) -> str:
        activation = layer.activation.__name__
        return source if activation == "linear" else self.node(_ACTIVATIONS[activation], [source], f"{layer.name}_out")


def _padding(kernel: int, stride: int, size: int, rule: str, transposed: bool) -> tuple[int, int]:
    """What "same" pads an axis with, or cuts off a transposed convolution's: before and after."""
    if rule == "valid":
        return 0, 0
    total = max(kernel - stride, 0) if transposed else max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
