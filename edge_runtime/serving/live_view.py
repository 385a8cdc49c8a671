"""Keeps what the live page shows: scores, the last frames with heatmaps, alarms and messages. A sink."""

from __future__ import annotations

import base64
import io
import logging
import threading
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Any

from PIL import Image

from edge_runtime.sinks.sink import Evidence, SinkCounts
from edge_runtime.watching.console_log import log_line
from edge_runtime.watching.events import AlarmChanged, ComponentHealth, Event, Judgement, SceneChanged, iso_milliseconds

SCORES_KEPT = 300
FRAMES_KEPT = 12
MESSAGES_KEPT = 50
THUMBNAIL_SIDE_PX = 320
_WATCHED_SECONDS = 15.0  # after its last question somebody still looks at the page
_FRAME_EVERY_SECONDS = 0.5
_ANOMALY_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class ShownFrame:
    """A frame as the page shows it: two small JPEG files and what was found."""

    number: int
    judgement: Judgement
    picture: bytes
    heatmap: bytes

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object with the pictures as data URLs."""
        return {
            "number": self.number,
            "frame": self.judgement.frame,
            "time": iso_milliseconds(self.judgement.time),
            "score": self.judgement.score,
            "normalised_score": self.judgement.normalised_score,
            "verdict": self.judgement.verdict,
            "picture": _data_url(self.picture),
            "heatmap": _data_url(self.heatmap),
        }


class LiveView:
    """The state of the live page; safe in any thread, and of a fixed size.

    Drawing costs some milliseconds, so a frame is drawn at most twice a second, and only while somebody looks; an
    anomalous one at most once a second also when nobody does.
    """

    name = "live page"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scores: deque[Judgement] = deque(maxlen=SCORES_KEPT)
        self._frames: deque[ShownFrame] = deque(maxlen=FRAMES_KEPT)
        self._anomalous: deque[ShownFrame] = deque(maxlen=FRAMES_KEPT)
        self._messages: deque[dict[str, str]] = deque(maxlen=MESSAGES_KEPT)
        self._latest: tuple[Judgement, Evidence] | None = None
        self._alarm: AlarmChanged | None = None
        self._scene: SceneChanged | None = None
        self._numbers = 0
        self._asked_seconds = float("-inf")
        self._drawn_seconds = float("-inf")
        self._delivered = 0

    def start(self) -> None:
        """Nothing to open."""

    def deliver(self, event: Event, evidence: Evidence | None) -> None:
        """Take one event."""
        self._delivered += 1
        if isinstance(event, Judgement):
            self._take_judgement(event, evidence)
            return
        with self._lock:
            if isinstance(event, AlarmChanged):
                self._alarm = event
            elif isinstance(event, SceneChanged):
                self._scene = event
            line = log_line(event)
            if line is not None:
                level = logging.getLevelName(line[0]).lower()
                self._messages.append({"time": iso_milliseconds(event.time), "level": level, "text": line[1]})

    def health(self) -> ComponentHealth:
        """Always well."""
        return ComponentHealth(self.name, "ok")

    def counts(self) -> SinkCounts:
        """Events taken."""
        return SinkCounts(delivered=self._delivered)

    def close(self, timeout_seconds: float) -> None:
        """Nothing is queued."""

    def state(self, after_number: int) -> dict[str, Any]:
        """Return what the page shows, and of the frames those that it does not have yet.

        Args:
            after_number: The highest frame number that the page has; 0 for none.
        """
        self._asked_seconds = monotonic()
        with self._lock:
            latest = self._latest
            self._latest = None
        if latest is not None:
            self._draw(*latest)
        with self._lock:
            scores, alarm, scene = list(self._scores), self._alarm, self._scene
            shown = {frame.number: frame for frame in (*self._anomalous, *self._frames)}
            messages = list(self._messages)
        return {
            "scores": [
                [entry.sequence, iso_milliseconds(entry.time), entry.score, entry.threshold, entry.shows_defect]
                for entry in scores
            ],
            "frames": [shown[number].to_dict() for number in sorted(shown) if number > after_number],
            "kept": sorted(shown),
            "last_alarm": None if alarm is None else alarm.to_dict(),
            "scene": None if scene is None else scene.to_dict(),
            "messages": messages[::-1],
        }

    def _take_judgement(self, judgement: Judgement, evidence: Evidence | None) -> None:
        now_seconds = monotonic()
        with self._lock:
            self._scores.append(judgement)
            self._latest = None if evidence is None else (judgement, evidence)
        since_seconds = now_seconds - self._drawn_seconds
        is_watched = now_seconds - self._asked_seconds < _WATCHED_SECONDS
        wanted = (is_watched and since_seconds >= _FRAME_EVERY_SECONDS) or (
            judgement.shows_defect and since_seconds >= _ANOMALY_EVERY_SECONDS
        )
        if evidence is not None and wanted:
            with self._lock:
                self._latest = None
            self._draw(judgement, evidence)

    def _draw(self, judgement: Judgement, evidence: Evidence) -> None:
        self._drawn_seconds = monotonic()
        picture, heatmap = evidence.thumbnails(THUMBNAIL_SIDE_PX)
        picture_file, heatmap_file = jpeg(picture), jpeg(heatmap)
        with self._lock:
            self._numbers += 1
            frame = ShownFrame(self._numbers, judgement, picture_file, heatmap_file)
            (self._anomalous if judgement.shows_defect else self._frames).append(frame)


def jpeg(picture: Image.Image, quality: int = 80) -> bytes:
    """Return a picture as a JPEG file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _data_url(jpeg_file: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_file).decode("ascii")
