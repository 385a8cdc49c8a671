"""Reads and writes the artefact: one `.tflite` file that carries its metadata.

The metadata is a JSON file in a ZIP that is appended to the flatbuffer, TFLite's own convention for
associated files: every TFLite interpreter loads the file as it is, and `unzip -p model.tflite
tfganomaly.json` prints the metadata.
Equal content gives equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_runtime.atomic_files import write_bytes_atomically
from edge_runtime.calibration import Calibration
from edge_runtime.errors import ArtefactError, MetadataError
from edge_runtime.preprocessing import Preprocessing
from edge_runtime.scoring import ScoreRule
from edge_runtime.stored_fields import StoredFields
from edge_runtime.version import __version__

FORMAT_VERSION = 6
METADATA_FILENAME = "tfganomaly.json"
OUTPUT_NAMES = ("latent", "reconstructed_latent", "reconstruction")
QUANTIZATIONS = ("qat", "ptq", "float32")
TARGETS = ("cpu", "edgetpu")
MAX_ARTEFACT_BYTES = 512 * 1024 * 1024

_FLATBUFFER_IDENTIFIER = b"TFL3"
_MAX_METADATA_BYTES = 16 * 1024 * 1024
# What `zipfile` raises for a file that is no ZIP, or a damaged or foreign one.
_ZIP_DAMAGE = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, NotImplementedError)
# The earliest date that ZIP can tell: the file's bytes then depend on its content alone.
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class ArtefactMetadata:
    """Everything a device needs to know about a model beside its weights.

    Attributes:
        model: Name of the model family, such as "ganomaly".
        recipe: Name of the training recipe, such as "paper".
        preprocessing: Size, channels and resize rule of the input.
        score_rule: How scores and maps are made from the outputs.
        calibration: Threshold and ranges, from good images.
        outputs: Position in the interpreter's `get_output_details()` by name: "latent",
            "reconstructed_latent" and, where the model gives it, "reconstruction".
        quantization: "qat", "ptq" or "float32".
        target: "cpu" or "edgetpu".
        parity: Figures of the comparison with the float model; JSON values.
        data: What the model was trained on (source, fingerprint, seed ...); JSON values.
        versions: Version by package, of those that made the file.

    Raises:
        MetadataError: A name is unknown, or the score rule needs an output that the model does not give.
    """

    model: str
    recipe: str
    preprocessing: Preprocessing
    score_rule: ScoreRule
    calibration: Calibration
    outputs: Mapping[str, int]
    quantization: str
    target: str = "cpu"
    parity: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.score_rule.needs_discriminator:
            raise MetadataError("The stored score rule needs the discriminator, which is not in an artefact.")
        needed = OUTPUT_NAMES if self.score_rule.needs_reconstruction else OUTPUT_NAMES[:2]
        missing = [name for name in needed if name not in self.outputs]
        if missing:
            raise MetadataError(f"The stored outputs have no '{missing[0]}', which the score rule needs.")
        positions = [position for name, position in self.outputs.items() if name in OUTPUT_NAMES]
        if len(set(positions)) != len(positions) or min(positions) < 0:
            raise MetadataError(
                f"The positions of the stored outputs are {positions}; distinct numbers >= 0 were expected."
            )
        if self.quantization not in QUANTIZATIONS:
            raise MetadataError(
                f"The quantization is '{self.quantization}'; one of {', '.join(QUANTIZATIONS)} was expected."
            )
        if self.target not in TARGETS:
            raise MetadataError(f"The target is '{self.target}'; one of {', '.join(TARGETS)} was expected.")

    def with_calibration(self, calibration: Calibration) -> ArtefactMetadata:
        """Return the same metadata with another calibration."""
        return replace(self, calibration=calibration)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object, without the two fields that belong to the file (format version, SHA-256)."""
        return {
            "model": self.model,
            "recipe": self.recipe,
            "preprocessing": self.preprocessing.to_dict(),
            "score_rule": self.score_rule.to_dict(),
            "calibration": self.calibration.to_dict(),
            "outputs": dict(self.outputs),
            "quantization": self.quantization,
            "target": self.target,
            "parity": dict(self.parity),
            "data": dict(self.data),
            "versions": dict(self.versions),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ArtefactMetadata:
        """Return the metadata that `to_dict` described.

        Raises:
            MetadataError: A field is missing, has the wrong type or an impossible value.
        """
        fields = StoredFields(data, "metadata")
        outputs = fields.mapping("outputs")
        positions = StoredFields(outputs, "outputs")
        versions = fields.mapping("versions")
        return cls(
            model=fields.text("model"),
            recipe=fields.text("recipe"),
            preprocessing=Preprocessing.from_dict(fields.mapping("preprocessing")),
            score_rule=ScoreRule.from_dict(fields.mapping("score_rule")),
            calibration=Calibration.from_dict(fields.mapping("calibration")),
            outputs={name: positions.integer(name) for name in outputs},
            quantization=fields.text("quantization"),
            target=fields.text("target"),
            parity=fields.mapping("parity"),
            data=fields.mapping("data"),
            versions={name: str(version) for name, version in versions.items()},
        )


@dataclass(frozen=True)
class Artefact:
    """A model as it lies on the disk.

    Attributes:
        flatbuffer: The TFLite model alone, without the appended ZIP. Any interpreter takes it as
            `model_content`.
        metadata: What belongs to it.
    """

    flatbuffer: bytes
    metadata: ArtefactMetadata

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that is stored in the file."""
        return {
            "format_version": FORMAT_VERSION,
            "flatbuffer_sha256": flatbuffer_sha256(self.flatbuffer),
            **self.metadata.to_dict(),
        }

    def to_bytes(self) -> bytes:
        """Return the whole file: the flatbuffer with the metadata's ZIP after it.

        Raises:
            ArtefactError: The metadata holds a value that JSON does not know, such as NaN.
        """
        try:
            document = json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ArtefactError(f"The metadata cannot be written as JSON: {error}.") from error
        content = document.encode("utf-8", "backslashreplace")  # of a name that is not UTF-8: the escape that JSON has
        file = io.BytesIO(self.flatbuffer)
        with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(METADATA_FILENAME, _FIXED_DATE), content)
        return file.getvalue()


def read_artefact(path: str | os.PathLike[str]) -> Artefact:
    """Read and check an artefact.

    Args:
        path: A `.tflite` file that `tfganomaly export` wrote.

    Returns:
        The model and its metadata.

    Raises:
        ArtefactError: The file is missing, a folder, not TFLite, without metadata, cut short, damaged, or its
            format is newer than `FORMAT_VERSION`, or older and meant something else; or its flatbuffer is not the
            one that the metadata was written for.
    """
    content = read_tflite_file(path)
    flatbuffer, document = _split(content, path)
    try:
        stored = json.loads(document)
        fields = StoredFields(stored, "metadata")
        version = fields.integer("format_version")
        if version > FORMAT_VERSION:
            raise ArtefactError(
                f"Artefact '{path}' has format {version}; tfganomaly {__version__} reads formats up to "
                f"{FORMAT_VERSION}. Upgrade tfganomaly on this machine."
            )
        expected_sha256 = fields.text("flatbuffer_sha256")
        if flatbuffer_sha256(flatbuffer) != expected_sha256:
            raise ArtefactError(
                f"Artefact '{path}' was changed after its export: its model is not the one that its "
                "metadata describes. Copy it again or export it again."
            )
        has_statistics = fields.mapping("score_rule").get("statistics") is not None
        is_letterboxed = fields.mapping("preprocessing").get("resize_rule") == "letterbox"
        if (version < 6 and has_statistics) or (version < 4 and is_letterboxed):
            raise ArtefactError(
                f"Artefact '{path}' has format {version}, in which borders were filled and image statistics "
                "made in another way. Train and export it again."
            )
        return Artefact(flatbuffer, ArtefactMetadata.from_dict(stored))
    except (ValueError, RecursionError) as error:  # MetadataError, and text that is not UTF-8 or not JSON
        raise ArtefactError(f"Artefact '{path}' has damaged metadata: {error} Export it again.") from error


def write_artefact(path: str | os.PathLike[str], flatbuffer: bytes, metadata: ArtefactMetadata) -> Artefact:
    """Write a model with its metadata, replacing an earlier file in one step.

    Args:
        path: The file to write, by convention `*.tflite`.
        flatbuffer: A TFLite model. Metadata that is appended to it already is taken off.
        metadata: What belongs to it.

    Returns:
        What was written.

    Raises:
        ArtefactError: `flatbuffer` is not TFLite, or the metadata cannot be written as JSON.
        OutputError: The file cannot be written; an earlier file is untouched.
    """
    if not is_tflite(flatbuffer):
        raise ArtefactError("The model to be written is not a TFLite flatbuffer (its identifier TFL3 is missing).")
    artefact = Artefact(strip_metadata(flatbuffer), metadata)
    write_bytes_atomically(path, artefact.to_bytes())
    return artefact


def replace_metadata(path: str | os.PathLike[str], metadata: ArtefactMetadata, expected_sha256: str) -> Artefact:
    """Write other metadata into an artefact; the model stays as it is to the byte.

    Args:
        path: The artefact.
        metadata: What belongs to its model.
        expected_sha256: `flatbuffer_sha256` of the model that `metadata` was made for.

    Raises:
        ArtefactError: `path` is not a sound artefact, see `read_artefact`, or holds another model by now; it is
            untouched.
        OutputError: The file cannot be written; it is untouched.
    """
    flatbuffer = read_artefact(path).flatbuffer
    if flatbuffer_sha256(flatbuffer) != expected_sha256:
        raise ArtefactError(
            f"Artefact '{path}' was replaced by another model in the meantime, which the new metadata does not fit. "
            "It was left as it is; start again."
        )
    return write_artefact(path, flatbuffer, metadata)


def flatbuffer_sha256(flatbuffer: bytes) -> str:
    """Return what tells one model from another: 64 hexadecimal digits."""
    return hashlib.sha256(flatbuffer).hexdigest()


def read_tflite_file(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a `.tflite` file, with or without metadata.

    Raises:
        ArtefactError: The file is missing, a folder, empty, too large, unreadable or not TFLite.
    """
    try:
        if Path(path).is_dir():
            raise ArtefactError(f"Artefact '{path}' is a folder; a .tflite file was expected. Export the run first.")
        with Path(path).open("rb") as file:
            head = file.read(8)
            size_bytes = os.fstat(file.fileno()).st_size
            if not head:
                raise ArtefactError(f"Artefact '{path}' is empty (0 bytes). Copy it again or export it again.")
            if not is_tflite(head):
                raise ArtefactError(
                    f"'{path}' is not a TFLite model. Give a .tflite file that `tfganomaly export` wrote."
                )
            if size_bytes > MAX_ARTEFACT_BYTES:
                raise ArtefactError(
                    f"Artefact '{path}' has {size_bytes / 1e6:.0f} MB; at most "
                    f"{MAX_ARTEFACT_BYTES / 1e6:.0f} are accepted."
                )
            return head + file.read()
    except FileNotFoundError:
        raise ArtefactError(f"Artefact '{path}' does not exist. Check the path, or run `tfganomaly export`.") from None
    except OSError as error:
        raise ArtefactError(f"Artefact '{path}' cannot be opened: {error.strerror or error}.") from None
    except ValueError as error:  # a NUL character in the path
        raise ArtefactError(f"Artefact '{path}' is not a usable path: {error}.") from None


def is_tflite(content: bytes) -> bool:
    """Return whether `content` begins as a TFLite flatbuffer does. Eight bytes are enough to tell."""
    return content[4:8] == _FLATBUFFER_IDENTIFIER


def strip_metadata(content: bytes) -> bytes:
    """Return the flatbuffer alone, whatever ZIP is appended to it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except _ZIP_DAMAGE:
        return content
    return content[: min(member.header_offset for member in members)] if members else content


def _split(content: bytes, path: str | os.PathLike[str]) -> tuple[bytes, bytes]:
    """Return the flatbuffer and the JSON text of an artefact's content."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            member = archive.getinfo(METADATA_FILENAME)
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > _MAX_METADATA_BYTES:
                raise ArtefactError(f"Artefact '{path}' has metadata of a foreign kind. Export it again.")
            start = min(info.header_offset for info in archive.infolist())
            return content[:start], archive.read(member)
    except KeyError:
        raise _no_metadata(content, path) from None
    except _ZIP_DAMAGE as error:
        if METADATA_FILENAME.encode() in content:
            raise ArtefactError(
                f"Artefact '{path}' is damaged or cut short ({error}). Copy it again or export it again."
            ) from error
        raise _no_metadata(content, path) from None


def _no_metadata(content: bytes, path: str | os.PathLike[str]) -> ArtefactError:
    return ArtefactError(
        f"Artefact '{path}' ({len(content)} bytes) carries no tfganomaly metadata: it is a plain TFLite model, or "
        "its end is missing. Copy it again, or make one with `tfganomaly export`."
    )
