"""What the operating system tells of a folder, and what happens when it tells nothing."""

from __future__ import annotations

import errno
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from edge_runtime.sources import folder_observer
from edge_runtime.sources.folder_observer import FolderObserver
from tests.edge_runtime.sources.test_state_file import num_open_files
from tests.edge_runtime.watching.fakes import wait_for


class Told:
    """An observer that runs, and what it has told until now."""

    def __init__(self, folder: Path) -> None:
        self.observer = FolderObserver(folder, Event())
        self.observer.keep_running()
        self.paths: list[str] = []

    def has(self, path: Path) -> bool:
        self.paths += self.observer.take_completed()
        return str(path) in self.paths


@pytest.fixture
def line(tmp_path: Path) -> Path:
    pytest.importorskip("watchdog", reason="the watch extra is not installed")
    folder = tmp_path / "line"
    folder.mkdir()
    return folder


def test_a_file_in_a_sub_folder_made_later_is_told(line: Path) -> None:
    told = Told(line)
    (line / "shift2").mkdir()
    path = line / "shift2/a.png"

    def write_and_look() -> bool:  # the system follows into a new folder only a moment after it was made
        path.write_bytes(b"picture")
        return told.has(path)

    wait_for(write_and_look)
    told.observer.stop()


def test_a_file_that_is_moved_in_from_outside_is_told_and_one_moved_out_is_not(line: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.png").write_bytes(b"picture")
    (line / "inside.png").write_bytes(b"picture")
    told = Told(line)
    (line / "inside.png").rename(tmp_path / "inside.png")
    (tmp_path / "outside.png").rename(line / "a.png")
    wait_for(lambda: told.has(line / "a.png"))
    assert told.paths == [str(line / "a.png")]
    told.observer.stop()


def test_at_the_systems_limit_it_is_tried_again_only_for_another_folder_or_after_an_hour(
    line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Path] = []
    now_seconds = 1000.0

    def refuse(self: FolderObserver) -> Any:
        tries.append(line)
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr(FolderObserver, "_watch", refuse)
    monkeypatch.setattr(folder_observer, "monotonic", lambda: now_seconds)
    observer = FolderObserver(line, Event())
    for _ in range(5):
        observer.keep_running()
    assert len(tries) == 1
    assert "inotify watch limit reached" in observer.problem
    line.rename(tmp_path / "former")
    line.mkdir()
    for _ in range(5):
        observer.keep_running()
    assert len(tries) == 2
    now_seconds += 3601
    monkeypatch.undo()
    monkeypatch.setattr(folder_observer, "monotonic", lambda: now_seconds)
    observer.keep_running()
    assert observer.problem == ""
    observer.stop()


def test_a_limit_that_lasts_costs_no_more_open_files_with_each_look(
    line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inotify = pytest.importorskip("watchdog.observers.inotify_c", reason="another system")

    def refuse(self: object, path: bytes, mask: int) -> int:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr(inotify.Inotify, "_add_watch", refuse)
    observer = FolderObserver(line, Event())
    observer.keep_running()
    before = num_open_files()
    for _ in range(5):
        observer.keep_running()
    assert num_open_files() == before
