"""`tfganomaly watch` and `serve` as commands: what they print, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli import main
from tests.edge_runtime.sources.test_cameras import write_video
from tests.edge_runtime.watching.fakes import wait_for

ROOT = Path(__file__).resolve().parents[3]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_folder_is_watched_once_and_every_event_written(
    artefact_path: Path, image_folder: Path, tmp_path: Path
) -> None:
    (image_folder / "broken.png").write_bytes(b"no image")
    events_file = tmp_path / "events.jsonl"
    result = invoke(
        "watch", artefact_path, image_folder, "--once", "--settle-seconds=0.1", "--threshold=-1", "--sink",
        f"jsonl:{events_file}", "--sink", f"evidence:{tmp_path / 'evidence'}", "--roi", "0,0,30,30", "--rotate", "90",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in events_file.read_text().splitlines()]
    judged = [Path(event["frame"]).name for event in events if event["event"] == "judgement"]
    assert judged == [f"part{number}.png" for number in range(12)]
    assert [event["event"] for event in events if event["event"] != "judgement"][:2] == ["started", "unreadable"]
    assert (events[-1]["event"], events[-1]["judged"], events[-1]["unreadable"]) == ("ended", 12, 1)
    assert list((tmp_path / "evidence").rglob("*.jpg"))
    assert "the source has ended: 12 judged, 12 anomalous, 1 alarm, 1 unreadable, 0 dropped" in result.stderr
    assert result.stdout == ""


def test_seconds_between_frames_are_a_video_files_own(artefact_path: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "line.avi", [50, 60, 70, 80, 90, 100])  # ten frames in a second
    result = invoke("watch", artefact_path, video, "--every", "200ms", "--sink", f"jsonl:{tmp_path / 'events.jsonl'}")
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    judged = [event["frame"] for event in events if event["event"] == "judgement"]
    assert judged == [f"{video}, frame {number}" for number in (1, 3, 5)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["watch", "none.tflite", "."], "'none.tflite' does not exist"),
        (["watch", "MODEL", "no/such/folder"], "'no/such/folder' does not exist"),
        (["watch", "MODEL", ".", "--every", "often"], "--every is 'often'"),
        (["watch", "MODEL", ".", "--roi", "1,2,3"], "--roi is '1,2,3'"),
        (["watch", "MODEL", ".", "--alarm-frames", "7"], "--alarm-frames is 7 of --alarm-window 5"),
        (["watch", "MODEL", ".", "--sink", "pigeon:home"], "--sink 'pigeon:home' is not understood"),
        (["watch", "MODEL", "camera:0", "--once"], "--once is for a folder"),
        (["watch", "MODEL", "camera:0", "--state", "judged"], "--state is for a folder, and 'camera:0' is none"),
        (["watch", "MODEL", ".", "--state", "MODEL"], "is no state file of a watch"),
        (["serve", "MODEL", "--state", "judged"], "--state is for a folder, and no folder is watched"),
        (["serve", "MODEL", "--host", "0.0.0.0"], "--host 0.0.0.0 can be reached by other machines"),
        (["serve", "MODEL", "--port", "70000"], "--port is 70000"),
        (["serve", "MODEL", "--token-file", "no-such-file"], "'no-such-file', cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    artefact_path: Path, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TFGANOMALY_TOKEN", raising=False)
    result = invoke(*[artefact_path if argument == "MODEL" else argument for argument in arguments])
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_watch_that_is_killed_goes_on_where_it_was(artefact_path: Path, tmp_path: Path) -> None:
    folder, events_file = tmp_path / "line", tmp_path / "events.jsonl"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(600):
        Image.fromarray(random.integers(0, 256, (64, 64), np.uint8)).save(folder / f"{number:04d}.png")
    command = [sys.executable, "-m", "tfganomaly", "watch", artefact_path, folder, "--settle-seconds", "0.1"]
    command += ["--state", tmp_path / "judged", "--sink", f"jsonl:{events_file}"]

    def judged() -> list[str]:
        if not events_file.exists():
            return []
        *lines, _ = events_file.read_text().split("\n")  # the last one may be read while it is written
        events = map(json.loads, lines)
        return [Path(event["frame"]).name for event in events if event["event"] == "judgement"]

    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        wait_for(lambda: len(judged()) > 50, 60)
        first.kill()
        first.wait()
        before = judged()
        assert len(before) < 600
        second = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        wait_for(lambda: len(set(judged())) == 600, 60)
        second.send_signal(signal.SIGTERM)
        assert second.wait(30) == 0
        Image.fromarray(random.integers(0, 256, (64, 64), np.uint8)).save(folder / "while it was down.png")
        subprocess.run([*command, "--once"], cwd=ROOT, stdout=log, stderr=log, check=True, timeout=60)
    names = judged()
    assert names[-1] == "while it was down.png"
    assert len(names) - len(set(names)) <= 1  # the one that was at hand when it was killed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_service_with_a_summary_and_exit_code_0(
    artefact_path: Path, image_folder: Path, number: signal.Signals, tmp_path: Path
) -> None:
    pytest.importorskip("waitress", reason="the serve extra is not installed")
    log_file = tmp_path / "log"
    with log_file.open("w") as log:
        command = [sys.executable, "-m", "tfganomaly", "serve", artefact_path, image_folder, "--port", "0"]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "TFGANOMALY_TOKEN": ""}
        )
        try:
            wait_for(lambda: "serving on http://" in log_file.read_text(), 60)
            url = next(word for word in log_file.read_text().split() if word.startswith("http://"))

            def judged() -> int:
                with urllib.request.urlopen(f"{url}health", timeout=10) as answer:
                    return int(json.load(answer)["judged"])

            wait_for(lambda: judged() == 12)
            process.send_signal(number)
            assert process.wait(30) == 0
        finally:
            process.kill()
    lines = log_file.read_text().splitlines()
    assert lines[-1].startswith(f"stopped by {number.name}: 12 judged")
    assert "Traceback" not in log_file.read_text()


def test_lines_do_not_go_where_they_would_be_judged_or_into_the_record(
    artefact_path: Path, image_folder: Path, tmp_path: Path
) -> None:
    for place, words in ((tmp_path / "judged", "is the file of --state"), (image_folder / "x.jpg", "watched folder")):
        result = invoke(
            "watch", artefact_path, image_folder, "--once", "--state", tmp_path / "judged", "--sink", f"jsonl:{place}"
        )
        assert result.exit_code == 2
        assert words in result.stderr.splitlines()[-1]
        assert not place.exists()
