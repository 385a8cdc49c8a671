from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.errors import SinkError
from edge_runtime.sinks import jsonl
from edge_runtime.sinks.jsonl import JsonLinesSink
from tests.edge_runtime.sinks.event_samples import alarm_change, health_change, judgement


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "_RETRY_SECONDS", 0.0)


def opened(
    path: Path,
    max_bytes: int = 10_000_000,
    num_files: int = 5,
    queue_capacity: int = 100,
    judgements: str = "all",
) -> JsonLinesSink:
    sink = JsonLinesSink(
        path, max_bytes=max_bytes, num_files=num_files, queue_capacity=queue_capacity, judgements=judgements
    )
    sink.start()
    return sink


def sequences(path: Path) -> list[int]:
    return [json.loads(line)["sequence"] for line in path.read_text("utf-8").splitlines()]


def test_each_event_is_a_line_before_the_next_comes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "events.jsonl"
    sink = opened(path)
    events = [judgement(1), alarm_change(1), health_change("failed", message="Größe")]
    for count, event in enumerate(events, start=1):
        sink.deliver(event, None)
        lines = path.read_text("utf-8").splitlines()
        assert len(lines) == count
        assert json.loads(lines[-1]) == event.to_dict()
    assert sink.health().state == "ok"
    assert sink.counts().delivered == 3
    sink.close(1)


@pytest.mark.parametrize(("judgements", "written"), [("all", [1, 2, 3]), ("anomalous", [2]), ("none", [])])
def test_only_wanted_judgements_are_written_and_every_other_event(
    tmp_path: Path, judgements: str, written: list[int]
) -> None:
    sink = opened(tmp_path / "events.jsonl", judgements=judgements)
    for event in (judgement(1, 0.1), judgement(2, 0.9), judgement(3, 0.9, is_blind=True)):
        sink.deliver(event, None)
    sink.deliver(alarm_change(4), None)
    sink.deliver(health_change("degraded"), None)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text("utf-8").splitlines()]
    assert [line["sequence"] for line in lines[:-2]] == written
    assert [line["event"] for line in lines[-2:]] == ["alarm", "health"]
    assert sink.counts().delivered == len(written) + 2


def test_names_that_are_no_utf_8_stay_apart(tmp_path: Path) -> None:
    names = [
        raw.decode("utf-8", "surrogateescape") for raw in (b"/in/Pr\xfc1.png", b"/in/Pr\xf61.png", "Prü1.png".encode())
    ]
    sink = opened(tmp_path / "events.jsonl")
    for name in names:
        sink.deliver(replace(judgement(1), frame=name), None)
    sink.close(1)
    lines = (tmp_path / "events.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["frame"] for line in lines] == names


def test_files_are_rotated_by_size_and_only_some_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line_bytes = len(json.dumps(judgement(10).to_dict(), separators=(",", ":"))) + 1
    sink = opened(path, max_bytes=3 * line_bytes, num_files=3)
    for number in range(10, 21):
        sink.deliver(judgement(number), None)
    sink.close(1)
    assert sequences(path) == [19, 20]
    assert sequences(tmp_path / "events.jsonl.1") == [16, 17, 18]
    assert sequences(tmp_path / "events.jsonl.2") == [13, 14, 15]
    assert len(list(tmp_path.iterdir())) == 3
    opened(path, max_bytes=3 * line_bytes, num_files=3).deliver(judgement(21), None)
    assert sequences(path) == [19, 20, 21]


def test_one_file_alone_is_begun_anew(tmp_path: Path) -> None:
    sink = opened(tmp_path / "events.jsonl", max_bytes=10, num_files=1)
    for number in (1, 2):
        sink.deliver(judgement(number), None)
    assert sequences(tmp_path / "events.jsonl") == [2]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_a_state_and_nothing_is_lost_when_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    path.symlink_to("/dev/full")
    sink = opened(path)
    for number in range(1, 6):
        sink.deliver(judgement(number), None)
    assert sink.health().state == "failed"
    assert "disk is full" in sink.health().message
    assert sink.counts().waiting == 5
    path.unlink()
    assert sink.health().state == "ok"  # asked again, without a new event
    assert sequences(path) == [1, 2, 3, 4, 5]
    sink.deliver(judgement(6), None)
    assert sequences(path)[-1] == 6


def test_lines_beyond_the_bound_are_counted_and_alarms_go_last(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    sink = opened(blocked / "events.jsonl", queue_capacity=5)
    sink.deliver(alarm_change(1), None)
    for number in range(1, 11):
        sink.deliver(judgement(number), None)
    assert sink.health().state == "failed"
    blocked.unlink()
    assert sink.health().message == "judgements lost"
    lines = (blocked / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["alarm"] + ["judgement"] * 4


def test_a_file_moved_away_from_outside_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = opened(path)
    sink.deliver(judgement(1), None)
    path.rename(tmp_path / "kept")
    sink.deliver(judgement(2), None)
    assert sequences(path) == [2]
    assert sequences(tmp_path / "kept") == [1]


def test_a_line_that_a_killed_process_left_unfinished_harms_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event":"judge')
    opened(path).deliver(judgement(1), None)
    lines = path.read_text().splitlines()
    assert lines[0] == '{"event":"judge'
    assert json.loads(lines[1])["sequence"] == 1


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="name of a file was expected"):
        opened(tmp_path)


def test_lines_are_appended_to_no_model_and_no_photograph(tmp_path: Path) -> None:
    path = tmp_path / "parts.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3")
    with pytest.raises(SinkError, match="is no file of JSON lines"):
        opened(path)
    assert path.read_bytes() == b"\x1c\x00\x00\x00TFL3"
    for content in (b"", b'{"event": "judgement"}\n', bytes(100)):  # the last one as a power cut may leave it
        path.write_bytes(content)
        opened(path).close(1)
