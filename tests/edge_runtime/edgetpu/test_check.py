"""The static check against graphs that hold one thing each; and what the command line says of any file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cli import main
from edge_runtime.edgetpu.check import (
    CPU,
    EDGE_TPU,
    ON_CHIP_BYTES,
    SAFE_ON_CHIP_BYTES,
    EdgeTpuCheck,
    bytes_text,
    check_for_edgetpu,
)
from edge_runtime.edgetpu.rules import SUPPORTED_OPERATIONS
from edge_runtime.errors import ArtefactError
from edge_runtime.flatbuffer import inspect_flatbuffer
from edge_runtime.text_output import edgetpu_text
from tests.edge_runtime.model_builder import GraphBuilder
from tests.edge_runtime.tiny_model import tiny_flatbuffer


def check(content: bytes) -> EdgeTpuCheck:
    return check_for_edgetpu(inspect_flatbuffer(content))


def check_one(
    name: str,
    make_inputs: Callable[[GraphBuilder], list[int]],
    output: tuple[int, ...] = (1, 8, 8, 4),
    version: int = 1,
    **options: Any,
) -> tuple[str, str]:
    """Where an operation alone runs, and why."""
    graph = GraphBuilder()
    inputs = make_inputs(graph)
    made = graph.tensor(*output)
    settings = None
    if options:
        settings = getattr(schema, options.pop("kind"))()
        for key, value in options.items():
            setattr(settings, key, value)
    graph.operation(name, inputs, [made], version, settings)
    (verdict,) = check(graph.to_bytes([inputs[0]], [made])).operations
    return verdict.runs_on, verdict.reason


def image(graph: GraphBuilder) -> list[int]:
    return [graph.tensor(1, 8, 8, 4)]


def with_constant(*shape: int, values: Any = None) -> Callable[[GraphBuilder], list[int]]:
    content = np.ones(shape, np.int8) if values is None else np.full(shape, values, np.int8)
    return lambda graph: [graph.tensor(1, 8, 8, 4), graph.tensor(*shape, values=content)]


def with_integers(*values: int) -> Callable[[GraphBuilder], list[int]]:
    return lambda graph: [graph.tensor(1, 8, 8, 4), graph.integers(*values)]


def test_an_int8_convolution_network_maps_as_a_whole() -> None:
    found = check(tiny_flatbuffer(8))
    assert [verdict.runs_on for verdict in found.operations] == [EDGE_TPU] * 3
    assert found.cuts == ()
    assert found.conclusions() == ["3 of 3 operations run on the Edge TPU."]
    # A 3 x 3 kernel and two kernels of 8 x 8 x 8 of int8, and their int32 biases of 1 + 8 + 8 channels.
    assert found.parameter_bytes == 9 + 2 * 512 + 4 * 17
    assert found.fits_on_chip


def test_a_float_network_does_not_map() -> None:
    found = check(tiny_flatbuffer(8, quantized=False))
    assert found.num_mapped == 0
    assert all("works on FLOAT32; INT8 or UINT8 is needed" in verdict.reason for verdict in found.operations)


MAPPED = [
    ("TANH", image, {}),
    ("LOGISTIC", image, {}),
    ("ADD", lambda graph: [graph.tensor(1, 8, 8, 4), graph.tensor(1, 8, 8, 4)], {"version": 2}),
    ("MUL", with_constant(1, 1, 4), {"version": 2}),
    ("QUANTIZE", image, {"version": 2}),
    ("PRELU", with_constant(1, 1, 4), {}),
    ("PRELU", with_constant(4), {}),
    ("CONCATENATION", lambda graph: [graph.tensor(1, 8, 8, 2), graph.tensor(1, 8, 8, 2)], {"version": 2}),
    ("CONCATENATION", with_constant(1, 8, 8, 4, values=0), {"output": (1, 8, 8, 8), "version": 2}),
    ("MEAN", with_integers(1, 2), {"output": (1, 1, 1, 4), "version": 2}),
    ("MEAN", with_integers(-1), {"output": (1, 8, 8, 1), "version": 2}),
    ("PAD", with_integers(0, 0, 1, 1, 1, 1, 0, 0), {"output": (1, 10, 10, 4), "version": 2}),
    ("AVERAGE_POOL_2D", image, {"output": (1, 4, 4, 4), "version": 2}),
    ("SQUEEZE", lambda graph: [graph.tensor(1, 1, 1, 4)], {"output": (4,)}),
    ("RSQRT", image, {"version": 2}),
    ("CONV_2D", lambda graph: [*with_constant(4, 3, 3, 4)(graph), graph.integers(0, 0, 0, 0)], {"version": 3}),
    (
        "TRANSPOSE_CONV",
        lambda graph: [
            graph.integers(1, 8, 8, 4),
            graph.tensor(4, 3, 3, 4, values=np.ones(144, np.int8)),
            graph.tensor(1, 4, 4, 4),
            graph.integers(0, 0, 0, 0),
        ],
        {"version": 3},
    ),
]


@pytest.mark.parametrize(("name", "inputs", "more"), MAPPED)
def test_what_the_table_allows_maps(name: str, inputs: Any, more: dict[str, Any]) -> None:
    assert check_one(name, inputs, **more) == (EDGE_TPU, "")


REFUSED = [
    ("LEAKY_RELU", image, {}, "does not have this operation; a PRELU with a constant alpha is the same function"),
    ("ABS", image, {}, "does not have this operation"),
    ("TILE", with_integers(1, 1, 2, 2), {}, "transposed convolutions"),
    ("my-operation", image, {}, "a custom operation"),
    ("TRANSPOSE_CONV", image, {"version": 4}, "knows up to 3 and refuses the whole file"),
    ("CONV_2D", image, {"version": 6}, "knows up to 5"),
    ("QUANTIZE", image, {"version": 3}, "knows up to 2"),
    ("PRELU", with_constant(8, 8, 4), {}, r"its alpha is 8 x 8 x 4; one number a channel"),
    ("PRELU", lambda graph: [graph.tensor(1, 8, 8, 4), graph.tensor(1, 1, 4)], {}, "its alpha is not a constant"),
    ("CONCATENATION", with_constant(1, 8, 8, 4), {"version": 2}, "joins a constant"),
    ("MEAN", with_integers(0), {"version": 2}, "reduces over the batch"),
    ("PAD", with_integers(1, 1, 0, 0, 0, 0, 0, 0), {"version": 2}, "pads the batch"),
    ("TANH", lambda graph: [graph.tensor(2, 8, 8, 4)], {}, "works on 2 x 8 x 8 x 4; only the three innermost"),
    ("TANH", lambda graph: [graph.tensor(1, 8, 8, 4, kind="INT16")], {}, "works on INT16"),
    ("TANH", lambda graph: [graph.tensor(1, 8, 8, 4, scale=None)], {}, "INT8 without a scale"),
    ("TANH", lambda graph: [graph.tensor(1, 8, 8, 4, signature=(-1, 8, 8, 4))], {}, "known only at run time"),
    ("SQUEEZE", lambda graph: [graph.tensor(5, 1, 4)], {"output": (5, 4)}, "from the middle of 5 x 1 x 4"),
    ("RESHAPE", lambda graph: [graph.tensor(1, 8, 8, 4), graph.tensor(2)], {}, "not constant"),
    ("CONV_2D", lambda graph: [*image(graph), graph.tensor(4, 3, 3, 4)], {"version": 3}, "its weights are not const"),
    ("CONV_2D", image, {"version": 3}, "its weights are not constant"),
    (
        "DEPTHWISE_CONV_2D",
        lambda graph: [*with_constant(1, 3, 3, 4)(graph), graph.tensor(4)],  # the bias
        {"version": 3},
        "its weights are not constant",
    ),
    (
        "FULLY_CONNECTED",
        lambda graph: [graph.tensor(1, 16), graph.tensor(4, 16)],
        {"output": (1, 4), "version": 4},
        "its weights are not constant",
    ),
    (
        "TRANSPOSE_CONV",
        lambda graph: [graph.integers(1, 8, 8, 4), graph.tensor(4, 3, 3, 4), *image(graph)],
        {},
        "its weights are not constant",
    ),
    (
        "MEAN",
        lambda graph: [graph.tensor(1, 8, 8, 6), graph.integers(3)],
        {"output": (1, 8, 8, 1), "version": 2},
        "mean over 6 channels; a multiple of 4",
    ),
    (
        "CONV_2D",
        image,
        {"version": 3, "kind": "Conv2DOptionsT", "dilationWFactor": 2, "dilationHFactor": 1},
        "is dilated by 1 x 2",
    ),
    (
        "AVERAGE_POOL_2D",
        image,
        {"version": 2, "kind": "Pool2DOptionsT", "fusedActivationFunction": schema.ActivationFunctionType.RELU},
        "has a fused RELU",
    ),
    ("PACK", image, {"version": 2, "kind": "PackOptionsT", "axis": 0}, "packs along the batch"),
    ("PACK", image, {"version": 2, "kind": "PackOptionsT", "axis": -4}, "packs along the batch"),
    ("SPLIT", lambda graph: [graph.integers(0), graph.tensor(1, 8, 8, 4)], {"version": 2}, "splits the batch"),
]


@pytest.mark.parametrize(("name", "inputs", "more", "reason"), REFUSED)
def test_what_the_table_forbids_runs_on_the_cpu(name: str, inputs: Any, more: dict[str, Any], reason: str) -> None:
    runs_on, given = check_one(name, inputs, **more)
    assert runs_on == CPU
    assert reason in given


@pytest.mark.parametrize(
    ("name", "inputs", "more"),
    [
        ("RESIZE_BILINEAR", with_integers(16, 16), {"output": (1, 16, 16, 4), "version": 3}),
        ("RESHAPE", with_integers(1, 256), {"output": (1, 256)}),
    ],
)
def test_what_maps_for_some_sizes_only_is_said(name: str, inputs: Any, more: dict[str, Any]) -> None:
    runs_on, reason = check_one(name, inputs, **more)
    assert runs_on == EDGE_TPU
    assert "the compiler decides" in reason


def chain(*names: str, before: int | None = None) -> bytes:
    graph = GraphBuilder()
    first = graph.tensor(1, 8, 8, 4)
    current = first
    for name in names:
        following = graph.tensor(1, 8, 8, 4)
        graph.operation(name, [current], [following])
        current = following
    return graph.to_bytes([first], [current])


def test_behind_the_first_operation_that_does_not_map_all_runs_on_the_cpu() -> None:
    found = check(chain("TANH", "LEAKY_RELU", "TANH", "LEAKY_RELU", "TANH"))
    assert [verdict.runs_on for verdict in found.operations] == [EDGE_TPU, CPU, CPU, CPU, CPU]
    assert found.cuts == (1,)
    assert "behind the cut" in found.operations[2].reason
    first, second = found.conclusions()
    assert first == "1 of 5 operations run on the Edge TPU."
    assert second.startswith("The graph is cut at operation 1, LEAKY_RELU: ")


def test_a_branch_that_needs_nothing_of_the_cpu_stays_on_the_device() -> None:
    graph = GraphBuilder()
    first, left, right, end = (graph.tensor(1, 8, 8, 4) for _ in range(4))
    graph.operation("ABS", [first], [left])
    graph.operation("TANH", [first], [right])
    graph.operation("TANH", [left], [end])
    found = check(graph.to_bytes([first], [right, end]))
    assert [verdict.runs_on for verdict in found.operations] == [CPU, EDGE_TPU, CPU]


def test_float_at_the_two_ends_cuts_nothing() -> None:
    graph = GraphBuilder()
    entrance, inside, middle = graph.tensor(1, 8, 8, 4, kind="FLOAT32"), graph.tensor(1, 8), graph.tensor(1, 8)
    end = graph.tensor(1, 8, kind="FLOAT32")
    graph.operation("QUANTIZE", [entrance], [inside])
    graph.operation("TANH", [inside], [middle])
    graph.operation("DEQUANTIZE", [middle], [end])
    found = check(graph.to_bytes([entrance], [end]))
    assert [verdict.runs_on for verdict in found.operations] == [CPU, EDGE_TPU, CPU]
    assert found.cuts == ()


def test_one_version_that_the_compiler_does_not_know_spoils_the_whole_file() -> None:
    graph = GraphBuilder()
    first, middle, end = (graph.tensor(1, 8, 8, 4) for _ in range(3))
    graph.operation("TANH", [first], [middle])
    graph.operation("CONV_2D", [middle], [end], version=6)
    found = check(graph.to_bytes([first], [end]))
    assert found.is_refused
    assert found.num_mapped == 0
    assert found.conclusions() == ["Compiler 16.0 refuses this file: it does not know the version of CONV_2D."]


def test_control_flow_does_not_map() -> None:
    graph = GraphBuilder()
    first, end = graph.tensor(1, 8, 8, 4), graph.tensor(1, 8, 8, 4)
    graph.operation("TANH", [first], [end])
    assert check(graph.to_bytes([first], [end], graphs=2)).num_mapped == 0


@pytest.mark.parametrize(
    ("num_bytes", "fits", "conclusion"),
    [
        (SAFE_ON_CHIP_BYTES, True, "1 of 1 operations run on the Edge TPU."),
        (7_300_000, None, "7.3 MB of parameters are close to what the chip's 8 MiB hold"),
        (ON_CHIP_BYTES, None, "the compiler decides whether they fit"),
        (ON_CHIP_BYTES + 1, False, "8.4 MB of parameters do not fit into the chip's 8 MiB"),
    ],
)
def test_parameters_that_are_near_and_beyond_the_chip_s_memory_are_said(
    num_bytes: int, fits: bool | None, conclusion: str
) -> None:
    graph = GraphBuilder()
    first, end = graph.tensor(1, 8, 8, 4), graph.tensor(1, 8, 8, 4)
    kernel = graph.tensor(1, num_bytes, values=np.zeros(num_bytes, np.int8))
    graph.operation("CONV_2D", [first, kernel], [end], version=3)
    found = check(graph.to_bytes([first], [end]))
    assert found.summary()["fits_on_chip"] is fits
    assert conclusion in found.conclusions()[-1]


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(64, "64 bytes"), (42_752, "43 kB"), (999_499, "999 kB"), (999_600, "1.0 MB")]
)
def test_few_bytes_are_not_rounded_to_nothing(num_bytes: int, text: str) -> None:
    assert bytes_text(num_bytes) == text


def test_a_compiled_file_is_recognised() -> None:
    found = check(tiny_flatbuffer(8, custom_operation="edgetpu-custom-op"))
    assert found.is_compiled
    assert found.conclusions() == ["Compiled for the Edge TPU already; 0 of its operations stay on the CPU."]
    # Its parameters lie in the compiler's own operation, where they cannot be counted.
    summary = found.to_dict()
    assert (summary["parameter_bytes"], summary["fits_on_chip"]) == (None, None)
    assert "parameters" not in edgetpu_text(found)


@pytest.mark.parametrize("name", [*SUPPORTED_OPERATIONS, "LEAKY_RELU"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_operations_of_any_form_are_judged(name: str, data: st.DataObject) -> None:
    graph = GraphBuilder()
    made = []
    for _ in range(data.draw(st.integers(0, 4))):
        shape = data.draw(st.lists(st.integers(0, 5), max_size=5))
        constant = data.draw(st.sampled_from([None, np.int8, np.int32]))
        values = None if constant is None else np.ones(shape, constant)
        kind = "INT32" if constant is np.int32 else "INT8"
        made.append(graph.tensor(*shape, kind=kind, values=values))
    outputs = [graph.tensor(*data.draw(st.lists(st.integers(0, 5), max_size=5)))] if data.draw(st.booleans()) else []
    graph.operation(name, made, outputs)
    content = bytearray(graph.to_bytes(made[:1], outputs))
    for position in data.draw(st.lists(st.integers(8, len(content) - 1), max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    try:
        inspection = inspect_flatbuffer(bytes(content))
    except ArtefactError:
        return
    json.dumps(check_for_edgetpu(inspection).to_dict(), allow_nan=False)


@pytest.mark.parametrize("form", ["table", "json"])
def test_info_checks_a_file_that_is_not_ours(tmp_path: Path, form: str) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(chain("TANH", "LEAKY_RELU", "TANH"))
    done = CliRunner().invoke(main, ["info", str(path), "--edgetpu", "--format", form])
    assert done.exit_code == 0, done.output
    if form == "json":
        found = json.loads(done.stdout)
        assert (found["operations"], found["mapped"], found["cuts"]) == (3, 1, [1])
        assert [row["runs_on"] for row in found["table"]] == ["Edge TPU", "CPU", "CPU"]
        assert found["table"][1] == {
            "position": 1,
            "name": "LEAKY_RELU",
            "version": 1,
            "output_shape": [1, 8, 8, 4],
            "maps": False,
            "runs_on": "CPU",
            "reason": found["table"][1]["reason"],
        }
    else:
        assert "1 of 3 operations run on the Edge TPU." in done.stdout
        assert "The graph is cut at operation 1, LEAKY_RELU" in done.stdout


def test_info_without_the_check_says_what_a_foreign_file_lacks(tmp_path: Path) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(tiny_flatbuffer(8))
    done = CliRunner().invoke(main, ["info", str(path)])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert "carries no tfganomaly metadata" in done.stderr


@pytest.mark.parametrize("content", [b"", b"these are notes", tiny_flatbuffer(8)[:200]])
def test_what_is_no_model_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.tflite"
    path.write_bytes(content)
    done = CliRunner().invoke(main, ["info", str(path), "--edgetpu"])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert str(path) in done.stderr
