"""Writes what a watch reports as log lines for people, on standard error."""

from __future__ import annotations

import logging
import sys

from edge_runtime.printable_text import printable
from edge_runtime.sinks.sink import Evidence, SinkCounts
from edge_runtime.watching.events import (
    AlarmChanged,
    ComponentHealth,
    Event,
    FrameUnreadable,
    HealthChanged,
    Judgement,
    ModelChanged,
    SceneChanged,
    ThresholdChanged,
    WatchStarted,
)

LOGGER = logging.getLogger("tfganomaly.watch")
_LEVELS = {"ok": logging.INFO, "degraded": logging.WARNING, "failed": logging.ERROR}


class ConsoleLog:
    """A sink that logs everything but the single judgements."""

    name = "log"

    def __init__(self) -> None:
        self._lines = 0

    def start(self) -> None:
        """Send log lines to standard error, once, with time and level; a service's journal takes them from there."""
        if not LOGGER.handlers:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S"))
            LOGGER.addHandler(handler)
            LOGGER.propagate = False
        LOGGER.setLevel(logging.INFO)

    def deliver(self, event: Event, evidence: Evidence | None) -> None:
        """Log one event."""
        if isinstance(event, Judgement):  # by far the most, and never logged
            return
        line = log_line(event)
        if line is not None:
            LOGGER.log(*line)
            self._lines += 1

    def health(self) -> ComponentHealth:
        """Always well."""
        return ComponentHealth(self.name, "ok")

    def counts(self) -> SinkCounts:
        """Lines written."""
        return SinkCounts(delivered=self._lines)

    def close(self, timeout_seconds: float) -> None:
        """Nothing is queued."""


def log_line(event: Event) -> tuple[int, str] | None:
    """Return level and text of the line for an event, None for those that are not logged."""
    line = _level_and_text(event)
    return None if line is None else (line[0], printable(line[1]))


def _level_and_text(event: Event) -> tuple[int, str] | None:
    if isinstance(event, WatchStarted):
        return logging.INFO, (
            f"watching {event.source} with {event.model} ({event.model_sha256}), threshold {event.threshold:.6g}"
        )
    if isinstance(event, AlarmChanged):
        word = "ALARM" if event.alarm == "on" else "alarm cleared:"
        frame = f" ({event.judgement.frame})" if event.judgement is not None else ""
        return (logging.WARNING if event.alarm == "on" else logging.INFO), f"{word} {event.reason}{frame}"
    if isinstance(event, HealthChanged):
        health = event.health
        return _LEVELS[
            health.state
        ], f"{health.component} {health.state}{': ' if health.message else ''}{health.message}"
    if isinstance(event, SceneChanged):
        return (logging.WARNING if event.changed else logging.INFO), event.message
    if isinstance(event, FrameUnreadable):
        return logging.WARNING, f"left out: {event.reason}"
    if isinstance(event, ThresholdChanged):
        return logging.INFO, f"threshold {event.threshold:.6g} (was {event.previous:.6g}), set by {event.origin}"
    if isinstance(event, ModelChanged):
        return logging.INFO, (
            f"took over {event.model} ({event.model_sha256}, was {event.previous_sha256}), threshold "
            f"{event.threshold:.6g}"
        )
    return None
