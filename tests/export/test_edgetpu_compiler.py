"""The compiler's log as it is known from version 16.0, and every way in which a compiler can misbehave."""

from __future__ import annotations

import errno
import os
import select
import subprocess
from pathlib import Path

import pytest

from edge_runtime.errors import OutputError
from edge_runtime.flatbuffer import inspect_flatbuffer
from export import edgetpu_compiler
from export.edgetpu_compiler import compile_for_edgetpu, compiled_path, find_compiler, read_compiler_log
from export.errors import ExportError
from tests.edge_runtime.tiny_model import OUTPUTS, tiny_flatbuffer
from tests.export.stub_compiler import ALL_MAPPED, FULL_CHIP, REFUSAL, SOME_MAPPED, write_stub

MODEL = tiny_flatbuffer(8)


def test_the_log_of_a_model_that_maps_is_read() -> None:
    log = read_compiler_log(ALL_MAPPED)
    assert log.version == "16.0.384591198"
    assert log.operations[0] == ("CONV_2D", 8, "Mapped to Edge TPU")
    assert (log.num_mapped, log.num_operations) == (19, 19)
    assert log.on_chip_bytes == 1_572_864
    assert (log.off_chip_bytes, log.fits_on_chip) == (0, True)


def test_the_log_of_a_model_that_is_cut_is_read() -> None:
    log = read_compiler_log(SOME_MAPPED)
    assert (log.num_mapped, log.num_operations) == (15, 19)
    assert ("PRELU", 4, "More than one subgraph is not supported") in log.operations
    assert (log.remaining_bytes, log.off_chip_bytes) == (1_216_348, 42_752)


def test_what_streams_although_there_is_room_is_told_from_what_does_not_fit() -> None:
    assert read_compiler_log(SOME_MAPPED).fits_on_chip is True
    assert read_compiler_log(FULL_CHIP).fits_on_chip is False
    assert read_compiler_log(FULL_CHIP.replace("memory remaining", "memory lost")).fits_on_chip is False
    assert read_compiler_log("").fits_on_chip is None


@pytest.mark.parametrize(
    "text", ["", "hello\nworld", "Operator Count Status\n???", "On-chip memory used: lots", REFUSAL]
)
def test_what_is_no_log_is_not_understood(text: str) -> None:
    log = read_compiler_log(text)
    assert not log.is_understood
    assert log.on_chip_bytes is None


def test_numbers_that_no_compiler_means_are_not_read() -> None:
    digits = "9" * 5000
    text = ALL_MAPPED.replace("1.50MiB", f"{digits}MiB").replace("PRELU                          6", f"PRELU  {digits}")
    log = read_compiler_log(text)
    assert log.on_chip_bytes is None
    assert log.num_operations == 12


def test_a_temporary_folder_without_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = write_stub(tmp_path)

    def write_nothing(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_nothing)
    with pytest.raises(OutputError, match=r"Cannot write '.*tfganomaly-edgetpu-.*': the disk is full"):
        compile_for_edgetpu(MODEL, program)


def test_a_compiled_model_and_its_log_are_returned(tmp_path: Path) -> None:
    done = compile_for_edgetpu(MODEL, write_stub(tmp_path))
    assert inspect_flatbuffer(done.model.flatbuffer).operation_counts == {"edgetpu-custom-op": 1}
    assert done.log.num_mapped == 19
    assert done.model.output_positions(OUTPUTS) == OUTPUTS


def test_outputs_that_the_compiler_puts_in_another_order_are_found_again(tmp_path: Path) -> None:
    done = compile_for_edgetpu(MODEL, write_stub(tmp_path, "swaps outputs"))
    assert done.model.output_positions(OUTPUTS) == {"latent": 2, "reconstructed_latent": 1, "reconstruction": 0}


def test_a_good_model_with_a_strange_log_is_taken(tmp_path: Path) -> None:
    done = compile_for_edgetpu(MODEL, write_stub(tmp_path, log="version 99: all fine"))
    assert not done.log.is_understood


@pytest.mark.parametrize(
    ("behaviour", "log", "exit_code", "message"),
    [
        (
            "writes nothing",
            REFUSAL,
            1,
            r"failed with exit code 1: ERROR: Didn't find op .* 'TRANSPOSE_CONV' version '4'",
        ),
        ("writes nothing", "blah\nInternal compiler error. Aborting!", 1, "Internal compiler error. Aborting!"),
        ("writes nothing", "lorem\nipsum", 0, "wrote no model: ipsum"),
        ("writes nothing", "", 3, "exit code 3: it said nothing"),
        (
            "writes nothing",
            "\x1b[31mERROR: \x1b[0m no such file",
            1,
            r"exit code 1: \\x1b\[31mERROR: \\x1b\[0m no such",
        ),
        ("writes nothing", "\x00\x01\x02\x1bP\x03\x04\x9b\n\ufffd\ufffd\ufffdx", 1, "it said nothing that can be read"),
        ("writes rubbish", "lorem ipsum", 0, r"cannot be used \(lorem ipsum\): what it wrote is not a TFLite model"),
        ("copies", SOME_MAPPED, 0, "what it wrote has no operation for the Edge TPU"),
        ("drops an output", ALL_MAPPED, 0, "other inputs or outputs than the model that was compiled"),
    ],
)
def test_a_compiler_that_fails_is_one_line(
    tmp_path: Path, behaviour: str, log: str, exit_code: int, message: str
) -> None:
    program = write_stub(tmp_path, behaviour, log, exit_code)
    with pytest.raises(ExportError, match=message) as caught:
        compile_for_edgetpu(MODEL, program)
    assert str(program) in str(caught.value)
    assert "--edgetpu-compiler none" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_program_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    program = tmp_path / "edgetpu_compiler"
    program.write_bytes(b"\x00\x01\x02")
    program.chmod(0o755)
    with pytest.raises(ExportError, match="cannot be started"):
        compile_for_edgetpu(MODEL, program)


@pytest.mark.parametrize(
    ("reason", "error"),
    [(subprocess.TimeoutExpired("edgetpu_compiler", 900), ExportError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_compiler_that_hangs_behind_a_script_is_ended_with_it(
    reason: BaseException, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, program = tmp_path / "pipe", tmp_path / "edgetpu_compiler"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    program.write_text(f"#!/bin/sh\nexec 3>'{pipe}'\nsleep 60 &\necho started >&3\nwait\n")
    program.chmod(0o755)

    def wait_in_vain(*_: object) -> None:
        assert select.select([reader], [], [], 60)[0]
        raise reason

    monkeypatch.setattr(edgetpu_compiler, "_read_log", wait_in_vain)
    try:
        with pytest.raises(error):
            compile_for_edgetpu(MODEL, program)
        assert os.read(reader, 100) == b"started\n"
        assert select.select([reader], [], [], 20)[0], "a process of the compiler still holds the pipe"
        assert os.read(reader, 100) == b""
    finally:
        os.close(reader)


def test_a_compiler_that_takes_too_long_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "edgetpu_compiler"
    monkeypatch.setattr(edgetpu_compiler, "_MOST_SECONDS", 0.2)
    for behaviour in ("exec sleep 60", "exec sleep 60 >&- 2>&-"):
        program.write_text(f"#!/bin/sh\n{behaviour}\n")
        program.chmod(0o755)
        with pytest.raises(ExportError, match=r"did not end within 0.2 seconds"):
            compile_for_edgetpu(MODEL, program)


def test_a_compiler_that_prints_without_end_is_one_line(tmp_path: Path) -> None:
    program = tmp_path / "edgetpu_compiler"
    program.write_text("#!/bin/sh\nexec yes nonsense\n")
    program.chmod(0o755)
    with pytest.raises(ExportError, match="printed more than 1 MiB"):
        compile_for_edgetpu(MODEL, program)


def test_the_compiler_is_looked_for_where_the_option_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler("auto") is None
    program = write_stub(tmp_path)
    assert find_compiler("auto") == program
    assert find_compiler(str(program)) == program
    assert find_compiler("none") is None
    with pytest.raises(ExportError, match=r"--edgetpu-compiler is '.*missing', which is no program"):
        find_compiler(str(tmp_path / "missing"))


def test_the_compiled_file_has_the_name_that_the_compiler_gives() -> None:
    assert compiled_path(Path("models/m.v2.tflite")) == Path("models/m.v2_edgetpu.tflite")
