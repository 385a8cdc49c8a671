"""A file that was compiled elsewhere becomes an artefact that judges as the one it was made from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edge_runtime.artefact import read_artefact, write_artefact
from edge_runtime.errors import ArtefactError
from edge_runtime.flatbuffer import inspect_flatbuffer
from export import ExportError, attach_metadata
from tests.edge_runtime.tiny_model import tiny_flatbuffer, tiny_metadata
from tests.export.stub_compiler import write_stub


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    path = tmp_path / "parts.tflite"
    write_artefact(path, tiny_flatbuffer(8), tiny_metadata(8, target="edgetpu"))
    return path


def _compile(exported: Path, behaviour: str = "compiles") -> Path:
    """As a user does on another machine: the compiler sees the artefact itself, and drops its metadata."""
    program = write_stub(exported.parent, behaviour)
    subprocess.run(
        [program, "-s", "-o", ".", exported.name], cwd=exported.parent, check=True, stdout=subprocess.DEVNULL
    )
    return exported.with_name("parts_edgetpu.tflite")


@pytest.mark.parametrize("behaviour", ["compiles", "swaps outputs"])
def test_outputs_keep_their_names_in_whatever_order_the_compiler_puts_them(exported: Path, behaviour: str) -> None:
    compiled = _compile(exported, behaviour)
    attach_metadata(compiled, exported)
    attach_metadata(compiled, exported)  # once more changes nothing
    artefact = read_artefact(compiled)
    inspection = inspect_flatbuffer(artefact.flatbuffer)
    assert inspection.operation_counts == {"edgetpu-custom-op": 1}
    names = {name: inspection.outputs[position].name for name, position in artefact.metadata.outputs.items()}
    assert names == {name: name for name in ("latent", "reconstructed_latent", "reconstruction")}
    assert artefact.metadata.calibration == read_artefact(exported).metadata.calibration


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("copies", r"parts_edgetpu.tflite' has no operation for the Edge TPU"),
        ("drops an output", r"parts_edgetpu.tflite' has other inputs or outputs"),
    ],
)
def test_what_is_not_the_compiled_model_is_refused_and_left_alone(exported: Path, behaviour: str, message: str) -> None:
    compiled = _compile(exported, behaviour)
    before = compiled.read_bytes()
    with pytest.raises(ExportError, match=message):
        attach_metadata(compiled, exported)
    assert compiled.read_bytes() == before


def test_a_file_that_is_missing_is_named(exported: Path) -> None:
    with pytest.raises(ArtefactError, match=r"parts_edgetpu.tflite' does not exist"):
        attach_metadata(exported.with_name("parts_edgetpu.tflite"), exported)
