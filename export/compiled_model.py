"""A model that went through the Edge TPU's compiler, fitted to the one that was given to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edge_runtime.artefact import Artefact, ArtefactMetadata, read_artefact, read_tflite_file, strip_metadata
from edge_runtime.atomic_files import write_bytes_atomically
from edge_runtime.edgetpu.rules import COMPILED_OPERATION
from edge_runtime.errors import ArtefactError
from edge_runtime.flatbuffer import TensorInfo, inspect_flatbuffer
from export.errors import ExportError


@dataclass(frozen=True)
class CompiledModel:
    """What the compiler wrote.

    Attributes:
        flatbuffer: The file's content, without metadata.
        output_places: For each output of the model that was given, its place among the compiled one's.
    """

    flatbuffer: bytes = field(repr=False)
    output_places: tuple[int, ...]

    @classmethod
    def made_from(cls, given: bytes, flatbuffer: bytes, name: str) -> CompiledModel:
        """Checks what the compiler wrote; outputs that it put in another order are found by their names.

        Args:
            given: The model that was compiled.
            flatbuffer: What became of it; metadata that is appended to it is taken off.
            name: What error texts call that.

        Raises:
            ExportError: It is not a model, not one for the Edge TPU, or has other inputs or outputs.
        """
        try:
            after = inspect_flatbuffer(flatbuffer, name=name)
        except ArtefactError as error:
            raise ExportError(str(error)) from None
        if COMPILED_OPERATION not in after.operation_counts:
            raise ExportError(f"{name} has no operation for the Edge TPU.")
        before = inspect_flatbuffer(given)
        names = [tensor.name for tensor in after.outputs]
        if len(set(names)) == len(names) and {tensor.name for tensor in before.outputs} == set(names):
            places = [names.index(tensor.name) for tensor in before.outputs]
        else:
            places = list(range(len(before.outputs)))
        kept = [after.outputs[place] for place in places if place < len(after.outputs)]
        if [_form(tensor) for tensor in (*before.inputs, *before.outputs)] != [
            _form(tensor) for tensor in (*after.inputs, *kept)
        ] or len(after.outputs) != len(before.outputs):
            raise ExportError(
                f"{name} has other inputs or outputs than the model that was compiled, so its scores could not be "
                "computed."
            )
        return cls(strip_metadata(flatbuffer), tuple(places))

    def output_positions(self, positions: Mapping[str, int]) -> dict[str, int]:
        """Where the named outputs of the model that was given stand in this one."""
        return {name: self.output_places[position] for name, position in positions.items()}

    def with_metadata(self, metadata: ArtefactMetadata) -> Artefact:
        """The artefact that it makes with the metadata of the model that was given."""
        return Artefact(self.flatbuffer, replace(metadata, outputs=self.output_positions(metadata.outputs)))


def attach_metadata(compiled: str | os.PathLike[str], exported: str | os.PathLike[str]) -> None:
    """Puts the metadata that the compiler drops back into a file that was compiled elsewhere.

    Args:
        compiled: What the compiler wrote; becomes an artefact.
        exported: The artefact that was given to the compiler.

    Raises:
        ArtefactError: A file is missing, or `exported` is not a sound artefact.
        ExportError: `compiled` is not what the compiler makes of `exported`; it is untouched.
        OutputError: It cannot be written.
    """
    artefact = read_artefact(exported)
    model = CompiledModel.made_from(artefact.flatbuffer, read_tflite_file(compiled), f"'{compiled}'")
    write_bytes_atomically(compiled, model.with_metadata(artefact.metadata).to_bytes())


def _form(tensor: TensorInfo) -> tuple[Any, ...]:
    return tensor.shape, tensor.type, tensor.scales, tensor.zero_points
