"""`export --target edgetpu` on a tiny run: the files, the report, and a compiler that works, is away, or fails."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import main
from edge_runtime.artefact import read_artefact
from edge_runtime.edgetpu import check
from edge_runtime.edgetpu.rules import SUPPORTED_OPERATIONS
from edge_runtime.flatbuffer import inspect_flatbuffer
from export import ExportError, ExportOptions, ExportResult, export_run
from export.building import BuiltModel
from export.edgetpu_target import target_edgetpu
from tests.edge_runtime.tiny_model import tiny_flatbuffer
from tests.export.stub_compiler import FULL_CHIP, REFUSAL, SOME_MAPPED, write_stub
from tfganomaly.errors import OptionError

LAX = {"max_auroc_drop": 1.0, "max_verdict_flips": 1.0}
QUICK = {"target": "edgetpu", "fine_tuning_steps": 2, "fine_tuning_batch_size": 4, **LAX}


@pytest.fixture(scope="module")
def compiled(run: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """A quantization-aware export with a compiler that leaves operations to the CPU and streams a little."""
    folder = tmp_path_factory.mktemp("edge")
    program = write_stub(folder, log=SOME_MAPPED)
    options = ExportOptions(edgetpu_compiler=str(program), **QUICK)
    return export_run(run, folder / "m.tflite", options)


@pytest.fixture(scope="module")
def uncompiled(run: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """A post-training quantization where there is no compiler."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nonexistent")
        output = tmp_path_factory.mktemp("plain") / "m.tflite"
        return export_run(run, output, ExportOptions(quantization="ptq", target="edgetpu", **LAX))


def _export(run: Path, output: Path, *options: Any) -> Result:
    arguments = ["export", run, "--output", output, "--target", "edgetpu", "--quantization", "ptq", *options]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _error_line(result: Result) -> str:
    assert result.exit_code == 2, result.output
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("Error: "))
    assert result.stderr.splitlines()[-1] == line
    assert "Traceback" not in result.stderr
    return line


@pytest.mark.parametrize("kind", ["compiled", "uncompiled"])
def test_the_file_has_operations_of_the_edge_tpu_s_table_only(kind: str, request: pytest.FixtureRequest) -> None:
    result: ExportResult = request.getfixturevalue(kind)
    artefact = read_artefact(result.artefact)
    inspection = inspect_flatbuffer(artefact.flatbuffer)
    assert set(inspection.operation_counts) <= set(SUPPORTED_OPERATIONS)
    assert set(inspection.tensor_type_counts) == {"INT8", "INT32"}
    assert inspection.operation_counts == {"CONV_2D": 8, "PRELU": 6, "TRANSPOSE_CONV": 4, "TANH": 1}
    assert artefact.metadata.target == "edgetpu"
    summary = artefact.metadata.parity["edgetpu"]
    assert (summary["operations"], summary["mapped"], summary["fits_on_chip"]) == (19, 19, True)
    assert 0 < summary["parameter_bytes"] < len(artefact.flatbuffer)


def test_the_compiled_file_carries_the_metadata_that_the_compiler_dropped(compiled: ExportResult) -> None:
    assert compiled.compiled == compiled.artefact.with_name("m_edgetpu.tflite")
    plain, device = read_artefact(compiled.artefact), read_artefact(compiled.compiled)
    assert inspect_flatbuffer(device.flatbuffer).operation_counts == {"edgetpu-custom-op": 1}
    assert device.metadata.calibration == plain.metadata.calibration
    assert device.metadata.outputs == plain.metadata.outputs
    summary = device.metadata.parity["edgetpu"]
    assert summary["compiler"] == "16.0.384591198"
    assert summary["mapped_by_compiler"] == 15
    assert summary["off_chip_bytes"] == 42_752
    assert summary["fits_on_chip"] is True


def test_the_report_holds_the_check_and_the_compiler_s_log(compiled: ExportResult) -> None:
    stored = json.loads(compiled.parity_json.read_text("utf-8"))["edgetpu"]
    assert stored["compiled"] is True
    assert len(stored["table"]) == 19
    assert stored["compiler"]["mapped"] == 15
    assert {"name": "PRELU", "count": 4, "status": "More than one subgraph is not supported"} in stored["compiler"][
        "operations"
    ]
    page = compiled.parity_html.read_text("utf-8")
    assert "15 of 19 operations on the Edge TPU" in page
    assert "More than one subgraph is not supported" in page
    assert "Where each operation runs, by the static check" in page
    assert '<details class="panel scroll" open><summary>Log of the compiler' in page  # it leaves four to the CPU
    assert "not an Edge TPU" in page  # what the time for one image was measured on
    text = compiled.text()
    lines = [line for line in text.splitlines() if line.startswith("edge tpu: ")]
    assert lines[0].endswith("15 of 19 operations on the Edge TPU.")
    assert lines[1] == (
        "edge tpu: The compiler sends 43 kB of parameters anew for each image although 1.2 MB of the chip's memory "
        "remain: its own choice."
    )
    assert lines[-1].startswith("edge tpu: Static check: 19 of 19 operations run on the Edge TPU.")
    assert f"compiled for the Edge TPU: {compiled.compiled}" in text


def test_without_a_compiler_the_report_says_that_nothing_was_compiled(uncompiled: ExportResult) -> None:
    sentence = "Not compiled: there is no edgetpu_compiler on PATH. docs/coral.md says how to do it on another machine."
    assert uncompiled.compiled is None
    assert sentence in uncompiled.text()
    assert sentence in uncompiled.parity_html.read_text("utf-8")
    assert json.loads(uncompiled.parity_json.read_text("utf-8"))["edgetpu"]["not_compiled"] == sentence
    assert sorted(path.name for path in uncompiled.artefact.parent.iterdir()) == [
        "m.parity.html",
        "m.parity.json",
        "m.tflite",
    ]


def test_a_compiler_changes_nothing_in_the_file_that_it_compiles(
    run: Path, uncompiled: ExportResult, tmp_path: Path
) -> None:
    program = write_stub(tmp_path)
    output = tmp_path / "m.tflite"
    result = _export(run, output, "--edgetpu-compiler", program, "--max-auroc-drop", 1, "--max-verdict-flips", 1)
    assert result.exit_code == 0, result.output
    assert output.read_bytes() == uncompiled.artefact.read_bytes()
    assert (tmp_path / "m_edgetpu.tflite").is_file()
    again = _export(run, output, "--edgetpu-compiler", "none", "--max-auroc-drop", 1, "--max-verdict-flips", 1)
    assert again.exit_code == 0, again.output
    assert "m_edgetpu.tflite' is of an earlier export" in again.stdout
    assert "Not compiled: --edgetpu-compiler none was given." in again.stdout


@pytest.mark.parametrize(
    ("behaviour", "log", "exit_code", "message"),
    [
        ("writes nothing", REFUSAL, 1, "Didn't find op for builtin opcode"),
        ("writes rubbish", "lorem ipsum", 0, "not a TFLite model"),
    ],
)
def test_a_compiler_that_fails_is_one_line_and_leaves_the_earlier_files(
    run: Path, tmp_path: Path, behaviour: str, log: str, exit_code: int, message: str
) -> None:
    output, device = tmp_path / "m.tflite", tmp_path / "m_edgetpu.tflite"
    output.write_bytes(b"an earlier artefact")
    device.write_bytes(b"an earlier compiled artefact")
    program = write_stub(tmp_path, behaviour, log, exit_code)
    assert message in _error_line(_export(run, output, "--edgetpu-compiler", program))
    assert output.read_bytes() == b"an earlier artefact"
    assert device.read_bytes() == b"an earlier compiled artefact"


def test_past_the_bound_neither_file_is_written(run: Path, tmp_path: Path) -> None:
    from export import gate

    output = tmp_path / "m.tflite"
    output.write_bytes(b"an earlier artefact")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "gate_failures", lambda parity, labels, options: ("too many verdicts flip",))
        result = _export(run, output, "--edgetpu-compiler", write_stub(tmp_path))
    assert "too many verdicts flip" in _error_line(result)
    assert output.read_bytes() == b"an earlier artefact"
    assert not (tmp_path / "m_edgetpu.tflite").exists()
    assert json.loads((tmp_path / "m.refused.parity.json").read_text("utf-8"))["edgetpu"]["compiled"] is True


def test_a_model_too_large_for_the_chip_is_exported_on_demand_only(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "ON_CHIP_BYTES", 1000)
    options = ("--edgetpu-compiler", "none", "--max-auroc-drop", 1, "--max-verdict-flips", 1)
    (tmp_path / "m.tflite").write_bytes(b"an earlier artefact")
    line = _error_line(_export(run, tmp_path / "m.tflite", *options))
    assert re.search(r"[kM]B of parameters do not fit into the chip's .* --allow-off-chip", line)
    assert (tmp_path / "m.tflite").read_bytes() == b"an earlier artefact"
    assert not (tmp_path / "m.parity.html").exists()
    result = _export(run, tmp_path / "m.tflite", "--allow-off-chip", *options)
    assert result.exit_code == 0, result.output
    assert re.search(r"edge tpu: .* [kM]B of parameters do not fit into the chip's", result.stdout)
    assert read_artefact(tmp_path / "m.tflite").metadata.parity["edgetpu"]["fits_on_chip"] is False


def test_parameters_that_the_compiler_leaves_off_the_chip_are_refused_unless_they_are_allowed(
    run: Path, tmp_path: Path
) -> None:
    """The static check says that this model fits; the compiler counts what it takes on the chip itself."""
    output = tmp_path / "m.tflite"
    output.write_bytes(b"an earlier artefact")
    line = _error_line(_export(run, output, "--edgetpu-compiler", write_stub(tmp_path, log=FULL_CHIP)))
    assert "By the compiler's count 1.3 MB of parameters did not fit on the chip" in line
    assert "--allow-off-chip" in line
    assert output.read_bytes() == b"an earlier artefact"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edgetpu_compiler", "m.tflite"]


def test_a_model_that_is_close_to_the_chip_s_size_is_left_to_the_compiler(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "SAFE_ON_CHIP_BYTES", 1000)
    options = ("--edgetpu-compiler", "none", "--max-auroc-drop", 1, "--max-verdict-flips", 1)
    result = _export(run, tmp_path / "m.tflite", *options)
    assert result.exit_code == 0, result.output
    assert re.search(r"edge tpu: .* close to what the chip's 8 MiB hold .*: the compiler decides", result.stdout)
    assert read_artefact(tmp_path / "m.tflite").metadata.parity["edgetpu"]["fits_on_chip"] is None


def test_sigterm_leaves_neither_files_nor_a_compiler_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, scratch = tmp_path / "out", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    (folder / "m.tflite").write_bytes(b"an earlier artefact")
    former = signal.getsignal(signal.SIGTERM)
    result = _export(run, folder / "m.tflite", "--edgetpu-compiler", write_stub(tmp_path, "ends its caller"))
    assert result.exit_code == 128 + signal.SIGTERM
    assert result.stderr.splitlines()[-1] == "Error: The command was stopped by SIGTERM before it was done."
    assert [path.name for path in folder.iterdir()] == ["m.tflite"]
    assert (folder / "m.tflite").read_bytes() == b"an earlier artefact"
    assert list(scratch.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == former


@pytest.mark.parametrize(
    ("quantized", "message"), [(True, r"version of CONV_2D"), (False, r"0 of 3 operations .* works on FLOAT32")]
)
def test_a_model_of_which_nothing_maps_is_refused(quantized: bool, message: str) -> None:
    content = tiny_flatbuffer(8, quantized=quantized)
    inspection = inspect_flatbuffer(content)
    if quantized:
        newer = tuple(dataclasses.replace(operation, version=6) for operation in inspection.operations)
        inspection = dataclasses.replace(inspection, operations=newer)
    built = BuiltModel(content, "ptq", inspection, {})
    with pytest.raises(ExportError, match=f"Nothing of this model would run on the Edge TPU.*{message}"):
        target_edgetpu(built, None, ExportOptions(target="edgetpu"), lambda *_: None)


def test_what_is_wrong_with_the_compiler_is_said_before_the_work(run: Path, tmp_path: Path) -> None:
    line = _error_line(_export(run, tmp_path / "m.tflite", "--edgetpu-compiler", tmp_path / "missing"))
    assert "which is no program that can be started" in line
    (tmp_path / "m_edgetpu.tflite").mkdir()
    line = _error_line(_export(run, tmp_path / "m.tflite", "--edgetpu-compiler", write_stub(tmp_path)))
    assert "m_edgetpu.tflite': it is a folder" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "edgetpu", "quantization": "float32"}, "computes in int8 only"),
        ({"edgetpu_compiler": "none"}, "of use with --target edgetpu only"),
        ({"allow_off_chip": True}, "of use with --target edgetpu only"),
        ({"quantization": "ptq", "fine_tuning_steps": 9}, "--fine-tuning-steps .* with --quantization ptq.* qat only"),
        ({"quantization": "float32", "encoder_loss_weight": 0.0}, "--encoder-loss-weight is given with"),
        ({"target": "tpu"}, "--target"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ExportOptions(**options)
