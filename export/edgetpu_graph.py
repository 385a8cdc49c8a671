"""Rewrites an int8 flatbuffer into operations that the Edge TPU has, without changing what it computes.

Two things that TensorFlow's converter writes keep a network of this project off the device:

- LEAKY_RELU, which the device does not have. PRELU with a constant alpha is the same function; the constant is
  what the converter makes of Keras's PReLU with `shared_axes=[1, 2]`: (1, 1, C), int8, 127 steps of alpha / 127.
- A ReLU fused into TRANSPOSE_CONV, which raises the operation to version 4; compiler 16.0 refuses the file. Where the
  output's range begins at 0, as that of a ReLU's output does, int8 saturation already is the ReLU: without it the
  numbers are the same to the byte, and the version is 3.

Both are done on the finished file, so ranges, fine-tuning and conversion are those of the CPU's file.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.errors import ExportError

_LARGEST_INT8 = 127
_INT8_LEVELS = {schema.TensorType.INT8: (-128, 127), schema.TensorType.UINT8: (0, 255)}
_BUFFER_ALIGNMENT = 16  # as the schema asks; kernels read int32 biases in place
_ACTIVATION_BOUNDS = {
    schema.ActivationFunctionType.RELU: (0.0, np.inf),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}


def adapt_to_edgetpu(flatbuffer: bytes) -> bytes:
    """Replaces LEAKY_RELU, and activations fused into TRANSPOSE_CONV.

    Args:
        flatbuffer: An int8 model as TensorFlow's converter writes it.

    Returns:
        The same function; equal bytes for equal input.

    Raises:
        ExportError: A fused activation does more than the output's range does by itself.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer, 0))
    for graph in model.subgraphs:
        for operator in graph.operators:
            kind = model.operatorCodes[operator.opcodeIndex].builtinCode
            if kind == schema.BuiltinOperator.LEAKY_RELU:
                _become_prelu(model, graph, operator)
            elif kind == schema.BuiltinOperator.TRANSPOSE_CONV:
                _drop_fused_activation(model, graph, operator)
    _drop_unused_codes(model)
    return _pack(model)


def _become_prelu(model: Any, graph: Any, operator: Any) -> None:
    source = graph.tensors[operator.inputs[0]]
    alpha = float(operator.builtinOptions.alpha)
    operator.inputs = np.array([operator.inputs[0], _alpha_tensor(model, graph, source, alpha)], np.int32)
    operator.opcodeIndex = _code(model, schema.BuiltinOperator.PRELU, version=1)
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.NONE, None


def _alpha_tensor(model: Any, graph: Any, source: Any, alpha: float) -> int:
    """Adds the constant to the graph, once for each slope and shape; returns its index."""
    channels = int(source.shape[-1])
    shape = np.array([*[1] * (len(source.shape) - 2), channels], np.int32)  # that of an image, without the batch
    name = f"leaky_relu_slope_{alpha:g}_{'x'.join(map(str, shape))}".encode()
    for index, tensor in enumerate(graph.tensors):
        if tensor.name == name:
            return index
    buffer = schema.BufferT()
    buffer.data = np.full(channels, np.sign(alpha) * _LARGEST_INT8, np.int8).view(np.uint8)
    model.buffers.append(buffer)
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.array([abs(alpha) / _LARGEST_INT8 or 1.0], np.float32)
    quantization.zeroPoint = np.zeros(1, np.int64)
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, shape, schema.TensorType.INT8
    tensor.buffer, tensor.quantization, tensor.hasRank = len(model.buffers) - 1, quantization, True
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _drop_fused_activation(model: Any, graph: Any, operator: Any) -> None:
    options, output = operator.builtinOptions, graph.tensors[operator.outputs[0]]
    if options.fusedActivationFunction != schema.ActivationFunctionType.NONE:
        if not _saturates_alike(options.fusedActivationFunction, output):
            raise ExportError(
                f"The transposed convolution '{output.name.decode()}' has a fused activation that its int8 range does "
                f"not contain, so the Edge TPU's compiler cannot take it. Put the activation into a layer of its own."
            )
        options.fusedActivationFunction = schema.ActivationFunctionType.NONE
    has_bias = len(operator.inputs) == 4 and operator.inputs[3] >= 0
    operator.opcodeIndex = _code(model, schema.BuiltinOperator.TRANSPOSE_CONV, version=3 if has_bias else 2)


def _saturates_alike(activation: int, output: Any) -> bool:
    """Whether no int8 level of the tensor stands for a number that the activation would change."""
    bounds, levels = _ACTIVATION_BOUNDS.get(activation), _INT8_LEVELS.get(output.type)
    if bounds is None or levels is None or output.quantization is None:
        return False
    scale, zero_point = float(output.quantization.scale[0]), int(output.quantization.zeroPoint[0])
    lowest, highest = (bound / scale for bound in bounds)  # in levels, rounded as the kernels round them
    return round(lowest) + zero_point <= levels[0] and (np.isinf(highest) or round(highest) + zero_point >= levels[1])


def _code(model: Any, builtin: int, version: int) -> int:
    """Returns the index of an operator code, which is added where the model has none."""
    for index, code in enumerate(model.operatorCodes):
        if (code.builtinCode, code.version) == (builtin, version):
            return index
    code = schema.OperatorCodeT()
    # The old field has one byte; larger codes leave its largest value there.
    code.builtinCode, code.deprecatedBuiltinCode = builtin, min(builtin, 127)
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _drop_unused_codes(model: Any) -> None:
    """The compiler refuses a file for a code that no operation uses any more, too."""
    operators = [operator for graph in model.subgraphs for operator in graph.operators]
    used = sorted({operator.opcodeIndex for operator in operators})
    model.operatorCodes = [model.operatorCodes[index] for index in used]
    for operator in operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)


def _pack(model: Any) -> bytes:
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose bytes begin where the schema says; LiteRT's own packing leaves them anywhere."""

    def Pack(self, builder: Any) -> int:
        """Writes the buffer and returns where it stands."""
        data = None
        if self.data is not None and len(self.data):
            content = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(content), _BUFFER_ALIGNMENT)
            builder.head = builder.head - len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))
