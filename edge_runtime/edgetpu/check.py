"""Predicts what of a `.tflite` model the Edge TPU will run, without the vendor's compiler.

The compiler makes one piece of the operations that map and of which everything before them maps too; the rest runs
on the CPU. So one operation in the wrong place leaves the device idle. That prediction is static: the compiler has
limits that are not published, and its own log counts where it was run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge_runtime.edgetpu.rules import (
    COMPILED_OPERATION,
    QUANTIZED_TYPES,
    SIZE_DEPENDENT,
    SUPPORTED_OPERATIONS,
    is_version_unknown,
    reason_against,
)
from edge_runtime.flatbuffer import FlatbufferInspection, OperationInfo, TensorInfo, inspect_tflite_file

# The chip has 8 MiB, of which the compiled program and what flows between operations take a part. Full chips in public
# logs of the compiler hold 6.86 MiB of parameters (google-coral/edgetpu, issue 60: 7.75 KiB remain) to 7.16 MiB (issue
# 518: 2.25 KiB). What the compiler counts is also more than the weights alone. So what is near is left to the compiler.
ON_CHIP_BYTES = 8 * 1024**2
SAFE_ON_CHIP_BYTES = 7_000_000

EDGE_TPU, CPU = "Edge TPU", "CPU"


@dataclass(frozen=True)
class OperationVerdict:
    """Where one operation runs.

    Attributes:
        position: Its place in the order of execution, from 0.
        name: "CONV_2D" ...
        version: The operation's version.
        output_shape: Of its first output.
        maps: Whether the Edge TPU can run it, looked at alone.
        runs_on: "Edge TPU" or "CPU".
        reason: Why on the CPU, or what remains uncertain; empty where there is nothing to say.
    """

    position: int
    name: str
    version: int
    output_shape: tuple[int, ...]
    maps: bool
    runs_on: str
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        return {**vars(self), "output_shape": list(self.output_shape)}


@dataclass(frozen=True)
class EdgeTpuCheck:
    """What the static check found.

    Attributes:
        operations: One verdict an operation, in the order of execution.
        cuts: Positions of the operations behind which the rest of their branch runs on the CPU.
        parameter_bytes: Weights and biases of the operations that run on the Edge TPU; None of a file that has been
            through the compiler, which hides them in its own operation.
        is_compiled: Whether the file has been through the compiler already.
        unknown_versions: The operations whose version compiler 16.0 does not know: it refuses the whole file.
    """

    operations: tuple[OperationVerdict, ...]
    cuts: tuple[int, ...]
    parameter_bytes: int | None
    is_compiled: bool
    unknown_versions: tuple[str, ...]

    @property
    def is_refused(self) -> bool:
        """Whether compiler 16.0 refuses the whole file; never of one that has been through it."""
        return bool(self.unknown_versions) and not self.is_compiled

    @property
    def num_mapped(self) -> int:
        """How many operations run on the Edge TPU."""
        return sum(verdict.runs_on == EDGE_TPU for verdict in self.operations)

    @property
    def fits_on_chip(self) -> bool | None:
        """Whether the parameters stay in the chip's memory instead of being sent anew for each image.

        None: unknown, of a compiled file, or so close that the compiler decides.
        """
        return None if self.parameter_bytes is None else fits_on_chip(self.parameter_bytes)

    def summary(self) -> dict[str, Any]:
        """The figures that go into an artefact's metadata."""
        return {
            "operations": len(self.operations),
            "mapped": self.num_mapped,
            "parameter_bytes": self.parameter_bytes,
            "fits_on_chip": self.fits_on_chip,
        }

    def to_dict(self) -> dict[str, Any]:
        """A JSON object with everything."""
        return {
            **self.summary(),
            "is_compiled": self.is_compiled,
            "is_refused": self.is_refused,
            "cuts": list(self.cuts),
            "table": [verdict.to_dict() for verdict in self.operations],
        }

    def conclusions(self) -> list[str]:
        """One sentence for each thing that a person should know, the most important first."""
        total, mapped = len(self.operations), self.num_mapped
        if self.is_compiled:
            return [f"Compiled for the Edge TPU already; {total - mapped} of its operations stay on the CPU."]
        if self.is_refused:
            names = ", ".join(self.unknown_versions)
            return [f"Compiler 16.0 refuses this file: it does not know the version of {names}."]
        sentences = [f"{mapped} of {total} operations run on the Edge TPU."]
        if self.cuts:
            first = self.operations[self.cuts[0]]
            sentences.append(f"The graph is cut at operation {first.position}, {first.name}: {first.reason}.")
        uncertain = [verdict for verdict in self.operations if verdict.reason == SIZE_DEPENDENT]
        if uncertain:
            sentences.append(
                f"Whether {uncertain[0].name} maps depends on its size ({len(uncertain)} of them); without the "
                f"compiler that is unknown."
            )
        if self.parameter_bytes is not None and self.fits_on_chip is None:
            sentences.append(close_text(self.parameter_bytes))
        elif self.parameter_bytes is not None and not self.fits_on_chip:
            sentences.append(too_large_text(self.parameter_bytes))
        return sentences


def fits_on_chip(parameter_bytes: int) -> bool | None:
    """Whether so many bytes stay in the chip's memory; None: it is close, and the compiler decides."""
    if parameter_bytes > ON_CHIP_BYTES:
        return False
    return True if parameter_bytes <= SAFE_ON_CHIP_BYTES else None


def close_text(parameter_bytes: int) -> str:
    """What parameters that nearly fill the chip's memory mean."""
    return (
        f"{bytes_text(parameter_bytes)} of parameters are close to what the chip's {ON_CHIP_BYTES / 1024**2:.0f} MiB "
        "hold beside the program: the compiler decides whether they fit."
    )


def too_large_text(parameter_bytes: int) -> str:
    """What parameters beyond the chip's memory mean."""
    return (
        f"{bytes_text(parameter_bytes)} of parameters do not fit into the chip's {ON_CHIP_BYTES / 1024**2:.0f} MiB: "
        "the rest is sent anew for each image, which is slow. A narrower network fits."
    )


def bytes_text(num_bytes: int) -> str:
    """A number of bytes for people: "64 bytes", "43 kB", "8.4 MB"."""
    if num_bytes < 1000:
        return f"{num_bytes} bytes"
    return f"{num_bytes / 1e3:.0f} kB" if num_bytes < 999_500 else f"{num_bytes / 1e6:.1f} MB"


def check_edgetpu_file(path: str | os.PathLike[str]) -> EdgeTpuCheck:
    """Checks any `.tflite` file, of this project or not.

    Raises:
        ArtefactError: The file is missing, not TFLite or damaged.
        BackendError: The package that knows TFLite's schema is not installed.
    """
    return check_for_edgetpu(inspect_tflite_file(path))


def check_for_edgetpu(inspection: FlatbufferInspection) -> EdgeTpuCheck:
    """Checks what `inspect_flatbuffer` read."""
    on_cpu = set[int]()  # tensors, by index, that the CPU makes
    verdicts: list[OperationVerdict] = []
    cuts: list[int] = []
    parameters: dict[int, int] = {}
    several_graphs = inspection.num_graphs > 1
    unknown_versions = tuple(sorted({each.name for each in inspection.operations if is_version_unknown(each)}))
    is_compiled = any(operation.name == COMPILED_OPERATION for operation in inspection.operations)
    for position, operation in enumerate(inspection.operations):
        reason = "" if operation.name == COMPILED_OPERATION else reason_against(operation)
        if several_graphs and not reason:
            reason = "the model has several graphs, for control flow, which the compiler does not take"
        maps = not reason
        follows_cpu = any(tensor.index in on_cpu for tensor in operation.inputs)
        if maps and follows_cpu:
            reason = "what it needs comes from the CPU: behind the cut"
        elif maps and is_compiled and operation.name != COMPILED_OPERATION:
            reason = "the compiler left it to the CPU"
        elif maps and unknown_versions:
            reason = "the compiler refuses the file"
        runs_on = CPU if reason else EDGE_TPU
        if runs_on == CPU:
            if not _is_entrance(operation, inspection):
                on_cpu.update(tensor.index for tensor in operation.outputs)
                if not maps and not follows_cpu and _is_read(operation, inspection):
                    cuts.append(position)
        else:
            parameters.update((tensor.index, tensor.constant_bytes) for tensor in _parameters(operation))
            supported = SUPPORTED_OPERATIONS.get(operation.name)
            reason = SIZE_DEPENDENT if supported is not None and supported.is_size_dependent else ""
        shape = operation.outputs[0].shape if operation.outputs else ()
        verdicts.append(
            OperationVerdict(position, operation.name, operation.version, shape, maps, runs_on, reason),
        )
    return EdgeTpuCheck(
        operations=tuple(verdicts),
        cuts=tuple(cuts),
        parameter_bytes=None if is_compiled else sum(parameters.values()),
        is_compiled=is_compiled,
        unknown_versions=unknown_versions,
    )


def _parameters(operation: OperationInfo) -> Iterator[TensorInfo]:
    """Constants that are numbers of the network, not shapes and axes, which INT32 tensors without a scale are."""
    for tensor in operation.inputs:
        if tensor.is_constant and (tensor.type in QUANTIZED_TYPES or tensor.scales):
            yield tensor


def _is_entrance(operation: OperationInfo, inspection: FlatbufferInspection) -> bool:
    """Whether it turns the model's float input into integers: the CPU does that first, and nothing is cut by it."""
    entrances = {tensor.index for tensor in inspection.inputs}
    return operation.name == "QUANTIZE" and all(tensor.index in entrances for tensor in operation.inputs)


def _is_read(operation: OperationInfo, inspection: FlatbufferInspection) -> bool:
    """Whether any other operation needs what this one makes; a DEQUANTIZE at the end cuts nothing off."""
    made = {tensor.index for tensor in operation.outputs}
    return any(tensor.index in made for other in inspection.operations for tensor in other.inputs)
