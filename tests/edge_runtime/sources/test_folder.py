from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ImageError, SourceError
from edge_runtime.image_files import natural_order
from edge_runtime.image_reading import decode_image
from edge_runtime.sources import folder as folder_module
from edge_runtime.sources.folder import FolderSource
from edge_runtime.sources.folder_listing import listing_order
from edge_runtime.sources.folder_observer import FolderObserver
from edge_runtime.sources.seen_files import SeenFiles, content_fingerprint, fingerprint
from edge_runtime.sources.source import Frame


def write_image(path: Path, value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(value).integers(0, 255, (8, 8), np.uint8)).save(path)
    return path


def source_of(folder: Path, **options: object) -> FolderSource:
    source = FolderSource(folder, settle_seconds=0.1, **options)  # type: ignore[arg-type]
    source.start()
    return source


def take(source: FolderSource, count: int, timeout_seconds: float = 15.0) -> list[str]:
    """Names of the next frames; fewer when they do not come in time."""
    names: list[str] = []
    deadline = time.monotonic() + timeout_seconds
    while len(names) < count and time.monotonic() < deadline and not source.exhausted:
        frame = source.next_frame(0.1)
        if frame is not None:
            names.append(Path(frame.name).name)
    return names


def nothing_more(source: FolderSource) -> bool:
    return take(source, 1, 0.6) == []


def test_a_folder_is_given_once_in_natural_order_with_sub_folders(tmp_path: Path) -> None:
    for name in ("part10.png", "part2.png", "sub/part1.png", ".hidden.png", "notes.txt", ".thumbs/a.png"):
        if name.endswith(".png"):
            write_image(tmp_path / name, len(name))
        else:
            (tmp_path / name).write_text("text")
    source = source_of(tmp_path, once=True)
    assert take(source, 10) == ["part2.png", "part10.png", "part1.png"]
    assert source.exhausted
    source.close()


@pytest.mark.parametrize("told", [True, False], ids=["told by the system", "by looking alone"])
def test_new_files_are_given_once_when_they_are_complete(
    tmp_path: Path, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not told:
        monkeypatch.setattr("edge_runtime.sources.folder_observer.FolderObserver.keep_running", lambda self: None)
    write_image(tmp_path / "old.png")
    source = source_of(tmp_path)
    assert take(source, 1) == ["old.png"]
    write_image(tmp_path / "new.png", 1)
    write_image(tmp_path / "sub/deeper/new2.png", 2)
    write_image(tmp_path / ".tmp.png", 3).rename(tmp_path / "moved.png")
    assert sorted(take(source, 3)) == ["moved.png", "new.png", "new2.png"]
    assert nothing_more(source)
    source.close()


def test_a_file_that_is_moved_to_a_hidden_folder_is_not_given(tmp_path: Path) -> None:
    pytest.importorskip("watchdog", reason="the watch extra is not installed")
    for name in (".Trash-1000/files/old.png", ".thumbnails/old.png"):
        write_image(tmp_path / name)
    path = write_image(tmp_path / "a.png", 1)
    source = source_of(tmp_path, include_existing=False)
    path.rename(tmp_path / ".Trash-1000/files/a.png")
    write_image(tmp_path / ".thumbnails/a.png", 2)
    assert nothing_more(source)
    write_image(tmp_path / "b.png", 3)
    assert take(source, 1) == ["b.png"]
    source.close()


def test_a_large_folder_is_looked_at_in_parts_that_leave_time_for_chores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.sources.folder._IMAGES_A_PART", 10)
    monkeypatch.setattr("edge_runtime.sources.folder_observer.FolderObserver.keep_running", lambda self: None)
    content = write_image(tmp_path / "part0.png").read_bytes()
    for number in range(1, 45):
        (tmp_path / f"part{number}.png").write_bytes(content)
    listed = 0
    images_below = folder_module.images_below

    def counted(root: str) -> Iterator[tuple[str, os.stat_result]]:
        nonlocal listed
        for image in images_below(root):
            listed += 1
            yield image

    monkeypatch.setattr(folder_module, "images_below", counted)
    source = source_of(tmp_path)
    for number in range(1, 5):
        assert source.next_frame(0) is None
        assert listed == 10 * number
    assert source.health().state == "ok"
    assert take(source, 45) == [f"part{number}.png" for number in range(45)]
    assert nothing_more(source)
    source.close()


def test_files_that_nobody_has_tried_to_read_yet_are_no_problem_however_seldom_a_folder_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.sources.folder_observer.FolderObserver.keep_running", lambda self: None)
    for number in range(3):
        write_image(tmp_path / f"{number}.png", number)
    source = source_of(tmp_path)
    assert source.next_frame(0) is None
    time.sleep(0.6)  # more than five times as long as a file needs to settle
    assert take(source, 1) == ["0.png"]
    assert source.health().state == "ok"
    source.close()


def test_the_order_of_a_look_is_the_natural_one() -> None:
    names = ["part2", "part10", "part-2", "part", "Part2", "part02", "part 2", "2", "10", "a1b", "a1", "a01b", "é"]
    paths = [
        f"{folder}/{name}{suffix}"
        for folder in ("/line", "/line/sub2", "/line/sub10", "/line2", "/Line")
        for name in names
        for suffix in (".png", ".PNG", "0.png", "/part.png")
    ]
    assert sorted(paths, key=listing_order) == sorted(paths, key=natural_order)


def test_a_folder_covers_what_is_put_into_it_and_below_unless_it_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "line").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "line")
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "line", Path("line"), Path("link")):
        source = FolderSource(folder)
        assert [source.covers(Path(path)) for path in ("line", "line/new/evidence", "link/evidence")] == [True] * 3
        assert [source.covers(Path(path)) for path in (".", "evidence", "line2", "line/.evidence")] == [False] * 4
    monkeypatch.chdir(tmp_path / "line")
    assert FolderSource(".").covers(Path("evidence"))


def test_a_closed_file_need_not_settle(tmp_path: Path) -> None:
    pytest.importorskip("watchdog", reason="the watch extra is not installed")
    source = FolderSource(tmp_path, settle_seconds=3600)
    source.start()
    assert source.next_frame(0.1) is None
    write_image(tmp_path / "a.png")
    assert take(source, 1, 10) == ["a.png"]
    source.close()


def test_a_file_is_not_read_while_it_is_written(tmp_path: Path) -> None:
    content = write_image(tmp_path / "whole.png").read_bytes()
    (tmp_path / "whole.png").unlink()
    source = source_of(tmp_path)

    def write_slowly() -> None:
        with (tmp_path / "slow.png").open("wb") as file:
            for index in range(len(content)):
                file.write(content[index : index + 1])
                file.flush()
                if index % 10 == 0:
                    time.sleep(0.02)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    frames = []
    while not frames:
        frame = source.next_frame(0.1)
        frames += [frame] if frame else []
    writer.join()
    assert frames[0].content == content
    assert nothing_more(source)
    source.close()


def tell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the system tell what a test puts into a list, and nothing else."""
    told: list[str] = []

    def take_completed(observer: FolderObserver) -> list[str]:
        paths = told.copy()
        told.clear()
        return paths

    monkeypatch.setattr(FolderObserver, "keep_running", lambda observer: None)
    monkeypatch.setattr(FolderObserver, "take_completed", take_completed)
    return told


@pytest.mark.parametrize("is_told", [True, False], ids=["told by the system", "by looking alone"])
def test_files_that_are_closed_empty_and_filled_later_are_given_once_and_whole(
    tmp_path: Path, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tell(monkeypatch)
    content = write_image(tmp_path / "origin/a.png").read_bytes()
    paths = [tmp_path / f"line/{number}.png" for number in range(12)]
    (tmp_path / "line").mkdir()
    source = source_of(tmp_path / "line")
    for path in paths:
        path.touch()
    told += map(str, paths if is_told else [])
    assert nothing_more(source)
    while source.health().state == "ok":
        assert source.next_frame(0.1) is None
    assert "are empty or cannot be opened; they are tried again" in source.health().message
    for path in paths:
        path.write_bytes(content)
    told += map(str, paths if is_told else [])
    assert take(source, 12) == [path.name for path in paths]
    assert nothing_more(source)
    assert source.health().state == "ok"
    source.close()


def test_a_picture_that_is_closed_more_than_once_is_given_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tell(monkeypatch)
    content = write_image(tmp_path / "origin/a.png").read_bytes()
    path = tmp_path / "line/a.png"
    path.parent.mkdir()
    source = FolderSource(path.parent, settle_seconds=3600)
    source.start()
    for end in (0, len(content) // 2, len(content)):
        path.write_bytes(content[:end])
        told.append(str(path))
        frame = source.next_frame(0)
        assert (frame is not None) == (end == len(content))
    assert frame is not None
    assert frame.content == content
    np.testing.assert_array_equal(np.asarray(frame.decode()), np.asarray(decode_image(content)))
    told.append(str(path))
    assert source.next_frame(0) is None
    source.close()


def test_what_is_damaged_or_empty_for_good_is_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.sources.folder._GIVE_UP_SECONDS", 0.3)
    told = tell(monkeypatch)
    source = source_of(tmp_path)
    content = write_image(tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[:-30])
    (tmp_path / "none.png").touch()
    told += map(str, tmp_path.iterdir())
    frames = {}
    while len(frames) < 3:
        frame = source.next_frame(5)
        assert frame is not None
        frames[Path(frame.name).name] = frame
    assert frames["whole.png"].content == content
    for name, problem in (("cut.png", "damaged or cut short"), ("none.png", "is empty")):
        with pytest.raises(ImageError, match=problem):
            frames[name].decode()
    assert nothing_more(source)
    source.close()


def test_what_was_damaged_long_before_it_came_need_not_settle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tell(monkeypatch)
    source = FolderSource(tmp_path, settle_seconds=60)
    source.start()
    for name, content in (("cut.png", b"\x89PNG"), ("none.png", b"")):
        path = tmp_path / name
        path.write_bytes(content)
        os.utime(path, (1, 1))
        told.append(str(path))
        assert take(source, 1) == [name]
    source.close()


def test_existing_files_are_passed_over_when_asked(tmp_path: Path) -> None:
    write_image(tmp_path / "old.png")
    source = source_of(tmp_path, include_existing=False)
    assert nothing_more(source)
    write_image(tmp_path / "new.png", 1)
    assert take(source, 1) == ["new.png"]
    source.close()


def test_a_folder_that_vanishes_and_returns_loses_and_repeats_nothing(tmp_path: Path) -> None:
    folder, away = tmp_path / "line", tmp_path / "away"
    for index in range(3):
        write_image(folder / f"a{index}.png", index)
    source = source_of(folder)
    assert take(source, 3) == ["a0.png", "a1.png", "a2.png"]
    folder.rename(away)
    assert take(source, 1, 0.5) == []
    assert source.health().state == "failed"
    assert "tried again" in source.health().message
    write_image(away / "b.png", 9)
    away.rename(folder)
    assert take(source, 1) == ["b.png"]
    assert source.health().state == "ok"
    assert nothing_more(source)
    shutil.copytree(folder, away)  # it comes back as a copy with new dates
    shutil.rmtree(folder)
    assert take(source, 1, 0.5) == []
    for path in away.iterdir():
        os.utime(path)
    away.rename(folder)
    write_image(folder / "c.png", 10)
    assert take(source, 1) == ["c.png"]
    assert nothing_more(source)
    source.close()


def test_a_folder_may_come_later(tmp_path: Path) -> None:
    source = source_of(tmp_path / "later")
    assert take(source, 1, 0.3) == []
    assert source.health().state == "failed"
    write_image(tmp_path / "later/a.png")
    assert take(source, 1) == ["a.png"]
    source.close()


def test_a_copy_that_sets_its_date_after_closing_is_given_once(tmp_path: Path) -> None:
    original = write_image(tmp_path / "origin/a.png")
    os.utime(original, (1, 1))
    (tmp_path / "line").mkdir()
    source = source_of(tmp_path / "line")
    shutil.copyfile(original, tmp_path / "line/a.png")
    assert take(source, 1) == ["a.png"]
    shutil.copystat(original, tmp_path / "line/a.png")
    assert nothing_more(source)
    source.close()


def test_another_content_under_the_same_name_is_another_image(tmp_path: Path) -> None:
    path = write_image(tmp_path / "latest.png", 1)
    source = source_of(tmp_path)
    first = source.next_frame(5) or source.next_frame(5)
    write_image(path, 2)
    second = None
    while second is None:
        second = source.next_frame(5)
    assert isinstance(first, Frame)
    assert first.content != second.content
    source.close()


def test_a_file_that_cannot_be_opened_is_reported_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.sources.folder._GIVE_UP_SECONDS", 0.3)
    write_image(tmp_path / "good.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    locked = write_image(tmp_path / "locked.png", 2)
    real_open = open

    def refuse(path: object, *arguments: object, **named: object) -> object:
        if str(path) == str(locked):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.open", refuse)
    source = source_of(tmp_path, once=True)
    frames = []
    while not source.exhausted:
        frame = source.next_frame(0.1)
        frames += [frame] if frame else []
    assert [Path(frame.name).name for frame in frames] == ["good.png", "locked.png"]
    with pytest.raises(ImageError, match=r"locked\.png' cannot be opened: Permission denied"):
        frames[1].decode()
    source.close()


def test_known_pictures_with_new_dates_leave_time_for_chores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read whole to see that it is known; a folder restored without its dates has thousands."""
    paths = [write_image(tmp_path / f"{number}.png", number) for number in range(20)]
    source = source_of(tmp_path)
    assert len(take(source, 20)) == 20
    reads: list[bytes] = []

    def slow_fingerprint(path: str, content: bytes) -> int:
        reads.append(content)
        time.sleep(0.05)
        return content_fingerprint(path, content)

    monkeypatch.setattr(folder_module, "content_fingerprint", slow_fingerprint)
    for path in paths:
        os.utime(path, ns=(1, 1))
    deadline = time.monotonic() + 15
    while len(reads) < 20 and time.monotonic() < deadline:
        before = len(reads)
        assert source.next_frame(0.1) is None
        assert len(reads) - before <= 4
    assert len(reads) == 20
    assert nothing_more(source)
    source.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX pipes")
def test_a_named_pipe_is_no_picture_and_holds_nothing_up(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    write_image(tmp_path / "part.png")
    names: list[str] = []
    reader = threading.Thread(target=lambda: names.extend(take(source, 2, 1.5)), daemon=True)
    reader.start()
    reader.join(20)
    assert names == ["part.png"]
    (tmp_path / "moved").mkdir()
    os.rename(tmp_path / "pipe.png", tmp_path / "moved" / "pipe.png")  # noqa: PTH104 - noticed as complete
    reader = threading.Thread(target=lambda: names.extend(take(source, 1, 1.0)), daemon=True)
    reader.start()
    reader.join(20)
    assert not reader.is_alive()
    assert names == ["part.png"]
    source.close()


def test_a_file_or_nothing_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a file"):
        FolderSource(write_image(tmp_path / "a.png"))
    with pytest.raises(SourceError, match="does not exist"):
        FolderSource(tmp_path / "none", once=True)


def test_the_record_of_files_forgets_only_what_has_gone_and_only_when_it_must() -> None:
    seen = SeenFiles(capacity=10_000)
    marks = [fingerprint(f"part{number}.png", 1, number) for number in range(12_000)]
    for mark in marks[:9_000]:
        seen.add(mark)
    assert all(mark in seen for mark in marks[:9_000])
    assert marks[9_000] not in seen
    seen.forget_missing(set())
    assert len(seen) == 9_000
    for mark in marks:
        seen.add(mark)
    assert len(seen) == 12_000
    seen.forget_missing(set(marks[5_000:]))
    assert len(seen) == 7_000
    assert marks[4_999] not in seen
    assert marks[5_000] in seen
