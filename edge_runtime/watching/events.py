"""The events that a watch reports, each as a frozen dataclass whose `to_dict` gives plain JSON.

Part of tfganomaly. Every event's JSON object has "event" (its kind) and "time" (UTC, ISO 8601, milliseconds).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from edge_runtime.detection import Timings

AlarmState = Literal["off", "on"]
HealthState = Literal["ok", "degraded", "failed"]


def utc_now() -> datetime:
    """Return the time as an event carries it."""
    return datetime.now(timezone.utc)


def iso_milliseconds(time: datetime) -> str:
    """Return an aware UTC time such as "2026-07-31T12:00:00.123Z"."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def compact_milliseconds(time: datetime) -> str:
    """Return an aware UTC time as a file's name carries it, such as "20260731T120000.123Z"."""
    return iso_milliseconds(time).replace("-", "").replace(":", "")


@dataclass(frozen=True)
class Event:
    """What all events have.

    Attributes:
        kind: Its name in JSON, under "event".
        time: When it happened, aware, UTC.
    """

    kind: ClassVar[str] = "event"
    time: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {"event": self.kind, "time": iso_milliseconds(self.time), **self._fields()}

    def _fields(self) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True)
class Judgement(Event):
    """One frame was judged. Exactly one for each good frame that a source gave.

    Attributes:
        sequence: 1 for the first frame judged since the start, then rising by one.
        source: The source as the user named it, with passwords left out.
        frame: Which frame: a file's path, or such as "frame 4711".
        score: Raw score.
        normalised_score: In [0, 1]; 0.5 is the most unusual good image seen at calibration.
        threshold: The raw score above which a frame is anomalous, as it was for this frame.
        is_anomaly: Whether the score is above the threshold.
        is_blind: Whether the camera saw nothing: a black, overexposed or frozen picture. Such a frame has no part in
            alarms and counts as no defect, whatever its score.
        alarm: The alarm's state after this frame.
        scene_changed: Whether the scores as a whole have left the calibration; alarms are then doubtful.
        timings: How long the frame took.
        model_sha256: Of the artefact that judged, the first 12 hexadecimal digits.
    """

    kind: ClassVar[str] = "judgement"
    sequence: int
    source: str
    frame: str
    score: float
    normalised_score: float
    threshold: float
    is_anomaly: bool
    is_blind: bool
    alarm: AlarmState
    scene_changed: bool
    timings: Timings
    model_sha256: str

    @property
    def shows_defect(self) -> bool:
        """Whether the frame is anomalous and the camera saw something."""
        return self.is_anomaly and not self.is_blind

    @property
    def verdict(self) -> Literal["anomalous", "blind", "good"]:
        """The judgement in a word."""
        return "blind" if self.is_blind else "anomalous" if self.is_anomaly else "good"

    def _fields(self) -> dict[str, Any]:
        return {
            "sequence": self.sequence,
            "source": self.source,
            "frame": self.frame,
            "score": self.score,
            "normalised_score": self.normalised_score,
            "threshold": self.threshold,
            "is_anomaly": self.is_anomaly,
            "is_blind": self.is_blind,
            "alarm": self.alarm,
            "scene_changed": self.scene_changed,
            "preprocess_ms": round(self.timings.preprocess_ms, 3),
            "inference_ms": round(self.timings.inference_ms, 3),
            "score_ms": round(self.timings.score_ms, 3),
            "model_sha256": self.model_sha256,
        }


@dataclass(frozen=True)
class AlarmChanged(Event):
    """The alarm was raised or cleared.

    Attributes:
        alarm: Its new state, "on" or "off".
        number: How many alarms have been raised since the start, this one included.
        anomalous_frames: How many of the last `window_frames` were anomalous.
        window_frames: Over how many frames the alarm was decided.
        reason: One line for people.
        judgement: The frame that did it; None when a person cleared the alarm.
    """

    kind: ClassVar[str] = "alarm"
    alarm: AlarmState
    number: int
    anomalous_frames: int
    window_frames: int
    reason: str
    judgement: Judgement | None

    def _fields(self) -> dict[str, Any]:
        return {
            "alarm": self.alarm,
            "number": self.number,
            "anomalous_frames": self.anomalous_frames,
            "window_frames": self.window_frames,
            "reason": self.reason,
            "judgement": None if self.judgement is None else self.judgement.to_dict(),
        }


@dataclass(frozen=True)
class ComponentHealth:
    """How one part of the watch does.

    Attributes:
        component: Such as "source", "inference", "frames", "model", "mqtt".
        state: "ok"; "degraded": it works with losses or will by itself again; "failed": it does not work.
        message: One line for people; may be empty when the state is "ok".
    """

    component: str
    state: HealthState
    message: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return a JSON object."""
        return {"component": self.component, "state": self.state, "message": self.message}


@dataclass(frozen=True)
class HealthChanged(Event):
    """A part of the watch got better or worse, or has something new to say."""

    kind: ClassVar[str] = "health"
    health: ComponentHealth

    def _fields(self) -> dict[str, Any]:
        return self.health.to_dict()


@dataclass(frozen=True)
class SceneChanged(Event):
    """The scores as a whole left the calibration ("the scene has changed"), or came back.

    Attributes:
        changed: True when it left, False when it is back.
        statistic: The test's statistic.
        limit: What the statistic was compared with.
        window_frames: Over how many frames.
        message: One line for people.
    """

    kind: ClassVar[str] = "scene"
    changed: bool
    statistic: float
    limit: float
    window_frames: int
    message: str

    def _fields(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "statistic": round(self.statistic, 4),
            "limit": round(self.limit, 4),
            "window_frames": self.window_frames,
            "message": self.message,
        }


@dataclass(frozen=True)
class FrameUnreadable(Event):
    """A frame came that is no picture, for example a damaged file.

    Each file is reported once; of a camera, where a reason mostly holds for all frames, the same reason once a minute.

    Attributes:
        source: As in `Judgement`.
        frame: As in `Judgement`.
        reason: One line that names the frame.
    """

    kind: ClassVar[str] = "unreadable"
    source: str
    frame: str
    reason: str

    def _fields(self) -> dict[str, Any]:
        return {"source": self.source, "frame": self.frame, "reason": self.reason}


@dataclass(frozen=True)
class ThresholdChanged(Event):
    """The threshold is another one from the next frame on.

    Attributes:
        threshold: The new raw score.
        previous: The former one.
        origin: Who changed it: "http", "mqtt", "model".
    """

    kind: ClassVar[str] = "threshold"
    threshold: float
    previous: float
    origin: str

    def _fields(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "previous": self.previous, "origin": self.origin}


@dataclass(frozen=True)
class ModelChanged(Event):
    """Another artefact judges from the next frame on.

    Attributes:
        model: Its path.
        model_sha256: The first 12 hexadecimal digits of the file's SHA-256.
        previous_sha256: Those of the former one.
        threshold: What holds from now on.
    """

    kind: ClassVar[str] = "model"
    model: str
    model_sha256: str
    previous_sha256: str
    threshold: float

    def _fields(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "model_sha256": self.model_sha256,
            "previous_sha256": self.previous_sha256,
            "threshold": self.threshold,
        }


@dataclass(frozen=True)
class WatchStarted(Event):
    """The watch begins; the first event of all.

    Attributes:
        source: As in `Judgement`.
        model: The artefact's path.
        model_sha256: As in `Judgement`.
        threshold: What holds at the start.
        version: Of tfganomaly.
    """

    kind: ClassVar[str] = "started"
    source: str
    model: str
    model_sha256: str
    threshold: float
    version: str

    def _fields(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "threshold": self.threshold,
            "version": self.version,
        }


@dataclass(frozen=True)
class WatchEnded(Event):
    """The watch ends; the last event of all.

    Attributes:
        reason: One line for people, such as "stopped by SIGTERM".
        judged: Frames judged.
        anomalous: How many of them were anomalous.
        alarms: Alarms raised.
        unreadable: Frames that were no pictures.
        dropped: Frames that a live source gave while the loop was busy.
        median_ms: Median time from picture to verdict, of the latest frames; None before the first.
        p95_ms: Its 95 % quantile.
    """

    kind: ClassVar[str] = "ended"
    reason: str
    judged: int
    anomalous: int
    alarms: int
    unreadable: int
    dropped: int
    median_ms: float | None
    p95_ms: float | None

    def _fields(self) -> dict[str, Any]:
        return {
            "reason": self.reason,
            "judged": self.judged,
            "anomalous": self.anomalous,
            "alarms": self.alarms,
            "unreadable": self.unreadable,
            "dropped": self.dropped,
            "median_ms": None if self.median_ms is None else round(self.median_ms, 3),
            "p95_ms": None if self.p95_ms is None else round(self.p95_ms, 3),
        }
