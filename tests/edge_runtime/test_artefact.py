from __future__ import annotations

import io
import json
import math
import os
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.artefact import (
    FORMAT_VERSION,
    METADATA_FILENAME,
    Artefact,
    ArtefactMetadata,
    flatbuffer_sha256,
    read_artefact,
    replace_metadata,
    strip_metadata,
    write_artefact,
)
from edge_runtime.errors import ArtefactError, MetadataError, OutputError
from edge_runtime.flatbuffer import inspect_flatbuffer
from edge_runtime.scoring import ScoreRule
from edge_runtime.text_output import info_text
from tests.edge_runtime.tiny_model import tiny_calibration, tiny_flatbuffer, tiny_metadata

FLATBUFFER = tiny_flatbuffer(8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "parts.tflite"
    write_artefact(path, FLATBUFFER, tiny_metadata(8))
    return path


def assert_refused(path: Path, *words: str) -> None:
    with pytest.raises(ArtefactError) as caught:
        read_artefact(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for word in words:
        assert word in message


def with_stored(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Rewrite the artefact's JSON as another program could have written it."""
    with zipfile.ZipFile(path) as archive:
        stored = json.loads(archive.read(METADATA_FILENAME))
    replacement = change(stored)
    path.write_bytes(FLATBUFFER)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA_FILENAME, json.dumps(stored if replacement is None else replacement))


def test_model_and_metadata_come_back_as_they_were_written(path: Path) -> None:
    metadata = tiny_metadata(8, parity={"auroc": 0.9, "flips": [1, 2]}, data={"seed": 3, "source": "größe"})
    write_artefact(path, FLATBUFFER, metadata)
    artefact = read_artefact(path)
    assert artefact.flatbuffer == FLATBUFFER
    assert artefact.metadata == metadata
    assert ArtefactMetadata.from_dict(metadata.to_dict()) == metadata


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    write_artefact(tmp_path / "a.tflite", FLATBUFFER, tiny_metadata(8, versions={"a": "1", "b": "2"}))
    write_artefact(tmp_path / "b.tflite", FLATBUFFER, tiny_metadata(8, versions={"b": "2", "a": "1"}))
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()


def test_the_file_begins_with_the_flatbuffer_and_ends_with_an_ordinary_zip(path: Path) -> None:
    content = path.read_bytes()
    assert content.startswith(FLATBUFFER)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        stored = json.loads(archive.read(METADATA_FILENAME))
        assert archive.infolist()[0].header_offset == len(FLATBUFFER)
    assert stored["format_version"] == FORMAT_VERSION
    assert len(stored["flatbuffer_sha256"]) == 64
    assert stored["preprocessing"]["pixel_range"] == [-1.0, 1.0]
    assert strip_metadata(content) == FLATBUFFER
    assert strip_metadata(FLATBUFFER) == FLATBUFFER


@pytest.mark.skipif(which("unzip") is None, reason="unzip is not installed")
def test_unzip_prints_the_metadata(path: Path) -> None:
    printed = subprocess.run(["unzip", "-p", str(path), METADATA_FILENAME], capture_output=True, check=True)
    assert json.loads(printed.stdout)["model"] == "ganomaly"
    assert not printed.stderr


def test_writing_again_does_not_pile_up_zips(path: Path) -> None:
    before = path.read_bytes()
    write_artefact(path, before, tiny_metadata(8))
    assert path.read_bytes() == before


def test_replacing_metadata_keeps_the_model_to_the_byte(path: Path) -> None:
    metadata = tiny_metadata(8, calibration=tiny_calibration(threshold=0.75))
    replace_metadata(path, metadata, flatbuffer_sha256(FLATBUFFER))
    assert read_artefact(path) == Artefact(FLATBUFFER, metadata)


def test_metadata_is_not_put_on_another_model(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ArtefactError, match="replaced by another model in the meantime"):
        replace_metadata(path, tiny_metadata(8), flatbuffer_sha256(tiny_flatbuffer(16)))
    assert path.read_bytes() == before


def test_a_source_whose_name_is_not_utf8_is_stored_and_read_back(path: Path) -> None:
    metadata = tiny_metadata(8, data={"source": os.fsdecode(b"/photos/gro\xdf")})
    write_artefact(path, FLATBUFFER, metadata)
    assert read_artefact(path).metadata == metadata


@pytest.mark.parametrize(
    ("place", "value"),
    [(6, b"\x63"), (9, b"\x08"), (42, b"\xff\xff\xff\x7f")],
    ids=["a later version of ZIP", "a name that is not UTF-8", "an offset behind the end"],
)
def test_a_model_with_a_damaged_zip_behind_it_is_a_model(place: int, value: bytes) -> None:
    file = io.BytesIO(FLATBUFFER)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("l", "a")
    content = bytearray(file.getvalue())
    entry = content.rfind(b"PK\x01\x02")
    content[entry + 46] = 0xFF  # the name, which is only read as UTF-8 where a flag says so
    content[entry + place : entry + place + len(value)] = value
    assert inspect_flatbuffer(bytes(content)).operation_counts == {"CONV_2D": 3}


def test_a_plain_tflite_model_has_no_metadata(path: Path) -> None:
    path.write_bytes(FLATBUFFER)
    assert_refused(path, "carries no tfganomaly metadata", "tfganomaly export")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "good\nbad\n")
    assert_refused(path, "carries no tfganomaly metadata")


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    empty, text, zipped = tmp_path / "empty.tflite", tmp_path / "text.tflite", tmp_path / "zip.tflite"
    empty.write_bytes(b"")
    text.write_text("not a model")
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr(METADATA_FILENAME, "{}")
    assert_refused(tmp_path / "none.tflite", "does not exist")
    assert_refused(tmp_path, "is a folder", "Export the run")
    assert_refused(empty, "is empty (0 bytes)")
    assert_refused(text, "not a TFLite model")
    assert_refused(zipped, "not a TFLite model")
    assert_refused(text / "below.tflite", "cannot be opened")
    with pytest.raises(ArtefactError, match="not a usable path"):
        read_artefact("a\0b")
    with pytest.raises(ArtefactError, match="not a TFLite flatbuffer"):
        write_artefact(text, b"not a model", tiny_metadata())
    assert text.read_text() == "not a model"


def test_a_newer_format_asks_for_an_upgrade(path: Path) -> None:
    with_stored(path, lambda stored: stored.update(format_version=FORMAT_VERSION + 1, model=None))
    assert_refused(path, f"has format {FORMAT_VERSION + 1}", "Upgrade tfganomaly")


def test_an_older_format_is_read_unless_it_meant_something_else(path: Path) -> None:
    with_stored(path, lambda stored: stored.update(format_version=3))
    assert read_artefact(path).metadata == tiny_metadata(8)
    with_stored(path, lambda stored: stored["preprocessing"].update(resize_rule="letterbox"))
    assert_refused(path, "has format 3", "Train and export it again")
    old_statistics = {"figures": 66, "mean": ""}
    with_stored(
        path, lambda stored: stored["score_rule"].update(statistics=old_statistics) or stored.update(format_version=4)
    )
    assert_refused(path, "has format 4", "Train and export it again")


def test_unknown_fields_are_ignored(path: Path) -> None:
    with_stored(path, lambda stored: stored.update(colour="blue"))
    assert read_artefact(path).metadata == tiny_metadata(8)


def test_a_model_changed_under_its_metadata_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(FLATBUFFER) // 2] ^= 1
    path.write_bytes(content)
    assert_refused(path, "changed after its export")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda stored: [1, 2], "JSON object was expected"),
        (lambda stored: "text", "JSON object was expected"),
        (lambda stored: stored.pop("format_version") and None, "no field 'format_version'"),
        (lambda stored: stored.update(format_version="1"), "whole number"),
        (lambda stored: stored.pop("calibration") and None, "no field 'calibration'"),
        (lambda stored: stored["calibration"].pop("threshold") and None, "no field 'threshold'"),
        (lambda stored: stored["preprocessing"].update(channels=4), "channels is 4"),
        (lambda stored: stored.update(outputs={"latent": 0}), "no 'reconstructed_latent'"),
        (lambda stored: stored["outputs"].pop("reconstruction") and None, "no 'reconstruction'"),
        (lambda stored: stored["outputs"].update(latent=1), "distinct numbers"),
        (lambda stored: stored["outputs"].update(latent=-1), "distinct numbers"),
        (lambda stored: stored["outputs"].update(latent="first"), "whole number"),
        (lambda stored: stored.update(quantization="int4"), "one of qat, ptq, float32"),
        (lambda stored: stored.update(target="gpu"), "one of cpu, edgetpu"),
    ],
)
def test_metadata_that_cannot_be_right_is_refused(
    path: Path, change: Callable[[dict[str, object]], object], words: str
) -> None:
    with_stored(path, change)
    assert_refused(path, "damaged metadata", words)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[" * 100_000, b"NaN"])
def test_metadata_that_is_no_json_is_refused(path: Path, text: bytes) -> None:
    path.write_bytes(FLATBUFFER)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA_FILENAME, text)
    assert_refused(path, "damaged metadata")


def test_compressed_metadata_is_refused_before_it_is_unpacked(path: Path) -> None:
    path.write_bytes(FLATBUFFER)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(METADATA_FILENAME, b" " * 10_000_000)
    assert_refused(path, "foreign kind")


def test_metadata_that_json_does_not_know_is_not_written(path: Path) -> None:
    before = path.read_bytes()
    for value in (math.nan, np.float32(1), {1, 2}):
        with pytest.raises(ArtefactError, match="cannot be written as JSON"):
            write_artefact(path, FLATBUFFER, tiny_metadata(8, parity={"value": value}))
    assert path.read_bytes() == before


def test_an_artefact_in_a_missing_folder_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist. Create it first"):  # noqa: RUF043
        write_artefact(tmp_path / "none" / "a.tflite", FLATBUFFER, tiny_metadata(8))


def test_a_score_rule_without_reconstruction_needs_no_such_output() -> None:
    metadata = tiny_metadata(
        outputs={"latent": 1, "reconstructed_latent": 0}, score_rule=ScoreRule(map_source="latent")
    )
    assert "reconstruction" not in metadata.outputs
    with pytest.raises(MetadataError, match="no 'reconstruction'"):
        replace(metadata, score_rule=ScoreRule())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_artefact_cut_short_anywhere_is_refused(path: Path, data: st.DataObject) -> None:
    content = Artefact(FLATBUFFER, tiny_metadata(8)).to_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert_refused(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_byte_never_changes_the_model_or_its_settings(path: Path, data: st.DataObject) -> None:
    good = Artefact(FLATBUFFER, tiny_metadata(8))
    content = bytearray(good.to_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        artefact = read_artefact(path)
    except ArtefactError:
        return
    assert artefact == good


@pytest.mark.parametrize(("name", "value"), [("false_alarm_rate", 1e308), ("score_min", -(10**400))])
def test_numbers_that_no_float_holds_are_refused_like_other_damage(path: Path, name: str, value: float) -> None:
    def change(stored: dict[str, object]) -> None:
        calibration = stored["calibration"]
        assert isinstance(calibration, dict)
        del calibration["num_above"]
        calibration[name] = value

    with_stored(path, change)
    assert_refused(path, "damaged metadata")


@pytest.mark.parametrize("outputs", [{"reconstruction": 9}, {"more": 99}, {"more": -5}])
def test_info_names_an_output_that_is_not_there(path: Path, outputs: dict[str, int]) -> None:
    with_stored(path, lambda stored: {**stored, "outputs": {**stored["outputs"], **outputs}})  # type: ignore[dict-item]
    artefact = read_artefact(path)
    with pytest.raises(ArtefactError, match="but the model has 3 outputs"):
        info_text(artefact.metadata, inspect_flatbuffer(artefact.flatbuffer), path.stat().st_size)
