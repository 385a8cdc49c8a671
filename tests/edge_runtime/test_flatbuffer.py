from __future__ import annotations

import json
import sys
from pathlib import Path

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ArtefactError, BackendError
from edge_runtime.flatbuffer import inspect_flatbuffer, inspect_tflite_file
from edge_runtime.interpreter import load_backend
from tests.edge_runtime.model_builder import GraphBuilder
from tests.edge_runtime.tiny_model import INPUT_SCALE, LATENT_SIZE, OUTPUTS, tiny_flatbuffer

FLATBUFFER = tiny_flatbuffer(8)


def edited(change: object) -> bytes:
    """Return the tiny model after `change(model)` on the schema's object tree."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(FLATBUFFER, 0))
    change(model)  # type: ignore[operator]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_operations_and_tensors_of_an_int8_model_are_counted() -> None:
    inspection = inspect_flatbuffer(FLATBUFFER)
    assert inspection.operation_counts == {"CONV_2D": 3}
    assert inspection.tensor_type_counts == {"INT8": 7, "INT32": 3}
    assert inspection.float_tensors == ()
    assert inspection.size_bytes == len(FLATBUFFER)
    assert inspection.schema_version == 3
    kernel = inspection.operations[0].inputs[1]
    assert kernel.is_constant
    assert kernel.shape == (1, 3, 3, 1)
    assert not inspection.inputs[0].is_constant


def test_inputs_and_outputs_carry_shape_and_quantization() -> None:
    inspection = inspect_flatbuffer(FLATBUFFER)
    (image,) = inspection.inputs
    assert (image.name, image.type, image.shape) == ("image", "INT8", (1, 8, 8, 1))
    assert image.scales == pytest.approx((INPUT_SCALE,))
    assert image.zero_points == (0,)
    assert [output.name for output in inspection.outputs] == list(OUTPUTS)
    assert inspection.outputs[0].shape == (1, 1, 1, LATENT_SIZE)


def test_the_outputs_stand_in_the_interpreters_order() -> None:
    inspection = inspect_flatbuffer(FLATBUFFER)
    backend = load_backend(FLATBUFFER, 1)
    assert [details.name for details in backend.output_details] == [tensor.name for tensor in inspection.outputs]
    assert [details.scale for details in backend.output_details] == pytest.approx(
        [tensor.scales[0] for tensor in inspection.outputs]
    )


def test_float_tensors_are_found() -> None:
    inspection = inspect_flatbuffer(tiny_flatbuffer(8, quantized=False))
    assert inspection.tensor_type_counts == {"FLOAT32": 10}
    assert len(inspection.float_tensors) == 10
    assert inspection.inputs[0].to_dict()["quantization"] is None


def test_versions_fused_activations_and_custom_operations_are_named() -> None:
    def change(model: schema.ModelT) -> None:
        operators = model.subgraphs[0].operators
        operators[1].builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
        operators[2].inputs = [*operators[2].inputs[:2].tolist(), -1]
        custom = schema.OperatorCodeT()
        custom.builtinCode = schema.BuiltinOperator.CUSTOM
        custom.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        custom.customCode = b"edgetpu-custom-op"
        model.operatorCodes.append(custom)
        own = schema.OperatorT()
        own.opcodeIndex = 1
        own.inputs, own.outputs = [0], [1]
        model.subgraphs[0].operators.append(own)

    inspection = inspect_flatbuffer(edited(change))
    assert [operation.fused_activation for operation in inspection.operations] == ["NONE", "RELU", "NONE", "NONE"]
    assert [operation.is_custom for operation in inspection.operations] == [False, False, False, True]
    assert len(inspection.operations[2].inputs) == 2
    assert inspection.to_dict()["operations"] == [
        {"name": "CONV_2D", "count": 3, "versions": [3], "fused_activations": {"RELU": 1}},
        {"name": "edgetpu-custom-op", "count": 1, "versions": [1], "fused_activations": {}},
    ]


def test_settings_and_small_constants_of_an_operation_are_read() -> None:
    graph = GraphBuilder()
    image, pooled = graph.tensor(1, 8, 8, 4, signature=(-1, 8, 8, 4)), graph.tensor(1, 1, 1, 4)
    zeros = graph.tensor(1, 1, 1, 4, values=[0] * 4)
    options = schema.ReducerOptionsT()
    options.keepDims = True
    graph.operation("MEAN", [image, graph.integers(1, -2), zeros], [pooled], 2, options)
    (operation,) = inspect_flatbuffer(graph.to_bytes([image], [pooled])).operations
    assert operation.options == {"keepDims": True}
    given, axes, constant = operation.inputs
    assert axes.constant_values == (1, -2)
    assert axes.constant_bytes == 8
    assert constant.is_all_zero
    assert not axes.is_all_zero
    assert given.has_dynamic_size
    assert not operation.outputs[0].has_dynamic_size
    assert [tensor.index for tensor in (given, *operation.outputs)] == [image, pooled]


def test_the_summary_is_json() -> None:
    summary = inspect_flatbuffer(FLATBUFFER).to_dict()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["inputs"][0]["shape"] == [1, 8, 8, 1]
    assert summary["outputs"][0]["quantization"]["zero_point"] == [0]


def test_a_file_is_inspected_with_and_without_metadata(artefact_path: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.tflite"
    plain.write_bytes(tiny_flatbuffer(32))
    assert inspect_tflite_file(artefact_path) == inspect_tflite_file(plain)


def test_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.tflite"
    path.write_text("these are notes")
    with pytest.raises(ArtefactError, match=r"notes\.tflite' is not a TFLite model"):
        inspect_tflite_file(path)
    with pytest.raises(ArtefactError, match="does not exist"):
        inspect_tflite_file(tmp_path / "none.tflite")
    with pytest.raises(ArtefactError, match="not a TFLite model"):
        inspect_flatbuffer(b"")
    path.write_bytes(FLATBUFFER[:200])
    with pytest.raises(ArtefactError, match=r"'.*notes\.tflite' is a damaged or cut short TFLite model"):
        inspect_tflite_file(path)


def test_a_model_without_a_graph_or_with_wrong_indices_is_refused() -> None:
    def without_graph(model: schema.ModelT) -> None:
        model.subgraphs = []

    def unknown_code(model: schema.ModelT) -> None:
        model.subgraphs[0].operators[0].opcodeIndex = 7

    def unknown_buffer(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].buffer = 999

    def unknown_tensor(model: schema.ModelT) -> None:
        model.subgraphs[0].inputs = [999]

    for change, words in (
        (without_graph, "no graph"),
        (unknown_code, "unknown code 7"),
        (unknown_buffer, "unknown buffer 999"),
        (unknown_tensor, "damaged"),
    ):
        with pytest.raises(ArtefactError, match=words):
            inspect_flatbuffer(edited(change))


def test_a_list_that_claims_to_be_endless_is_refused_at_once() -> None:
    table = schema.Model.GetRootAs(FLATBUFFER, 0).Subgraphs(0)._tab
    position = table.Vector(table.Offset(4)) - 4  # where the graph's list of tensors says its length
    assert int.from_bytes(FLATBUFFER[position : position + 4], "little") == 10
    content = FLATBUFFER[:position] + (0x7FFFFFFF).to_bytes(4, "little") + FLATBUFFER[position + 4 :]
    with pytest.raises(ArtefactError, match="claims 2147483647 elements"):
        inspect_flatbuffer(content)


def _shared_shapes(num_tensors: int, length: int) -> bytes:
    """A sound file, in which all tensors point at one shape of so many sizes and at one name of four times as many."""
    builder = flatbuffers.Builder(1024)
    builder.StartVector(4, length, 4)
    for _ in range(length):
        builder.PrependInt32(1)
    shape, name = builder.EndVector(), builder.CreateString("t" * 4 * length)
    schema.TensorStart(builder)
    schema.TensorAddShape(builder, shape)
    schema.TensorAddName(builder, name)
    tensor = schema.TensorEnd(builder)
    tables = {}
    for kind, tables_of_kind in (("Tensors", [tensor] * num_tensors), ("Subgraphs", None), ("Buffers", None)):
        if kind == "Subgraphs":
            schema.SubGraphStart(builder)
            schema.SubGraphAddTensors(builder, tables["Tensors"])
            tables_of_kind = [schema.SubGraphEnd(builder)]
        elif kind == "Buffers":
            schema.BufferStart(builder)
            tables_of_kind = [schema.BufferEnd(builder)]
        builder.StartVector(4, len(tables_of_kind), 4)
        for table in tables_of_kind:
            builder.PrependUOffsetTRelative(table)
        tables[kind] = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, tables["Subgraphs"])
    schema.ModelAddBuffers(builder, tables["Buffers"])
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_small_file_whose_tensors_share_long_lists_is_refused_before_they_are_read() -> None:
    assert [len(tensor.shape) for tensor in inspect_flatbuffer(_shared_shapes(3, 40)).tensors] == [40] * 3
    with pytest.raises(ArtefactError, match="hold more together than a file of its size"):
        inspect_flatbuffer(_shared_shapes(500, 500))


def test_constants_that_many_tensors_share_are_read_once() -> None:
    def share(model: schema.ModelT) -> None:
        tensors = model.subgraphs[0].tensors
        tensors += [tensors[place]] * 50

    sizes = [tensor.constant_bytes for tensor in inspect_flatbuffer(FLATBUFFER).tensors]
    place = sizes.index(max(sizes))
    inspection = inspect_flatbuffer(edited(share))
    assert [tensor.constant_bytes for tensor in inspection.tensors[-50:]] == [max(sizes)] * 50


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_is_an_artefact_error_and_nothing_else(data: st.DataObject) -> None:
    content = bytearray(FLATBUFFER)
    for position in data.draw(st.lists(st.integers(8, len(content) - 1), max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    try:
        inspection = inspect_flatbuffer(bytes(content[: data.draw(st.integers(8, len(content)))]))
    except ArtefactError:
        return
    assert inspection.size_bytes > 0
    json.dumps(inspection.to_dict())


def test_without_litert_the_schemas_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.schema_py_generated", None)
    monkeypatch.delattr("ai_edge_litert.schema_py_generated", raising=False)
    with pytest.raises(BackendError, match="pip install ai-edge-litert"):
        inspect_flatbuffer(FLATBUFFER)
