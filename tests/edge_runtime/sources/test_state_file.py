"""What was judged is known after a restart."""

from __future__ import annotations

import errno
import os
import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.atomic_files import atomic_path, output_error
from edge_runtime.errors import OutputError, SourceError
from edge_runtime.sources.folder import FolderSource
from edge_runtime.sources.opening import SourceOptions, open_source
from edge_runtime.sources.seen_files import SeenFiles
from edge_runtime.sources.state_file import LOGGER, StateFile
from tests.edge_runtime.sources.test_folder import nothing_more, take, write_image


@pytest.fixture
def line(tmp_path: Path) -> Path:
    folder = tmp_path / "line"
    for number in range(3):
        write_image(folder / f"a{number}.png", number)
    return folder


def started(folder: Path, state: Path, **options: object) -> FolderSource:
    source = FolderSource(folder, settle_seconds=0.1, state=StateFile(state), **options)  # type: ignore[arg-type]
    source.start()
    return source


def num_open_files() -> int:
    files = Path("/proc/self/fd")
    if not files.is_dir():
        pytest.skip("open files are counted as Linux shows them")
    return len(list(files.iterdir()))


def test_a_restart_gives_what_has_come_meanwhile_and_nothing_twice(line: Path, tmp_path: Path) -> None:
    source = started(line, tmp_path / "judged")
    assert take(source, 3) == ["a0.png", "a1.png", "a2.png"]
    source.close()
    write_image(line / "b.png", 7)
    os.utime(line / "a1.png")  # another date, the same content
    again = started(line, tmp_path / "judged")
    assert take(again, 1) == ["b.png"]
    assert nothing_more(again)
    again.close()
    moved = line.rename(tmp_path / "elsewhere")
    write_image(moved / "c.png", 8)
    elsewhere = started(moved, tmp_path / "judged")
    assert take(elsewhere, 1) == ["c.png"]
    assert nothing_more(elsewhere)
    elsewhere.close()


def test_after_a_kill_the_frame_that_was_at_hand_is_given_again(line: Path, tmp_path: Path) -> None:
    source = started(line, tmp_path / "judged")
    assert take(source, 2) == ["a0.png", "a1.png"]
    shutil.copy(tmp_path / "judged", tmp_path / "as a kill left it")
    again = started(line, tmp_path / "as a kill left it")
    assert take(again, 2) == ["a1.png", "a2.png"]
    again.close()
    source.close()


def test_what_is_there_is_passed_over_at_the_first_start_only(line: Path, tmp_path: Path) -> None:
    source = started(line, tmp_path / "judged", include_existing=False)
    assert nothing_more(source)
    source.close()
    write_image(line / "b.png", 7)
    again = started(line, tmp_path / "judged", include_existing=False)
    assert take(again, 1) == ["b.png"]
    assert nothing_more(again)
    again.close()


def test_a_record_cut_short_by_a_power_cut_costs_its_last_entry(tmp_path: Path) -> None:
    path = tmp_path / "judged"
    state = StateFile(path)
    assert len(state.open()) == 0
    assert state.is_new
    state.append([5, 3, 2**64 - 1])
    state.close()
    for cut_off, expected in ((0, [3, 5, 2**64 - 1]), (1, [3, 5]), (15, [5]), (17, [])):
        shorter = tmp_path / f"cut{cut_off}"
        shorter.write_bytes(path.read_bytes()[: path.stat().st_size - cut_off])
        state = StateFile(shorter)
        assert state.open().tolist() == expected
        assert not state.is_new
        state.append([9])
        state.close()
        again = StateFile(shorter)
        assert again.open().tolist() == sorted([*expected, 9])
        again.close()
    begun = tmp_path / "begun"
    begun.write_bytes(path.read_bytes()[:10])
    state = StateFile(begun)
    assert state.open().tolist() == []
    assert state.is_new
    state.close()


@pytest.mark.parametrize("content", [bytes(10), bytes(32), bytes(400), bytes(32) + b"marks of it"])
def test_a_record_that_a_power_cut_left_as_zero_bytes_is_begun_anew_and_said(
    line: Path, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOGGER, "propagate", True)
    (tmp_path / "judged").write_bytes(content)
    source = started(line, tmp_path / "judged")
    said = caplog.messages  # more than once where an earlier test has begun a console log
    assert f"state file '{tmp_path / 'judged'}' begins with zero bytes, as a power cut leaves it" in caplog.text
    assert len(take(source, 3)) == 3
    source.close()
    again = started(line, tmp_path / "judged")
    assert nothing_more(again)
    assert caplog.messages == said
    again.close()


def test_a_full_disk_is_a_state_of_health_and_made_good_when_there_is_room(
    line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.sources.state_file._RETRY_SECONDS", 0.3)
    source = started(line, tmp_path / "judged")
    is_full, write = True, os.write

    def write_or_refuse(descriptor: int, content: bytes) -> int:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content)

    def path_or_refusal(path: Path) -> AbstractContextManager[Path]:
        if is_full:
            raise output_error(path, OSError(errno.ENOSPC, "No space left on device"))
        return atomic_path(path)

    monkeypatch.setattr("edge_runtime.sources.state_file.os.write", write_or_refuse)
    monkeypatch.setattr("edge_runtime.sources.state_file.atomic_path", path_or_refusal)
    assert take(source, 3) == ["a0.png", "a1.png", "a2.png"]
    assert nothing_more(source)
    health = source.health()
    assert health.state == "degraded"
    assert "the disk is full" in health.message
    assert "judged again" in health.message
    is_full = False
    time.sleep(0.3)
    assert nothing_more(source)
    assert source.health().state == "ok"
    write_image(line / "b.png", 7)
    assert take(source, 1) == ["b.png"]
    source.close()
    again = started(line, tmp_path / "judged")
    assert nothing_more(again)
    again.close()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_disk_that_cannot_be_written_at_the_start_is_a_state_too(
    line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    if is_there:
        source = started(line, tmp_path / "judged")
        assert len(take(source, 3)) == 3
        source.close()

    def refuse(*arguments: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr("edge_runtime.sources.state_file.os.open", refuse)
        source = started(line, tmp_path / "judged")
        assert source.health().state == "degraded"
        assert "the file system is read-only" in source.health().message
    write_image(line / "b.png", 7)
    assert len(take(source, 4, 2)) == (1 if is_there else 4)
    source.close()


def test_the_file_forgets_with_the_memory(tmp_path: Path) -> None:
    folder = tmp_path / "line"
    for number in range(20):
        write_image(folder / f"{number}.png", number)
    source = started(folder, tmp_path / "judged", seen=SeenFiles(capacity=10))
    assert len(take(source, 20)) == 20
    for number in range(15):
        (folder / f"{number}.png").unlink()
    assert nothing_more(source)
    write_image(folder / "new.png", 99)
    assert take(source, 1) == ["new.png"]
    source.close()
    assert (tmp_path / "judged").stat().st_size < 32 + 8 * 40
    again = started(folder, tmp_path / "judged")
    assert nothing_more(again)
    again.close()


def test_a_record_that_cannot_be_put_in_place_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = StateFile(tmp_path / "judged")
    state.open()

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    before = num_open_files()
    with monkeypatch.context() as patched:
        patched.setattr("edge_runtime.atomic_files.os.replace", refuse)
        for _ in range(3):
            state.rewrite(np.array([4], np.uint64))
            assert state.is_behind
    assert num_open_files() == before
    state.rewrite(np.array([4], np.uint64))
    assert not state.is_behind
    state.close()


def test_what_was_given_back_comes_again_after_a_full_disk_too(
    line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = started(line, tmp_path / "judged")
    assert take(source, 1) == ["a0.png"]

    def refuse(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("edge_runtime.sources.state_file.os.write", refuse)
        assert take(source, 1) == ["a1.png"]  # a0 could not be recorded
    assert source._state is not None
    assert source._state.is_behind
    source._state._retry_seconds = 0.0  # there is room again
    source.give_back()
    source.close()
    again = started(line, tmp_path / "judged")
    assert take(again, 2) == ["a1.png", "a2.png"]
    again.close()


def test_what_cannot_be_a_state_file_is_refused_and_left_alone(line: Path, tmp_path: Path) -> None:
    photograph = line / "a0.png"
    content = photograph.read_bytes()
    with pytest.raises(SourceError, match="is no state file of a watch"):
        StateFile(photograph).open()
    assert photograph.read_bytes() == content
    with pytest.raises(OutputError, match="does not exist"):
        StateFile(tmp_path / "none/judged").open()
    with pytest.raises(OutputError, match="it is a folder"):
        StateFile(tmp_path).open()
    first = StateFile(tmp_path / "judged")
    first.open()
    with pytest.raises(SourceError, match="used by another watch"):
        StateFile(tmp_path / "judged").open()
    first.rewrite(np.array([4], np.uint64))
    with pytest.raises(SourceError, match="used by another watch"):
        StateFile(tmp_path / "judged").open()
    first.close()
    assert StateFile(tmp_path / "judged").open().tolist() == [4]


@pytest.mark.parametrize("source", ["camera:0", "picamera:0", "0", "rtsp://user:secret@line.local/1", "line.mp4"])
def test_only_a_folder_has_a_state_file(source: str) -> None:
    with pytest.raises(SourceError, match="--state is for a folder") as caught:
        open_source(source, SourceOptions(state="judged"))
    assert "secret" not in str(caught.value)
