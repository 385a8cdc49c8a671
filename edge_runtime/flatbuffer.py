"""Looks into any `.tflite` model: its operations, tensors and quantization, without running it."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, NamedTuple, NoReturn

from edge_runtime.artefact import is_tflite, read_tflite_file, strip_metadata
from edge_runtime.errors import ArtefactError, BackendError

# Larger constants are weights, of which the numbers themselves say nothing to a reader.
_MOST_KEPT_VALUES = 16
# Several tables may point at the same bytes: of all lists and texts together so many times the file's size are read.
_MOST_READS_OF_A_BYTE = 4
_DAMAGE = (struct.error, ValueError, IndexError, TypeError, KeyError, OverflowError, AttributeError)


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a model. A real number is scale * (integer - zero point).

    Attributes:
        name: Its name in the file.
        type: "INT8", "INT32", "FLOAT32" ...
        shape: Its sizes, batch first.
        scales: None for float; one number, or one for each channel.
        zero_points: As many as scales.
        is_constant: Whether its values are stored in the file (weights, biases, shapes).
        index: Its place among the tensors of its graph.
        has_dynamic_size: Whether a size is known only when the model runs.
        constant_bytes: Bytes of its stored values; 0 for the others.
        constant_values: The stored values of small INT32 tensors: axes, shapes, paddings.
        is_all_zero: Whether it is a constant of nothing but zero bytes.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    is_constant: bool = False
    index: int = -1
    has_dynamic_size: bool = False
    constant_bytes: int = 0
    constant_values: tuple[int, ...] = ()
    is_all_zero: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object; "quantization" is null for tensors that have none."""
        quantization = None
        if self.scales:
            quantization = {"scale": list(self.scales), "zero_point": list(self.zero_points)}
        return {"name": self.name, "type": self.type, "shape": list(self.shape), "quantization": quantization}


@dataclass(frozen=True)
class OperationInfo:
    """One operation of a model.

    Attributes:
        name: "CONV_2D", "TRANSPOSE_CONV" ..., or a custom operation's own name.
        version: The operation's version, which an interpreter or compiler must know.
        fused_activation: "NONE", "RELU" ..., what is applied to its result; "NONE" where it cannot have any.
        inputs: Its input tensors; an optional one that is left out is missing here.
        outputs: Its output tensors.
        is_custom: Whether it is no builtin operation of TFLite.
        options: Its settings that are numbers, under the names of LiteRT's schema: "strideW", "axis" ...
    """

    name: str
    version: int
    fused_activation: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    is_custom: bool = False
    options: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FlatbufferInspection:
    """What is in a model.

    Attributes:
        size_bytes: Size of the flatbuffer without appended metadata.
        schema_version: Version of TFLite's schema, 3 today.
        operations: All operations in the order of execution.
        tensors: All tensors.
        inputs: The model's inputs.
        outputs: The model's outputs in the file's order (an interpreter's `get_output_details()` has the
            same).
        num_graphs: How many graphs; all but the first are branches and loops.
    """

    size_bytes: int
    schema_version: int
    operations: tuple[OperationInfo, ...]
    tensors: tuple[TensorInfo, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    num_graphs: int = 1

    @cached_property
    def operation_counts(self) -> dict[str, int]:
        """How often each operation occurs, the most frequent first."""
        return _counts(operation.name for operation in self.operations)

    @cached_property
    def tensor_type_counts(self) -> dict[str, int]:
        """How many tensors have each type, the most frequent first."""
        return _counts(tensor.type for tensor in self.tensors)

    @property
    def float_tensors(self) -> tuple[TensorInfo, ...]:
        """The tensors of a floating point type. A fully quantized model has none."""
        return tuple(tensor for tensor in self.tensors if "FLOAT" in tensor.type)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object: operations with counts, versions and fused activations, types, inputs, outputs."""
        return {
            "size_bytes": self.size_bytes,
            "schema_version": self.schema_version,
            "operations": [self._summary(name, count) for name, count in self.operation_counts.items()],
            "tensor_types": self.tensor_type_counts,
            "inputs": [tensor.to_dict() for tensor in self.inputs],
            "outputs": [tensor.to_dict() for tensor in self.outputs],
        }

    def _summary(self, name: str, count: int) -> dict[str, Any]:
        chosen = [operation for operation in self.operations if operation.name == name]
        activations = _counts(operation.fused_activation for operation in chosen)
        return {
            "name": name,
            "count": count,
            "versions": sorted({operation.version for operation in chosen}),
            "fused_activations": {kind: times for kind, times in activations.items() if kind != "NONE"},
        }


def inspect_tflite_file(path: str | os.PathLike[str]) -> FlatbufferInspection:
    """Look into a `.tflite` file, with or without tfganomaly's metadata.

    Raises:
        ArtefactError: The file is missing, not TFLite or damaged.
        BackendError: The package that knows TFLite's schema is not installed.
    """
    return inspect_flatbuffer(read_tflite_file(path), name=f"'{path}'")


def inspect_flatbuffer(content: bytes, *, name: str = "the model") -> FlatbufferInspection:
    """Look into a TFLite model.

    Args:
        content: The flatbuffer; metadata that is appended to it is passed over.
        name: What error texts call it.

    Raises:
        ArtefactError: It is not TFLite, or damaged.
        BackendError: The package that knows TFLite's schema is not installed.
    """
    if not is_tflite(content):
        raise ArtefactError(f"{name} is not a TFLite model (its identifier TFL3 is missing).")
    flatbuffer = strip_metadata(content)
    try:
        return _Reader(flatbuffer).inspection()
    except _DAMAGE as error:
        raise ArtefactError(
            f"{name} is a damaged or cut short TFLite model ({type(error).__name__}: {error}). Copy it "
            "again or export it again."
        ) from error


class _StoredValues(NamedTuple):
    """What is kept of a buffer: the number of its bytes, 0 where it has none, and what they say."""

    num_bytes: int = 0
    small_integers: tuple[int, ...] = ()
    is_all_zero: bool = False


class _Reader:
    """Turns the schema's generated accessors into plain data.

    The accessors trust the file. A vector that claims more elements than the file has bytes is refused here
    before anything loops over it, and so is a file whose tables share their vectors in so many places that reading
    it would take minutes; any other nonsense ends in one of `_DAMAGE`.
    """

    def __init__(self, flatbuffer: bytes) -> None:
        self._schema = _load_schema()
        self._size_bytes = len(flatbuffer)
        self._bytes_left = _MOST_READS_OF_A_BYTE * len(flatbuffer)
        self._known_buffers: dict[int, _StoredValues] = {}
        self._model = self._schema.Model.GetRootAs(flatbuffer, 0)

    def inspection(self) -> FlatbufferInspection:
        graphs = list(self._elements(self._model.SubgraphsLength, self._model.Subgraphs))
        if not graphs:
            _refuse("it has no graph")
        operations: list[OperationInfo] = []
        tensors: list[TensorInfo] = []
        inputs: tuple[TensorInfo, ...] = ()
        outputs: tuple[TensorInfo, ...] = ()
        for index, graph in enumerate(graphs):
            of_graph = [
                self._tensor(each, place)
                for place, each in enumerate(self._elements(graph.TensorsLength, graph.Tensors))
            ]
            operations += [
                self._operation(each, of_graph) for each in self._elements(graph.OperatorsLength, graph.Operators)
            ]
            tensors += of_graph
            if index == 0:
                inputs = _pick(of_graph, self._elements(graph.InputsLength, graph.Inputs))
                outputs = _pick(of_graph, self._elements(graph.OutputsLength, graph.Outputs))
        return FlatbufferInspection(
            size_bytes=self._size_bytes,
            schema_version=self._model.Version(),
            operations=tuple(operations),
            tensors=tuple(tensors),
            inputs=inputs,
            outputs=outputs,
            num_graphs=len(graphs),
        )

    def _elements(self, length: Callable[[], int], element: Callable[[int], Any]) -> Iterator[Any]:
        count = length()
        if count * 4 > self._size_bytes:  # no element of these vectors is smaller than four bytes
            _refuse(f"a list claims {count} elements")
        self._spend(count * 4)
        return (element(index) for index in range(count))

    def _text(self, stored: bytes) -> str:
        self._spend(len(stored))
        return stored.decode("utf-8", errors="replace")

    def _spend(self, num_bytes: int) -> None:
        self._bytes_left -= num_bytes
        if self._bytes_left < 0:
            _refuse("its lists hold more together than a file of its size does")

    def _tensor(self, tensor: Any, index: int) -> TensorInfo:
        quantization = tensor.Quantization()
        scales: tuple[float, ...] = ()
        zero_points: tuple[int, ...] = ()
        if quantization is not None:
            scales = tuple(self._elements(quantization.ScaleLength, quantization.Scale))
            zero_points = tuple(self._elements(quantization.ZeroPointLength, quantization.ZeroPoint))
        stored = self._stored_values(tensor.Buffer())
        kind = _name_of(self._schema.TensorType, tensor.Type())
        shape = tuple(self._elements(tensor.ShapeLength, tensor.Shape))
        signature = tuple(self._elements(tensor.ShapeSignatureLength, tensor.ShapeSignature))
        return TensorInfo(
            name=self._text(tensor.Name() or b""),
            type=kind,
            shape=shape,
            scales=scales,
            zero_points=zero_points,
            is_constant=stored.num_bytes > 0,
            index=index,
            has_dynamic_size=any(size < 0 for size in (*shape, *signature)),
            constant_bytes=stored.num_bytes,
            constant_values=stored.small_integers if kind == "INT32" else (),
            is_all_zero=stored.is_all_zero,
        )

    def _stored_values(self, index: int) -> _StoredValues:
        """Return what stands in a buffer, which several tensors may have in common."""
        if index not in self._known_buffers:
            if index >= self._model.BuffersLength():
                _refuse(f"a tensor has the unknown buffer {index}")
            self._known_buffers[index] = self._read_buffer(self._model.Buffers(index))
        return self._known_buffers[index]

    def _read_buffer(self, buffer: Any) -> _StoredValues:
        if buffer is None:
            return _StoredValues()
        length = buffer.DataLength()
        if length == 0:  # the values may lie outside the flatbuffer's own tables
            return _StoredValues(buffer.Size())
        if length > self._size_bytes:
            _refuse(f"a buffer claims {length} bytes")
        self._spend(length)
        stored = bytes(buffer.DataAsNumpy())
        return _StoredValues(length, _small_integers(stored), not any(stored))

    def _operation(self, operator: Any, tensors: list[TensorInfo]) -> OperationInfo:
        index = operator.OpcodeIndex()
        if index >= self._model.OperatorCodesLength():
            _refuse(f"an operation has the unknown code {index}")
        code = self._model.OperatorCodes(index)
        # Files of before 2020 have the code in a field of one byte only.
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        is_custom = builtin == self._schema.BuiltinOperator.CUSTOM
        custom_name = self._text(code.CustomCode() or b"CUSTOM") if is_custom else ""
        options = self._options(operator)
        fused = options.get("fusedActivationFunction", self._schema.ActivationFunctionType.NONE)
        return OperationInfo(
            name=custom_name or _name_of(self._schema.BuiltinOperator, builtin),
            version=code.Version(),
            fused_activation=_name_of(self._schema.ActivationFunctionType, int(fused)),
            inputs=_pick(tensors, self._elements(operator.InputsLength, operator.Inputs)),
            outputs=_pick(tensors, self._elements(operator.OutputsLength, operator.Outputs)),
            is_custom=is_custom,
            options=options,
        )

    def _options(self, operator: Any) -> dict[str, float]:
        """Return the settings of an operation that are single numbers."""
        table = operator.BuiltinOptions()
        kind: Any = getattr(self._schema, _name_of(self._schema.BuiltinOptions, operator.BuiltinOptionsType()), None)
        settings: Any = getattr(self._schema, f"{kind.__name__}T", None) if table is not None and kind else None
        if settings is None:
            return {}
        options = kind()
        options.Init(table.Bytes, table.Pos)
        values = {}
        for name in vars(settings()):
            read = getattr(options, name[0].upper() + name[1:], None)
            value = read() if callable(read) and not hasattr(options, f"{name[0].upper()}{name[1:]}Length") else None
            if isinstance(value, (bool, int, float)):
                values[name] = value
        return values


def _load_schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise BackendError(
            f"Looking into a model needs LiteRT's schema ({error}). Run `pip install ai-edge-litert`."
        ) from error
    return schema_py_generated


@cache
def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _name_of(enumeration: type, value: int) -> str:
    return _names(enumeration).get(value, f"{enumeration.__name__}_{value}")


def _small_integers(stored: bytes) -> tuple[int, ...]:
    count = len(stored) // 4
    return struct.unpack(f"<{count}i", stored[: 4 * count]) if count <= _MOST_KEPT_VALUES else ()


def _pick(tensors: list[TensorInfo], indices: Iterator[int]) -> tuple[TensorInfo, ...]:
    """Return the tensors at `indices`, in which -1 stands for an optional one that is left out."""
    return tuple(tensors[index] for index in indices if index >= 0)


def _counts(names: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _refuse(problem: str) -> NoReturn:
    raise ValueError(problem)
