"""Where the files of an export go: looked at before the work, and filled together at its end."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.atomic_files import atomic_path, flush_to_disk, require_writable
from export.edgetpu_compiler import compiled_path
from export.errors import ExportError
from export.parity_files import ParityFiles

ARTEFACT_SUFFIX = ".tflite"


@dataclass(frozen=True)
class OutputPlaces:
    """The files of one export.

    Attributes:
        artefact: The file that was asked for.
        compiled: The same model compiled for the Edge TPU; None where nothing is compiled.
        report: The parity report beside the artefact.
        refused_report: That of a file that is refused.
    """

    artefact: Path
    compiled: Path | None
    report: ParityFiles
    refused_report: ParityFiles


def free_places(artefact: Path, *, is_compiled: bool) -> OutputPlaces:
    """Says before the work what would go wrong after it.

    Args:
        artefact: The `.tflite` file to write.
        is_compiled: Whether a compiled file is to stand beside it.

    Raises:
        ExportError: A name is wrong, or a folder stands where the report is to go.
        OutputError: A folder stands in the way, or there is none that can be written to.
    """
    _check_model_file(artefact)
    places = OutputPlaces(
        artefact=artefact,
        compiled=compiled_path(artefact) if is_compiled else None,
        report=ParityFiles.beside(artefact),
        refused_report=ParityFiles.beside(artefact.with_suffix(f".refused{ARTEFACT_SUFFIX}")),
    )
    if places.compiled is not None:
        _check_model_file(places.compiled)
    for files in (places.report, places.refused_report):
        for path in (files.json, files.html):
            if path.is_dir():
                raise ExportError(f"'{path}' is a folder; the parity report is written there. Move it away.")
    return places


def _check_model_file(path: Path) -> None:
    if path.suffix != ARTEFACT_SUFFIX:
        raise ExportError(f"The artefact is to be '{path}'; expected a name that ends in {ARTEFACT_SUFFIX}.")
    require_writable(path)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Writes files that belong together: where one cannot be written, all earlier ones stay.

    All are on the disk before the first of them takes its place; after that nothing but renaming is left.

    Args:
        contents: What to write by path. The first takes its place last.

    Raises:
        OutputError: A file cannot be written.
    """
    with ExitStack() as stack:
        for path, content in contents.items():
            temporary = stack.enter_context(atomic_path(path))
            temporary.write_bytes(content)
            flush_to_disk(temporary)
