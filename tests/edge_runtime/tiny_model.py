"""Builds a tiny anomaly model as a `.tflite` flatbuffer out of LiteRT's own schema, so no test needs TensorFlow.

The reconstruction is the image blurred by a 3 x 3 convolution; both latents are one convolution as large as
the image, with random weights. So a sharp mark on a smooth surface gives a high score and a bright place in
the map.
"""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge_runtime.artefact import ArtefactMetadata
from edge_runtime.calibration import Calibration
from edge_runtime.preprocessing import Preprocessing
from edge_runtime.scoring import ScoreRule

LATENT_SIZE = 8
INPUT_SCALE = 2 / 255
LATENT_SCALE = 0.02
OUTPUTS = {"latent": 0, "reconstructed_latent": 1, "reconstruction": 2}


def tiny_calibration(**changes: object) -> Calibration:
    values: dict[str, object] = {
        "threshold": 0.5,
        "score_min": 0.0,
        "score_max": 1.0,
        "method": "quantile",
        "false_alarm_rate": 0.01,
        "num_images": 200,
        "score_quantiles": tuple(np.linspace(0, 1, 101).tolist()),
        "map_low": 0.0,
        "map_high": 0.1,
        "map_threshold": 0.13,
        "num_above": 1,
    }
    return Calibration(**{**values, **changes})


def tiny_metadata(size: int = 32, channels: int = 1, *, quantized: bool = True, **changes: object) -> ArtefactMetadata:
    values: dict[str, object] = {
        "model": "ganomaly",
        "recipe": "paper",
        "preprocessing": Preprocessing(size, size, channels),
        "score_rule": ScoreRule(),
        "calibration": tiny_calibration(),
        "outputs": OUTPUTS,
        "quantization": "ptq" if quantized else "float32",
        "data": {"source": "parts", "seed": 7},
        "versions": {"tfganomaly": "0"},
    }
    return ArtefactMetadata(**{**values, **changes})


def tiny_flatbuffer(
    size: int = 32, channels: int = 1, *, quantized: bool = True, custom_operation: str | None = None
) -> bytes:
    """Return a model with input (1, size, size, channels) and the outputs `OUTPUTS`, int8 or float32.

    With `custom_operation` its operations have that name, as those of a model that was compiled for another device.
    """
    builder = _ModelBuilder(quantized)
    random = np.random.default_rng(0)
    image = builder.activation("image", (1, size, size, channels), INPUT_SCALE)
    blurred = builder.activation("reconstruction", (1, size, size, channels), INPUT_SCALE)
    latent = builder.activation("latent", (1, 1, 1, LATENT_SIZE), LATENT_SCALE)
    blurred_latent = builder.activation("reconstructed_latent", (1, 1, 1, LATENT_SIZE), LATENT_SCALE)
    blur = np.zeros((channels, 3, 3, channels))
    for channel in range(channels):
        blur[channel, :, :, channel] = 1 / 9
    projection = random.normal(0, 0.12, (LATENT_SIZE, size, size, channels))
    builder.convolution(image, blur, blurred, INPUT_SCALE, schema.Padding.SAME)
    builder.convolution(image, projection, latent, INPUT_SCALE, schema.Padding.VALID)
    builder.convolution(blurred, projection, blurred_latent, INPUT_SCALE, schema.Padding.VALID)
    return builder.to_bytes([image], [latent, blurred_latent, blurred], custom_operation)


class _ModelBuilder:
    def __init__(self, quantized: bool) -> None:
        self._quantized = quantized
        self._buffers = [schema.BufferT()]
        self._tensors: list[schema.TensorT] = []
        self._operators: list[schema.OperatorT] = []

    def activation(self, name: str, shape: tuple[int, ...], scale: float) -> int:
        kind = schema.TensorType.INT8 if self._quantized else schema.TensorType.FLOAT32
        return self._tensor(name, shape, kind, [scale], None)

    def convolution(self, source: int, kernel: np.ndarray, target: int, source_scale: float, padding: int) -> None:
        bias = np.zeros(len(kernel))
        if self._quantized:
            scale = float(np.abs(kernel).max() / 127)
            kernel_data = np.rint(kernel / scale).astype(np.int8)
            kernel_index = self._tensor("kernel", kernel.shape, schema.TensorType.INT8, [scale], kernel_data)
            bias_data, bias_type = bias.astype(np.int32), schema.TensorType.INT32
            bias_index = self._tensor("bias", bias.shape, bias_type, [scale * source_scale], bias_data)
        else:
            float32 = schema.TensorType.FLOAT32
            kernel_index = self._tensor("kernel", kernel.shape, float32, [], kernel.astype(np.float32))
            bias_index = self._tensor("bias", bias.shape, float32, [], bias.astype(np.float32))
        options = schema.Conv2DOptionsT()
        options.padding = padding
        options.strideW = options.strideH = 1
        options.fusedActivationFunction = schema.ActivationFunctionType.NONE
        operator = schema.OperatorT()
        operator.opcodeIndex = 0
        operator.inputs = [source, kernel_index, bias_index]
        operator.outputs = [target]
        operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
        operator.builtinOptions = options
        self._operators.append(operator)

    def to_bytes(self, inputs: list[int], outputs: list[int], custom_operation: str | None) -> bytes:
        graph = schema.SubGraphT()
        graph.name = b"main"
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = inputs, outputs
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
        code.version = 3 if self._quantized else 1
        if custom_operation is not None:
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
            code.customCode = custom_operation.encode()
            for operator in self._operators:
                operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.NONE, None
        model = schema.ModelT()
        model.version = 3
        model.operatorCodes = [code]
        model.subgraphs = [graph]
        model.buffers = self._buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(
        self, name: str, shape: tuple[int, ...], kind: int, scales: list[float], data: np.ndarray | None
    ) -> int:
        tensor = schema.TensorT()
        tensor.name = name.encode()
        tensor.shape = list(shape)
        tensor.type = kind
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self._buffers.append(buffer)
            tensor.buffer = len(self._buffers) - 1
        if self._quantized and scales:
            quantization = schema.QuantizationParametersT()
            quantization.scale = scales
            quantization.zeroPoint = [0]
            tensor.quantization = quantization
        self._tensors.append(tensor)
        return len(self._tensors) - 1
