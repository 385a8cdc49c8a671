from __future__ import annotations

import errno
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edge_runtime.errors import SinkError
from edge_runtime.sinks import evidence as evidence_module
from edge_runtime.sinks.evidence import EvidenceSink
from edge_runtime.sinks.sink import Evidence
from tests.edge_runtime.sinks.event_samples import alarm_change, evidence, judgement
from tests.edge_runtime.sinks.waiting import wait_until


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "_RETRY_SECONDS", 0.05)


def opened(folder: Path, max_bytes: int = 10_000_000, around_alarm: int = 2) -> EvidenceSink:
    sink = EvidenceSink(folder, max_bytes=max_bytes, around_alarm=around_alarm)
    sink.start()
    return sink


def deliver(sink: EvidenceSink, sequence: int, score: float, side_px: int = 48) -> None:
    sink.deliver(judgement(sequence, score), evidence(side_px))
    wait_until(lambda: sink.counts().waiting == 0, "saved")


def saved(folder: Path) -> list[int]:
    return [int(path.name.split("_")[1]) for path in sorted(folder.glob("*[ds].jpg"))]


def test_an_anomalous_frame_is_saved_with_its_heatmap_and_judgement(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "evidence"
    sink = opened(folder)
    deliver(sink, 1, 0.1)
    deliver(sink, 2, 0.9)
    sink.close(1)
    stem = "20260731T120000.203Z_000002_anomalous"
    assert [path.name for path in sorted(folder.iterdir())] == [f"{stem}.jpg", f"{stem}.json", f"{stem}_heatmap.jpg"]
    assert Image.open(folder / f"{stem}.jpg").size == (48, 48)
    assert Image.open(folder / f"{stem}_heatmap.jpg").mode == "RGB"
    assert json.loads((folder / f"{stem}.json").read_text())["score"] == 0.9
    assert sink.counts().delivered == 1


def test_the_name_of_a_frame_that_is_no_utf_8_is_kept(tmp_path: Path) -> None:
    name = b"/in/Pr\xfc1.png".decode("utf-8", "surrogateescape")
    sink = opened(tmp_path)
    sink.deliver(replace(judgement(1, 0.9), frame=name), evidence())
    sink.close(5)
    (document,) = tmp_path.glob("*.json")
    assert json.loads(document.read_text("utf-8"))["frame"] == name


def test_a_blind_frame_is_no_evidence_of_a_defect(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    sink.deliver(judgement(1, 0.9, is_blind=True), evidence())
    deliver(sink, 2, 0.9)
    sink.deliver(alarm_change(2), None)
    wait_until(lambda: sink.counts().waiting == 0, "saved")
    sink.close(1)
    names = sorted(path.name for path in tmp_path.glob("*.json"))
    assert [name.rpartition("_")[2] for name in names] == ["blind.json", "anomalous.json"]


def test_good_frames_around_an_alarm_are_kept_too(tmp_path: Path) -> None:
    sink = opened(tmp_path)
    for sequence in (1, 2, 3, 4):
        deliver(sink, sequence, 0.1)
    deliver(sink, 5, 0.9)
    sink.deliver(alarm_change(5), None)
    for sequence in (6, 7, 8):
        deliver(sink, sequence, 0.1)
    sink.close(1)
    assert saved(tmp_path) == [3, 4, 5, 6, 7]


def test_the_oldest_evidence_makes_room_and_foreign_files_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine" * 10_000)
    leftover = tmp_path / ".20260731T115900.000Z_000009_anomalous.123-0a1b2c3d.part.jpg"
    leftover.write_bytes(b"cut short")
    first = opened(tmp_path, max_bytes=60_000)
    for sequence in range(1, 8):
        deliver(first, sequence, 0.9, 100)
    first.close(1)
    second = opened(tmp_path, max_bytes=60_000)
    for sequence in range(8, 20):
        deliver(second, sequence, 0.9, 100)
    second.close(1)
    kept = saved(tmp_path)
    own = [path for path in tmp_path.iterdir() if path.name != "notes.txt"]
    assert sum(path.stat().st_size for path in own) <= 60_000
    assert kept == list(range(kept[0], 20))
    assert kept[0] > 8
    assert (tmp_path / "notes.txt").exists()
    assert not leftover.exists()


def test_an_unwritable_folder_is_a_state_and_recovers(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    sink = opened(blocked / "evidence")
    deliver(sink, 1, 0.9)
    assert sink.health().state == "failed"
    assert "a part of this path is a file" in sink.health().message
    assert sink.counts().dropped == 1
    blocked.unlink()
    wait_until(lambda: sink.health().state == "ok", "recovered without a new frame")
    deliver(sink, 2, 0.9)
    sink.close(1)
    assert saved(blocked / "evidence") == [2]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_the_oldest_evidence_goes_and_the_newest_stays(small_disk: Path) -> None:
    sink = opened(small_disk / "evidence")
    for sequence in range(1, 15):
        deliver(sink, sequence, 0.9, 100)
    sink.close(1)
    kept = saved(small_disk / "evidence")
    assert kept[-1] == 14
    assert kept[0] > 1
    assert sink.health().state == "ok"


def test_frames_that_come_too_fast_are_dropped_and_counted(tmp_path: Path) -> None:
    sink = EvidenceSink(tmp_path, max_bytes=10_000_000, around_alarm=0)
    for sequence in range(1, 21):
        sink.deliver(judgement(sequence, 0.9), evidence())
    assert sink.counts().waiting == 8
    assert sink.counts().dropped == 12
    sink.start()
    sink.close(10)
    assert saved(tmp_path) == list(range(13, 21))
    assert "dropped" in sink.health().message


def test_frames_around_an_alarm_do_not_push_out_the_alarms_own(tmp_path: Path) -> None:
    sink = EvidenceSink(tmp_path, max_bytes=10_000_000, around_alarm=20)
    for sequence in range(1, 41):
        sink.deliver(judgement(sequence, 0.1), evidence())
    for sequence in range(41, 44):
        sink.deliver(judgement(sequence, 0.9), evidence())
    sink.deliver(alarm_change(43), None)
    for sequence in range(44, 64):
        sink.deliver(judgement(sequence, 0.1), evidence())
    assert sink.counts().waiting == 8 + 20
    sink.start()
    sink.close(20)
    kept = saved(tmp_path)
    assert len(kept) == 28
    assert {41, 42, 43} < set(kept)
    assert kept[-1] == 63


def test_a_full_disk_is_one_state_whatever_frame_meets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edge_runtime.atomic_files.flush_to_disk", refuse)
    sink = opened(tmp_path)
    states = set()
    for sequence in (1, 2, 3):
        sink._retry_at = 0.0
        deliver(sink, sequence, 0.9)
        states.add(sink.health())
    sink.close(1)
    (health,) = states
    assert health.state == "failed"
    assert health.message.startswith(f"Cannot write '{tmp_path}': the disk is full.")


def test_a_frame_that_cannot_be_drawn_does_not_end_the_saving(tmp_path: Path) -> None:
    def draw(frame: Image.Image) -> Image.Image:
        raise MemoryError("no more memory")

    sink = opened(tmp_path)
    sink.deliver(judgement(1, 0.9), Evidence(Image.new("L", (48, 48)), draw))
    wait_until(lambda: sink.counts().dropped == 1, "given up")
    wait_until(lambda: sink.health().state == "ok", "recovered")
    deliver(sink, 2, 0.9)
    sink.close(1)
    assert sink.counts().delivered == 1
    assert 2 in saved(tmp_path)


def test_at_the_end_what_is_saved_slowly_but_steadily_is_saved(tmp_path: Path) -> None:
    sink = opened(tmp_path / "evidence")
    save, begin = sink._save, threading.Event()

    def save_slowly(*arguments: Any) -> None:
        begin.wait(10)
        time.sleep(0.25)
        save(*arguments)

    sink._save = save_slowly  # type: ignore[method-assign]
    for sequence in range(6):
        sink.deliver(judgement(sequence, 1.0), evidence())
    begin.set()
    sink.close(0.8)
    assert saved(tmp_path / "evidence") == list(range(6))


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="a folder for evidence was expected"):
        opened(tmp_path / "file")


def test_evidence_is_not_given_up_for_a_disk_that_stays_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = opened(tmp_path)
    for sequence in range(1, 31):
        deliver(sink, sequence, 0.9)
    before = len(list(tmp_path.iterdir()))

    def refuse(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edge_runtime.atomic_files.flush_to_disk", refuse)
    monkeypatch.setattr(evidence_module, "_MOST_FREED_FILES", 5)
    for sequence in range(31, 36):
        sink._retry_at = 0.0
        deliver(sink, sequence, 0.9)
    assert sink.health().state == "failed"
    assert before - len(list(tmp_path.iterdir())) == 5
    monkeypatch.undo()
    monkeypatch.setattr(evidence_module, "_RETRY_SECONDS", 0.05)
    wait_until(lambda: sink.health() == replace(sink.health(), state="ok", message=""), "written again")
    sink.close(1)
    assert sink.counts().dropped == 5  # for want of room, not for coming too fast
