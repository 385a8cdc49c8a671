"""A production line in a minute: `tfganomaly watch` on thousands of images, with everything going wrong around it.

    python benchmarks/watch_soak.py parts.tflite [--images 10000] [--json FILE]

The real program watches a folder and sends every event to a JSON lines file and to a real Mosquitto broker, with a
subscriber behind it. While images come (some renamed into place, some written slowly, 1 % cut short), the program is
stopped and started again with images coming in between, the broker is killed and restarted, then frozen by SIGSTOP,
then the folder vanishes and returns. Afterwards it is counted: was every good image judged exactly once, every damaged
one reported once, did every alarm arrive, did the memory stay flat. Ends with exit code 1 if not.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from figures_file import figures_file
from machine import describe_machine
from PIL import Image

from edge_runtime.calibrating.recalibration import CalibrationWish, calibrate_artefact

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.edge_runtime.sinks.broker import MOSQUITTO, Broker
from tests.edge_runtime.sinks.listener import Listener

PREFIX = "line1"
SIDE_PX = 64
CORRUPT_EVERY = 100
DEFECT_EVERY = 40
RSS_FIRST_AFTER = 500
DIRT = np.random.default_rng(13).integers(0, 2, (30, 30)) * 255


@dataclass(frozen=True)
class SoakResult:
    """What was counted.

    Attributes:
        good_images: Images that can be read.
        judged: How many of them were judged.
        judged_before_restart: By the first process, all images that can be read counted once.
        judged_twice: How many more than once.
        not_judged: How many never.
        corrupt_images: Images that cannot be read.
        corrupt_reported: How many of them were reported, each once.
        alarms: Raised and cleared alarms by the local record.
        alarms_arrived: How many of them the subscriber behind the broker has heard.
        judgements_arrived: How many judgements it has heard.
        rss_first_mb: Resident memory of the second process after its first 500 images, in megabytes (1e6 bytes).
        rss_last_mb: At the end.
        rss_growth: The last over the first, less 1.
        rss_mb_every_500: After each 500 images that were put there, outages included.
        exit_code: Of the program, after SIGTERM; of both processes, the one that is not 0.
        seconds: From the first image to the last.
        summary: The program's last line.
    """

    good_images: int
    judged: int
    judged_before_restart: int
    judged_twice: int
    not_judged: int
    corrupt_images: int
    corrupt_reported: int
    alarms: int
    alarms_arrived: int
    judgements_arrived: int
    rss_first_mb: float
    rss_last_mb: float
    rss_growth: float
    rss_mb_every_500: list[float]
    exit_code: int
    seconds: float
    summary: str

    @property
    def is_sound(self) -> bool:
        """Whether everything was as it must be."""
        return (
            self.judged == self.good_images
            and not self.judged_twice
            and not self.not_judged
            and self.corrupt_reported == self.corrupt_images
            and self.alarms_arrived == self.alarms > 0
            and self.rss_growth < 0.1
            and self.exit_code == 0
        )


def main() -> None:
    """Runs the soak and prints what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--images-per-second", type=float, default=200)
    parser.add_argument("--json", type=figures_file)
    arguments = parser.parse_args()
    if MOSQUITTO is None:
        raise SystemExit("mosquitto is not installed (apt-get install mosquitto)")
    with tempfile.TemporaryDirectory() as folder:
        result = soak(arguments.model, Path(folder), arguments.images, arguments.images_per_second)
    for name, value in asdict(result).items():
        print(f"{name:20} {value}")
    print(f"{'sound':20} {result.is_sound}")
    if arguments.json:
        record = {**asdict(result), "is_sound": result.is_sound, "machine": describe_machine()}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    raise SystemExit(0 if result.is_sound else 1)


def soak(model: Path, work: Path, num_images: int, images_per_second: float) -> SoakResult:
    """Run everything in a folder of its own."""
    random = np.random.default_rng(0)
    calibrated = work / "model.tflite"
    shutil.copy(model, calibrated)
    calibrate_artefact(calibrated, [_part(random) for _ in range(400)], CalibrationWish(0.003))
    line, record = work / "line", work / "events.jsonl"
    line.mkdir()
    broker = Broker(work)
    broker.start()
    listener = Listener(broker.port, f"{PREFIX}/#")
    log = (work / "watch.log").open("w+", encoding="utf-8")
    command = _watch_command(calibrated, line, record, broker.port, num_images)
    watch = subprocess.Popen(command, stderr=log, stdout=log)
    progress = _Record(record)
    try:
        _wait(lambda: progress.read() and progress.events["started"] > 0, 60)
        feeder = _Feeder(line, random, progress, images_per_second)
        begun = time.monotonic()
        quarter = num_images // 4
        feeder.feed(num_images // 8)
        watch.send_signal(signal.SIGTERM)
        first_exit_code = watch.wait(60)
        progress.read()
        judged_before_restart = sum(progress.judged.values())
        feeder.feed(num_images // 20)
        watch = subprocess.Popen(command, stderr=log, stdout=log)
        feeder.look_at(watch.pid, judged_before_restart + RSS_FIRST_AFTER)
        feeder.feed(quarter - feeder.number)
        _feed_through_outages(feeder, broker, quarter, images_per_second)
        feeder.feed(num_images - feeder.number)
        expected = len(feeder.good) + len(feeder.corrupt)
        _wait(lambda: progress.read() and len(progress.judged) + len(progress.unreadable) >= expected, 120)
        seconds = time.monotonic() - begun
        _wait(lambda: _arrived(listener) >= progress.alarms, 60)
        time.sleep(3)  # what is judged twice would come now
        rss_last = _rss_mb(watch.pid)
        watch.send_signal(signal.SIGTERM)
        exit_code = watch.wait(60) or first_exit_code
        progress.read()
        _wait(lambda: _arrived(listener) >= progress.alarms, 60)
        log.seek(0)
        summary = log.read().strip().splitlines()[-1]
    finally:
        if watch.poll() is None:
            watch.kill()
        listener.close()
        broker.close()
        log.close()
    return SoakResult(
        **_counts(feeder, progress, listener),
        judged_before_restart=judged_before_restart,
        rss_first_mb=round(feeder.rss_first_mb, 2),
        rss_last_mb=round(rss_last, 2),
        rss_growth=round(rss_last / feeder.rss_first_mb - 1, 4),
        rss_mb_every_500=feeder.rss_mb,
        exit_code=exit_code,
        seconds=round(seconds, 1),
        summary=summary,
    )


def _watch_command(model: Path, line: Path, record: Path, port: int, num_images: int) -> list[str]:
    """The program with a file and a broker as sinks, which raises and clears an alarm at every defect."""
    command = [sys.executable, "-m", "tfganomaly", "watch", str(model), str(line)]
    command += ["--sink", f"jsonl:{record}", "--jsonl-max-mb", "10000", "--sink", f"mqtt://127.0.0.1:{port}/{PREFIX}"]
    command += ["--sink-queue", str(10 * num_images), "--state", str(record.with_name("judged"))]
    return [*command, "--alarm-frames", "1", "--alarm-window", "1", "--clear-frames", "1"]


def _feed_through_outages(feeder: _Feeder, broker: Broker, quarter: int, images_per_second: float) -> None:
    """Put the second and third quarter there: without the broker, with a frozen one, at last without the folder."""
    broker.stop(signal.SIGKILL)
    feeder.feed(min(quarter, round(3 * images_per_second)))
    broker.start()
    feeder.feed(2 * quarter - feeder.number)
    broker.send(signal.SIGSTOP)
    feeder.feed(min(quarter, round(5 * images_per_second)))
    broker.send(signal.SIGCONT)
    feeder.feed(3 * quarter - feeder.number)
    line = feeder.folder
    away = line.with_name("away")
    line.rename(away)
    time.sleep(2.5)
    feeder.folder = away
    feeder.feed(20)
    away.rename(line)
    feeder.folder = line


def _counts(feeder: _Feeder, progress: _Record, listener: Listener) -> dict[str, int]:
    """What became of the images and the alarms, under the names of `SoakResult`."""
    good, corrupt = set(feeder.good), set(feeder.corrupt)
    return {
        "good_images": len(good),
        "judged": len(good & set(progress.judged)),
        "judged_twice": sum(count > 1 for count in progress.judged.values()),
        "not_judged": len(good - set(progress.judged)),
        "corrupt_images": len(corrupt),
        "corrupt_reported": sum(progress.unreadable[name] == 1 for name in corrupt),
        "alarms": len(progress.alarms),
        "alarms_arrived": len(progress.alarms & _arrived(listener)),
        "judgements_arrived": len({event["frame"] for event in _heard(listener, "judgement")}),
    }


class _Feeder:
    """Puts images into the folder as a line does, one after the other."""

    def __init__(self, folder: Path, random: np.random.Generator, progress: _Record, images_per_second: float) -> None:
        self.folder = folder
        self.number = 0
        self.good: list[str] = []
        self.corrupt: list[str] = []
        self.rss_first_mb = 0.0
        self.rss_mb: list[float] = []
        self._random = random
        self._progress = progress
        self._pid: int | None = None
        self._first_rss_at = 0
        self._seconds_an_image = 1 / images_per_second

    def look_at(self, pid: int, first_rss_at: int) -> None:
        """Note the memory of this process from now on, the first time when so many images were judged in all."""
        self._pid, self._first_rss_at = pid, first_rss_at

    def feed(self, count: int) -> None:
        """Put so many more images there."""
        for _ in range(count):
            due = time.monotonic() + self._seconds_an_image
            self._put_next()
            if self._pid is not None and not self.rss_first_mb and self.number % 20 == 0:
                self._progress.read()
                if sum(self._progress.judged.values()) >= self._first_rss_at:
                    self.rss_first_mb = _rss_mb(self._pid)
            if self._pid is not None and self.number % 500 == 0:
                self.rss_mb.append(round(_rss_mb(self._pid), 1))
            time.sleep(max(0.0, due - time.monotonic()))

    def _put_next(self) -> None:
        number, name = self.number, f"part_{self.number:06d}.png"
        self.number += 1
        content = _png(_part(self._random, has_defect=number % DEFECT_EVERY == DEFECT_EVERY - 1))
        if number % CORRUPT_EVERY == CORRUPT_EVERY // 2:
            self.corrupt.append(name)
            (self.folder / name).write_bytes(content[: len(content) // 2])
            return
        self.good.append(name)
        if number % 3 == 0:
            (self.folder / f".{name}").write_bytes(content)
            (self.folder / f".{name}").rename(self.folder / name)
        elif number % 50 == 1:
            with (self.folder / name).open("wb", buffering=0) as file:
                for start in range(0, len(content), 1024):
                    file.write(content[start : start + 1024])
                    time.sleep(0.01)
        else:
            (self.folder / name).write_bytes(content)


class _Record:
    """What the local JSON lines file says so far."""

    def __init__(self, path: Path) -> None:
        self.judged: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.alarms: set[tuple[str, int, str]] = set()
        self._path = path
        self._offset = 0

    def read(self) -> bool:
        """Read what is new; always true, so that it can stand in a condition."""
        if not self._path.exists():
            return True
        with self._path.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        complete = content[: content.rfind(b"\n") + 1]
        self._offset += len(complete)
        for text in complete.splitlines():
            event = json.loads(text)
            self.events[event["event"]] += 1
            if event["event"] == "judgement":
                self.judged[Path(event["frame"]).name] += 1
            elif event["event"] == "unreadable":
                self.unreadable[Path(event["frame"]).name] += 1
            elif event["event"] == "alarm":
                self.alarms.add((event["alarm"], event["number"], event["time"]))
        return True


def _part(random: np.random.Generator, has_defect: bool = False) -> np.ndarray:
    """A soft bright disc with noise; a defect is a patch of dirt."""
    rows, columns = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    centre = random.uniform(28, 36, 2)
    disc = 180 * np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / 300)
    pixels = disc + random.normal(30, 5, (SIDE_PX, SIDE_PX))
    if has_defect:
        pixels[17:47, 17:47] = DIRT
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _heard(listener: Listener, kind: str) -> list[dict[str, Any]]:
    return listener.payloads(f"{PREFIX}/event/{kind}")


def _arrived(listener: Listener) -> set[tuple[str, int, str]]:
    return {(event["alarm"], event["number"], event["time"]) for event in _heard(listener, "alarm")}


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def _wait(is_done: Callable[[], bool], timeout_seconds: float) -> None:
    """Wait for something; when it does not come in time, the figures will show it."""
    deadline = time.monotonic() + timeout_seconds
    while not is_done() and time.monotonic() < deadline:
        time.sleep(0.1)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
