"""Runs the vendor's `edgetpu_compiler` on a model and reads what it printed.

The program is closed, exists for x86-64 Linux only, and is found on PATH or named by the user. Nothing that it says or
writes is trusted unseen: the file that it made must hold an Edge TPU operation and the inputs and outputs of the
model that it was given.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.atomic_files import write_bytes_atomically
from edge_runtime.printable_text import printable
from export.compiled_model import CompiledModel
from export.errors import ExportError

PROGRAM = "edgetpu_compiler"
SEARCH, SKIP = "auto", "none"
_MOST_SECONDS = 900  # the program itself gives up after 180
_MOST_LOG_BYTES, _PART_BYTES = 1 << 20, 1 << 16
_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_TABLE_HEAD = re.compile(r"^Operator\s+Count\s+Status\s*$", re.MULTILINE)
_TABLE_LINE = re.compile(r"^(\S+)\s+(\d{1,9})\s+(\S.*)$")
_NOT_UTF8 = "\ufffd"
_MOST_UNREADABLE = 0.2  # of a line's characters; colours are fewer
_TELLING = re.compile(r"error|invalid|abort|fail|not quantized|could not", re.IGNORECASE)


@dataclass(frozen=True)
class CompilerLog:
    """What the compiler printed, as far as it was understood.

    Attributes:
        text: All of it.
        version: Its version, or "".
        operations: (operation, count, status) as in its table; empty where there is none.
        on_chip_bytes: Parameters that stay on the chip, or None.
        remaining_bytes: What is left of the chip's memory for parameters, or None.
        off_chip_bytes: Parameters that are sent for each image, or None.
    """

    text: str = field(repr=False)
    version: str = ""
    operations: tuple[tuple[str, int, str], ...] = ()
    on_chip_bytes: int | None = None
    remaining_bytes: int | None = None
    off_chip_bytes: int | None = None

    @property
    def is_understood(self) -> bool:
        """Whether the table of operations was found."""
        return bool(self.operations)

    @property
    def num_operations(self) -> int:
        """How many operations the table counts."""
        return sum(count for _, count, _ in self.operations)

    @property
    def num_mapped(self) -> int:
        """How many of them the compiler put on the Edge TPU."""
        return sum(count for _, count, status in self.operations if status == "Mapped to Edge TPU")

    @property
    def fits_on_chip(self) -> bool | None:
        """Whether the chip has room for all parameters; None: it did not say how many there are.

        The compiler sends some anew for each image although there is room. That is its own choice, and no smaller
        network changes it. Where it does not say what remains, nothing does.
        """
        return None if self.off_chip_bytes is None else self.off_chip_bytes <= (self.remaining_bytes or 0)

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "version": self.version,
            "operations": [{"name": name, "count": count, "status": status} for name, count, status in self.operations],
            "mapped": self.num_mapped if self.is_understood else None,
            "on_chip_bytes": self.on_chip_bytes,
            "remaining_bytes": self.remaining_bytes,
            "off_chip_bytes": self.off_chip_bytes,
            "log": self.text,
        }


@dataclass(frozen=True)
class Compilation:
    """A model that went through the compiler.

    Attributes:
        model: What it wrote.
        log: What it printed.
    """

    model: CompiledModel
    log: CompilerLog


def find_compiler(setting: str) -> Path | None:
    """Finds the program.

    Args:
        setting: "auto" to look on PATH, "none" to do without, or the program itself.

    Returns:
        The program, or None where there is none on PATH or none is wanted.

    Raises:
        ExportError: A program was named that cannot be started.
    """
    if setting == SKIP:
        return None
    found = shutil.which(PROGRAM if setting == SEARCH else setting)
    if found is None and setting != SEARCH:
        raise ExportError(
            f"--edgetpu-compiler is '{setting}', which is no program that can be started; expected the path of "
            f"{PROGRAM}, {SEARCH} to look for it on PATH, or {SKIP} to export without compiling."
        )
    return Path(found).absolute() if found else None


def compiled_path(artefact: Path) -> Path:
    """Where the compiled model goes: `m_edgetpu.tflite` beside `m.tflite`, as the compiler itself names it."""
    return artefact.with_name(f"{artefact.stem}_edgetpu.tflite")


def compile_for_edgetpu(flatbuffer: bytes, compiler: Path) -> Compilation:
    """Compiles a model.

    Args:
        flatbuffer: An int8 model without metadata.
        compiler: The program.

    Raises:
        ExportError: The program cannot be started, fails, takes too long, or did not write a model for the Edge TPU
            with the same inputs and outputs.
        OutputError: The temporary folder has no room for the model.
    """
    with tempfile.TemporaryDirectory(prefix="tfganomaly-edgetpu-") as folder:
        write_bytes_atomically(Path(folder) / "model.tflite", flatbuffer)
        text = _run(compiler, folder)
        written, own_log = (Path(folder) / f"model_edgetpu{suffix}" for suffix in (".tflite", ".log"))
        if not written.is_file():
            raise _failure(compiler, f"wrote no model: {_telling_line(text)}")
        if not _TABLE_HEAD.search(text) and own_log.is_file():
            text += own_log.read_text("utf-8", errors="replace")
        content = written.read_bytes()
    try:
        model = CompiledModel.made_from(flatbuffer, content, "what it wrote")
    except ExportError as error:
        raise _failure(compiler, f"wrote a file that cannot be used ({_telling_line(text)}): {error}") from None
    return Compilation(model, read_compiler_log(text))


def read_compiler_log(text: str) -> CompilerLog:
    """Reads what compiler 16.0 prints with `-s`; anything else gives a log that is not understood."""
    version = re.search(r"Edge TPU Compiler version (\S+)", text)
    head = _TABLE_HEAD.search(text)
    rows = []
    for line in text[head.end() :].strip().splitlines() if head else []:
        row = _TABLE_LINE.match(line.rstrip())
        if row:
            rows.append((row[1], int(row[2]), row[3]))
        elif rows:
            break  # the table is over
    return CompilerLog(
        text=text,
        version=version[1] if version else "",
        operations=tuple(rows),
        on_chip_bytes=_size_after("On-chip memory used for caching model parameters", text),
        remaining_bytes=_size_after("On-chip memory remaining for caching model parameters", text),
        off_chip_bytes=_size_after("Off-chip memory used for streaming uncached model parameters", text),
    )


def _run(compiler: Path, folder: str) -> str:
    try:
        with subprocess.Popen(
            [str(compiler), "-s", "-o", ".", "model.tflite"],
            cwd=folder,  # so that its log names no temporary folder
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, which ends as a whole
        ) as process:
            try:
                output = _read_log(compiler, process)
            except BaseException:  # also Ctrl-C, which a group of its own does not hear
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
    except subprocess.TimeoutExpired:
        raise _failure(compiler, f"did not end within {_MOST_SECONDS} seconds") from None
    except OSError as error:
        raise _failure(compiler, f"cannot be started ({error.strerror or error})") from None
    text = output.decode("utf-8", errors="replace")
    if process.returncode:
        raise _failure(compiler, f"failed with exit code {process.returncode}: {_telling_line(text)}")
    return text


def _read_log(compiler: Path, process: subprocess.Popen[bytes]) -> bytes:
    """Reads what a compiler prints until it has ended.

    Raises:
        ExportError: It prints more than any compiler has to say.
        TimeoutExpired: It does not end.
    """
    assert process.stdout is not None
    end_seconds = time.monotonic() + _MOST_SECONDS
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, end_seconds - time.monotonic())):
            part = os.read(process.stdout.fileno(), _PART_BYTES)
            if not part:
                process.wait(max(0.0, end_seconds - time.monotonic()))
                return output
            output += part
            if len(output) > _MOST_LOG_BYTES:
                raise _failure(compiler, f"printed more than {_MOST_LOG_BYTES >> 20} MiB, which no compiler does")
    raise subprocess.TimeoutExpired(process.args, _MOST_SECONDS)


def _failure(compiler: Path, what: str) -> ExportError:
    return ExportError(
        f"The Edge TPU compiler '{compiler}' {what.rstrip('.')}. Nothing was exported; --edgetpu-compiler {SKIP} "
        f"exports without compiling."
    )


def _telling_line(text: str) -> str:
    """The line of a log that says best what went wrong."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    readable = [printable(line[:200]) for line in lines if _is_readable(line)]
    if not readable:
        return "it said nothing that can be read" if lines else "it said nothing"
    return next((line for line in readable if _TELLING.search(line)), readable[-1])


def _is_readable(line: str) -> bool:
    """Whether a line is words rather than a program's bytes: few of those can be shown or are UTF-8."""
    unreadable = sum(not character.isprintable() or character == _NOT_UTF8 for character in line)
    return unreadable <= len(line) * _MOST_UNREADABLE


def _size_after(words: str, text: str) -> int | None:
    found = re.search(rf"{re.escape(words)}:\s*([\d.]+)\s*(B|KiB|MiB|GiB)", text)
    try:
        return round(float(found[1]) * _UNITS[found[2]]) if found else None
    except (ValueError, OverflowError):  # several points in the number, or too many digits
        return None
