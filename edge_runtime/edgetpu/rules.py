"""What the Edge TPU can run, by the vendor's table for compiler 16.0 and runtime 14: one rule an operation.

A rule looks at one operation alone and says why it does not map. What becomes of the whole graph is decided in
`check.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from edge_runtime.flatbuffer import OperationInfo, TensorInfo

# Into which the compiler puts all that the device runs.
COMPILED_OPERATION = "edgetpu-custom-op"
QUANTIZED_TYPES = ("INT8", "UINT8")
SIZE_DEPENDENT = "maps for some sizes only; the compiler decides"
_MOST_SOFTMAX_ELEMENTS = 16_000

Rule = Callable[[OperationInfo], str]
"""Takes an operation, returns why it does not map; an empty text where nothing is against it."""


@dataclass(frozen=True)
class SupportedOperation:
    """One line of the vendor's table.

    Attributes:
        latest_version: The newest version of the operation that compiler 16.0 can parse. It refuses the whole file
            where it meets a newer one. Three are known from its own refusals (TRANSPOSE_CONV 4, CONV_2D 6, QUANTIZE
            3); the others are those of TensorFlow Lite in the spring of 2021, when it was built.
        rules: What else must hold.
        is_size_dependent: Whether the compiler may refuse it for its sizes, by limits that are not published.
    """

    latest_version: int
    rules: tuple[Rule, ...] = ()
    is_size_dependent: bool = False


def reason_against(operation: OperationInfo) -> str:
    """Says why the Edge TPU does not run an operation.

    Args:
        operation: What `inspect_flatbuffer` read.

    Returns:
        One clause for people, empty where it maps.
    """
    if operation.is_custom:
        return "a custom operation, which only the CPU can have"
    supported = SUPPORTED_OPERATIONS.get(operation.name)
    if supported is None:
        hint = REPLACEMENTS.get(operation.name)
        return "the Edge TPU does not have this operation" + (f"; {hint}" if hint else "")
    if operation.version > supported.latest_version:
        return version_reason(operation)
    if not operation.inputs or not operation.outputs:
        return "has no input or no output"
    for rule in (_quantized_types, _static_shapes, *supported.rules, _three_innermost_dimensions):
        reason = rule(operation)
        if reason:
            return reason
    return ""


def is_version_unknown(operation: OperationInfo) -> bool:
    """Whether the compiler refuses the whole file because of this operation's version."""
    supported = SUPPORTED_OPERATIONS.get(operation.name)
    return supported is not None and operation.version > supported.latest_version


def version_reason(operation: OperationInfo) -> str:
    """The clause about a version that is too new."""
    latest = SUPPORTED_OPERATIONS[operation.name].latest_version
    return f"version {operation.version}; compiler 16.0 knows up to {latest} and refuses the whole file"


def _activations(operation: OperationInfo) -> list[TensorInfo]:
    return [tensor for tensor in (*operation.inputs, *operation.outputs) if not tensor.is_constant]


def _quantized_types(operation: OperationInfo) -> str:
    for tensor in _activations(operation):
        if tensor.type not in QUANTIZED_TYPES:
            return f"works on {tensor.type}; INT8 or UINT8 is needed"
        if not tensor.scales:
            return f"'{tensor.name}' is {tensor.type} without a scale; a quantized model is needed"
    wrong = [tensor for tensor in operation.inputs if tensor.type not in (*QUANTIZED_TYPES, "INT32")]
    return f"has constants of type {wrong[0].type}; INT8, UINT8 and INT32 are known" if wrong else ""


def _static_shapes(operation: OperationInfo) -> str:
    for tensor in (*operation.inputs, *operation.outputs):
        if tensor.has_dynamic_size:
            return f"'{tensor.name}' has a size that is known only at run time"
    return ""


def _three_innermost_dimensions(operation: OperationInfo) -> str:
    for tensor in _activations(operation):
        if any(size != 1 for size in tensor.shape[:-3]):
            shown = " x ".join(map(str, tensor.shape))
            return f"works on {shown}; only the three innermost sizes may be above 1, so the batch is 1"
    return ""


def _no_fused_activation(operation: OperationInfo) -> str:
    return f"has a fused {operation.fused_activation}" if operation.fused_activation != "NONE" else ""


def _constant_weights(operation: OperationInfo) -> str:
    """Beside the image: the kernel, and the bias where there is one."""
    beside = [tensor for tensor in operation.inputs[1:] if not tensor.is_constant]
    if operation.name == "TRANSPOSE_CONV":  # its inputs are the output's size, the kernel, the image, the bias
        beside = [tensor for tensor in (*operation.inputs[1:2], *operation.inputs[3:]) if not tensor.is_constant]
    if len(operation.inputs) < 2 or beside:
        return "its weights are not constant, so they cannot be put on the chip beforehand"
    return ""


def _equal_dilation(operation: OperationInfo) -> str:
    across, along = (operation.options.get(f"dilation{axis}Factor", 1) for axis in "WH")
    return f"is dilated by {along} x {across}; equal numbers are needed" if across != along else ""


def _only_zeros_beside_one_tensor(operation: OperationInfo) -> str:
    constants = [tensor for tensor in operation.inputs if tensor.is_constant]
    if constants and (len(operation.inputs) != 2 or not all(tensor.is_all_zero for tensor in constants)):
        return "joins a constant; only one tensor with zeros beside it can be"
    return ""


def _one_dimensional_alpha(operation: OperationInfo) -> str:
    if len(operation.inputs) < 2 or not operation.inputs[1].is_constant:
        return "its alpha is not a constant"
    alpha = operation.inputs[1]
    if any(size != 1 for size in alpha.shape[:-1]):
        return f"its alpha is {' x '.join(map(str, alpha.shape))}; one number a channel is needed (shared_axes=[1, 2])"
    return ""


def _default_weights(operation: OperationInfo) -> str:
    if operation.options.get("weightsFormat", 0):
        return "its weights are shuffled; the default format is needed"
    shape = operation.outputs[0].shape if operation.outputs else ()
    return "gives more than one vector; its output must be one-dimensional" if any(n != 1 for n in shape[:-1]) else ""


def _reduced_axes(operation: OperationInfo) -> tuple[int, ...] | None:
    """The axes from 0, or None where they are not constant."""
    if len(operation.inputs) < 2 or not operation.inputs[1].is_constant:
        return None
    rank = len(operation.inputs[0].shape)
    return tuple(axis % rank for axis in operation.inputs[1].constant_values) if rank else ()


def _not_over_batch(operation: OperationInfo) -> str:
    axes = _reduced_axes(operation)
    if axes is None:
        return "its axes are not constant"
    # With fewer than four dimensions the batch is the first one all the same.
    return "reduces over the batch" if 0 in axes and len(operation.inputs[0].shape) > 1 else ""


def _channels_by_four(operation: OperationInfo) -> str:
    shape, axes = operation.inputs[0].shape, _reduced_axes(operation) or ()
    if len(shape) - 1 in axes and shape[-1] % 4:
        return f"takes the mean over {shape[-1]} channels; a multiple of 4 is needed"
    return ""


def _batch_not_padded(operation: OperationInfo) -> str:
    if len(operation.inputs) < 2 or not operation.inputs[1].is_constant:
        return "its paddings are not constant"
    rank = len(operation.inputs[0].shape)
    return "pads the batch" if rank > 3 and any(operation.inputs[1].constant_values[:2]) else ""


def _axis_is_not_batch(operation: OperationInfo) -> str:
    rank = len(operation.outputs[0].shape)
    return "packs along the batch" if operation.options.get("axis", 0) in (0, -rank) else ""


def _split_is_not_over_batch(operation: OperationInfo) -> str:
    axis = operation.inputs[0] if operation.inputs else None
    if axis is None or not axis.is_constant or len(axis.constant_values) != 1:
        return "its axis is not constant"
    rank = len(operation.inputs[1].shape) if len(operation.inputs) > 1 else 0
    return "splits the batch" if axis.constant_values[0] in (0, -rank) else ""


def _unit_strides(operation: OperationInfo) -> str:
    if len(operation.inputs) < 4 or not all(tensor.is_constant for tensor in operation.inputs[1:4]):
        return "its bounds are not constant"
    if any(stride != 1 for stride in operation.inputs[3].constant_values):
        return f"has the strides {list(operation.inputs[3].constant_values)}; only 1 is known"
    if operation.options.get("ellipsisMask") or operation.options.get("newAxisMask"):
        return "has an ellipsis or a new axis"
    return ""


def _constant_second_input(operation: OperationInfo) -> str:
    needs = len(operation.inputs) > 1 and not operation.inputs[1].is_constant
    return "the size of its output is not constant" if needs else ""


def _constant_output_shape(operation: OperationInfo) -> str:
    constant = bool(operation.inputs) and operation.inputs[0].is_constant
    return "" if constant else "the size of its output is not constant"


def _only_leading_ones_dropped(operation: OperationInfo) -> str:
    given, kept = (_without_leading_ones(tensors[0].shape) for tensors in (operation.inputs, operation.outputs))
    return "" if given == kept else f"drops a size of 1 from the middle of {' x '.join(map(str, given))}"


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    first = next((place for place, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]


def _short_softmax(operation: OperationInfo) -> str:
    shape = operation.inputs[0].shape
    if any(size != 1 for size in shape[:-1]) or prod(shape) > _MOST_SOFTMAX_ELEMENTS:
        return f"is over {' x '.join(map(str, shape))}; one vector of at most {_MOST_SOFTMAX_ELEMENTS:,} is known"
    return ""


_REDUCTION = SupportedOperation(2, (_not_over_batch,))

SUPPORTED_OPERATIONS: Mapping[str, SupportedOperation] = {
    "ADD": SupportedOperation(4),
    "AVERAGE_POOL_2D": SupportedOperation(3, (_no_fused_activation,)),
    "CONCATENATION": SupportedOperation(3, (_no_fused_activation, _only_zeros_beside_one_tensor)),
    "CONV_2D": SupportedOperation(5, (_equal_dilation, _constant_weights)),
    "DEPTHWISE_CONV_2D": SupportedOperation(6, (_equal_dilation, _constant_weights)),
    "EXPAND_DIMS": SupportedOperation(1),
    "FULLY_CONNECTED": SupportedOperation(9, (_default_weights, _constant_weights)),
    "L2_NORMALIZATION": SupportedOperation(2),
    "LOGISTIC": SupportedOperation(3),
    "LSTM": SupportedOperation(4),
    "MAXIMUM": SupportedOperation(4),
    "MAX_POOL_2D": SupportedOperation(3, (_no_fused_activation,)),
    "MEAN": SupportedOperation(3, (_not_over_batch, _channels_by_four)),
    "MINIMUM": SupportedOperation(4),
    "MUL": SupportedOperation(4),
    "PACK": SupportedOperation(3, (_axis_is_not_batch,)),
    "PAD": SupportedOperation(3, (_batch_not_padded,)),
    "PRELU": SupportedOperation(1, (_one_dimensional_alpha,)),
    "QUANTIZE": SupportedOperation(2),
    "REDUCE_MAX": _REDUCTION,
    "REDUCE_MIN": _REDUCTION,
    "RELU": SupportedOperation(2),
    "RELU6": SupportedOperation(2),
    "RELU_N1_TO_1": SupportedOperation(1),
    "RESHAPE": SupportedOperation(1, (_constant_second_input,), is_size_dependent=True),
    "RESIZE_BILINEAR": SupportedOperation(3, (_constant_second_input,), is_size_dependent=True),
    "RESIZE_NEAREST_NEIGHBOR": SupportedOperation(3, (_constant_second_input,), is_size_dependent=True),
    "RSQRT": SupportedOperation(2),
    "SLICE": SupportedOperation(3),
    "SOFTMAX": SupportedOperation(3, (_short_softmax,)),
    "SPACE_TO_DEPTH": SupportedOperation(2),
    "SPLIT": SupportedOperation(4, (_split_is_not_over_batch,)),
    "SQUARED_DIFFERENCE": SupportedOperation(2),
    "SQUEEZE": SupportedOperation(1, (_only_leading_ones_dropped,)),
    "STRIDED_SLICE": SupportedOperation(4, (_unit_strides,)),
    "SUB": SupportedOperation(4),
    "SUM": _REDUCTION,
    "TANH": SupportedOperation(3),
    "TRANSPOSE": SupportedOperation(4),
    "TRANSPOSE_CONV": SupportedOperation(3, (_constant_output_shape, _constant_weights)),
}

REPLACEMENTS: Mapping[str, str] = {
    "LEAKY_RELU": "a PRELU with a constant alpha is the same function",
    "TILE": "build the network with transposed convolutions or RESIZE_NEAREST_NEIGHBOR instead of UpSampling2D",
    "DEQUANTIZE": "give the model int8 outputs",
    "SHAPE": "convert with a fixed batch of 1",
}
