from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import pytest

from edge_runtime.errors import OutputError
from export.errors import ExportError
from export.output_places import free_places, write_together

NAMES = ("m.parity.html", "m.parity.json", "m.tflite", "m_edgetpu.tflite")


def test_all_files_are_written(tmp_path: Path) -> None:
    (tmp_path / NAMES[0]).write_bytes(b"earlier")
    write_together({tmp_path / name: name.encode() for name in NAMES})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: name.encode() for name in NAMES}


@pytest.mark.parametrize("full", NAMES)
def test_where_one_file_has_no_room_all_earlier_ones_stay(tmp_path: Path, full: str) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(b"earlier")
    (tmp_path / full).unlink()
    (tmp_path / full).symlink_to("/dev/full")
    with pytest.raises(OutputError, match=rf"Cannot write '.*/{full}': the disk is full"):
        write_together({tmp_path / name: b"new" for name in NAMES})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert {(tmp_path / name).read_bytes() for name in NAMES if name != full} == {b"earlier"}


@pytest.mark.parametrize("failing", range(len(NAMES)))
def test_where_a_quota_ends_while_a_file_goes_to_the_disk_all_earlier_ones_stay(
    tmp_path: Path, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(b"earlier")
    calls = itertools.count()

    def fsync(_: int) -> None:
        if next(calls) == failing:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="your disk quota is used up"):
        write_together({tmp_path / name: b"new" for name in NAMES})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(NAMES, b"earlier")


@pytest.mark.parametrize("output", ["", ".", "/", "models"])
def test_what_is_no_file_name_is_one_error(output: str) -> None:
    with pytest.raises(ExportError, match=r"expected a name that ends in \.tflite"):
        free_places(Path(output), is_compiled=False)


def test_the_folder_behind_a_link_is_looked_at_before_the_work(tmp_path: Path) -> None:
    link = tmp_path / "current.tflite"
    link.symlink_to(tmp_path / "gone" / "first.tflite")
    with pytest.raises(OutputError, match=r"current.tflite': the folder '.*/gone' does not exist"):
        free_places(link, is_compiled=False)
    (tmp_path / "gone").mkdir()
    places = free_places(link, is_compiled=True)
    assert (places.artefact, places.compiled) == (link, tmp_path / "current_edgetpu.tflite")
    assert places.report.html == tmp_path / "current.parity.html"
    assert places.refused_report.json == tmp_path / "current.refused.parity.json"
