"""What an export for the Edge TPU comes to: the static check, and the compiler's result where there is a compiler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_runtime.artefact import Artefact, ArtefactMetadata
from edge_runtime.edgetpu.check import EdgeTpuCheck, bytes_text, check_for_edgetpu, fits_on_chip, too_large_text
from export.building import BuiltModel
from export.edgetpu_compiler import PROGRAM, SKIP, Compilation, CompilerLog, compile_for_edgetpu
from export.errors import ExportError
from export.options import ExportOptions


@dataclass(frozen=True)
class EdgeTpuTarget:
    """A model made for the Edge TPU.

    Attributes:
        check: Which operations map, by the vendor's table.
        compilation: What the compiler made of it, or None.
        not_compiled: Why it was not compiled; empty where it was.
    """

    check: EdgeTpuCheck
    compilation: Compilation | None = None
    not_compiled: str = ""

    def summary(self) -> dict[str, Any]:
        """What the artefact says about it; the same for the same bytes on any machine."""
        return self.check.summary()

    def to_dict(self) -> dict[str, Any]:
        """A JSON object for the report."""
        return {
            **self.check.to_dict(),
            "compiled": self.compilation is not None,
            "not_compiled": self.not_compiled,
            "compiler": self.compilation.log.to_dict() if self.compilation else None,
        }

    def conclusions(self) -> list[str]:
        """Sentences for people: the compiler's where there is one that says something, and the check's."""
        if self.compilation is None:
            return [*self.check.conclusions(), self.not_compiled]
        log = self.compilation.log
        compiled = f"Compiled by version {log.version}" if log.version else "Compiled"
        off_chip = [off_chip_text(log)] if log.off_chip_bytes else []
        if not log.is_understood:
            unread = f"{compiled}; its log has no table of operations that could be read."
            return [*self.check.conclusions(), unread, *off_chip]
        sentences = [f"{compiled}: {log.num_mapped} of {log.num_operations} operations on the Edge TPU.", *off_chip]
        return [*sentences, *(f"Static check: {sentence}" for sentence in self.check.conclusions())]

    def compiled_artefact(self, metadata: ArtefactMetadata) -> Artefact | None:
        """What the compiler made, with the metadata that it drops and what it said; None where nothing was compiled."""
        if self.compilation is None:
            return None
        log = self.compilation.log
        summary = {
            **self.summary(),
            **({} if log.fits_on_chip is None else {"fits_on_chip": log.fits_on_chip}),
            "compiler": log.version,
            "mapped_by_compiler": log.num_mapped if log.is_understood else None,
            "off_chip_bytes": log.off_chip_bytes,
        }
        return self.compilation.model.with_metadata(replace(metadata, parity={**metadata.parity, "edgetpu": summary}))


def off_chip_text(log: CompilerLog) -> str:
    """What it means that the compiler left parameters off the chip."""
    amount = bytes_text(log.off_chip_bytes or 0)
    if log.fits_on_chip:
        return (
            f"The compiler sends {amount} of parameters anew for each image although "
            f"{bytes_text(log.remaining_bytes or 0)} of the chip's memory remain: its own choice."
        )
    return (
        f"By the compiler's count {amount} of parameters did not fit on the chip and are sent anew for each image, "
        "which is slow."
    )


def refuse_too_large(parameter_bytes: int) -> None:
    """Says that a model is too large for the chip.

    Raises:
        ExportError: Its parameters do not fit. Where it is close the compiler decides.
    """
    if fits_on_chip(parameter_bytes) is False:
        raise ExportError(f"{too_large_text(parameter_bytes)} Export it all the same with --allow-off-chip.")


def target_edgetpu(
    built: BuiltModel, compiler: Path | None, options: ExportOptions, progress: Callable[[str, int, int], None]
) -> EdgeTpuTarget:
    """Checks a built model, and compiles it where there is a compiler.

    Args:
        built: The int8 model.
        compiler: The program, or None.
        options: What was asked for.
        progress: Told about the stage.

    Raises:
        ExportError: Nothing of the model would run on the Edge TPU, it does not fit by the check or by the compiler's
            own count, or the compiler failed.
    """
    progress("check for the Edge TPU", 0, 1)
    check = check_for_edgetpu(built.inspection)
    if check.is_refused or not check.num_mapped:
        raise ExportError(
            f"Nothing of this model would run on the Edge TPU. {' '.join(check.conclusions())} Export it with "
            f"--target cpu, or build the network from operations in docs/coral.md."
        )
    if not options.allow_off_chip and check.parameter_bytes is not None:
        refuse_too_large(check.parameter_bytes)
    progress("check for the Edge TPU", 1, 1)
    if compiler is not None:
        progress("compile for the Edge TPU", 0, 1)
        compilation = compile_for_edgetpu(built.flatbuffer, compiler)
        if compilation.log.fits_on_chip is False and not options.allow_off_chip:
            raise ExportError(
                f"{off_chip_text(compilation.log)} A narrower network fits. Export it all the same with "
                "--allow-off-chip."
            )
        progress("compile for the Edge TPU", 1, 1)
        return EdgeTpuTarget(check, compilation)
    was_skipped = options.edgetpu_compiler == SKIP
    reason = f"--edgetpu-compiler {SKIP} was given" if was_skipped else f"there is no {PROGRAM} on PATH"
    return EdgeTpuTarget(
        check, not_compiled=f"Not compiled: {reason}. docs/coral.md says how to do it on another machine."
    )
