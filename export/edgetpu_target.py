"""What an export for the Edge TPU comes to: the static check, and the compiler's result where there is a compiler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_runtime.artefact import ArtefactMetadata, write_artefact
from edge_runtime.edgetpu_check import EdgeTpuCheck, check_for_edgetpu
from export.building import BuiltModel
from export.edgetpu_compiler import PROGRAM, SKIP, Compilation, compile_for_edgetpu, compiled_path
from export.errors import ExportError


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

    def compiled_summary(self) -> dict[str, Any]:
        """What the compiled artefact says about it."""
        assert self.compilation is not None
        log = self.compilation.log
        return {
            **self.summary(),
            "compiler": log.version,
            "mapped_by_compiler": log.num_mapped if log.is_understood else None,
            "off_chip_bytes": log.off_chip_bytes,
        }

    def to_dict(self) -> dict[str, Any]:
        """A JSON object for the report."""
        return {
            **self.check.to_dict(),
            "compiled": self.compilation is not None,
            "not_compiled": self.not_compiled,
            "compiler": self.compilation.log.to_dict() if self.compilation else None,
        }

    def conclusions(self) -> list[str]:
        """Sentences for people: the check's, then the compiler's or why there is none."""
        if self.compilation is None:
            return [*self.check.conclusions(), self.not_compiled]
        log = self.compilation.log
        compiled = f"Compiled by version {log.version}" if log.version else "Compiled"
        if not log.is_understood:
            return [*self.check.conclusions(), f"{compiled}; its log has no table of operations that could be read."]
        sentences = [f"{compiled}: {log.num_mapped} of {log.num_operations} operations on the Edge TPU."]
        if log.off_chip_bytes:
            sentences.append(
                f"{log.off_chip_bytes / 1e3:,.0f} kB of parameters did not fit on the chip and are sent anew for each "
                f"image, which is slow."
            )
        return [*self.check.conclusions(), *sentences]

    def write_compiled(self, artefact: Path, metadata: ArtefactMetadata) -> Path | None:
        """Writes what the compiler made beside the artefact, with the metadata that the compiler drops.

        Returns:
            The file, or None where nothing was compiled.

        Raises:
            OutputError: It cannot be written.
        """
        if self.compilation is None:
            return None
        path = compiled_path(artefact)
        metadata = replace(
            metadata,
            outputs=self.compilation.output_positions(metadata.outputs),
            parity={**metadata.parity, "edgetpu": self.compiled_summary()},
        )
        write_artefact(path, self.compilation.flatbuffer, metadata)
        return path

    def notes(self, artefact: Path) -> tuple[str, ...]:
        """Warns of a compiled file that an earlier export left beside the artefact."""
        path = compiled_path(artefact)
        if self.compilation is not None or not path.exists():
            return ()
        return (f"'{path}' is of an earlier export and does not belong to this one.",)


def target_edgetpu(
    built: BuiltModel, compiler: Path | None, setting: str, progress: Callable[[str, int, int], None]
) -> EdgeTpuTarget:
    """Checks a built model, and compiles it where there is a compiler.

    Args:
        built: The int8 model.
        compiler: The program, or None.
        setting: The option that led to it, for the words.
        progress: Told about the stage.

    Raises:
        ExportError: Nothing of the model would run on the Edge TPU, or the compiler failed.
    """
    progress("check for the Edge TPU", 0, 1)
    check = check_for_edgetpu(built.inspection)
    if check.is_refused or not check.num_mapped:
        raise ExportError(
            f"Nothing of this model would run on the Edge TPU. {' '.join(check.conclusions())} Export it with "
            f"--target cpu, or build the network from operations in docs/coral.md."
        )
    progress("check for the Edge TPU", 1, 1)
    if compiler is not None:
        progress("compile for the Edge TPU", 0, 1)
        compilation = compile_for_edgetpu(built.flatbuffer, compiler)
        progress("compile for the Edge TPU", 1, 1)
        return EdgeTpuTarget(check, compilation)
    reason = f"--edgetpu-compiler {SKIP} was given" if setting == SKIP else f"there is no {PROGRAM} on PATH"
    return EdgeTpuTarget(check, not_compiled=f"Not compiled: {reason}.")
