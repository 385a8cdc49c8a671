"""What the retained topics of a watch say now, kept up to date by its events."""

from __future__ import annotations

from typing import Any

from edge_runtime.json_bytes import json_bytes
from edge_runtime.watching.events import (
    AlarmChanged,
    Event,
    HealthChanged,
    Judgement,
    ModelChanged,
    SceneChanged,
    ThresholdChanged,
    WatchStarted,
)

_STATE_EVERY_SECONDS = 1.0
_RANK = {"ok": 0, "degraded": 1, "failed": 2}


class RetainedTopics:
    """The latest content of `state`, `alarm` and `health`, and which of them is to be published.

    Only the latest counts, so an outage needs no queue for them. A new score alone is published once a second at
    most; an alarm at once. Not safe in several threads: the owner holds a lock.
    """

    def __init__(self) -> None:
        self._state: dict[str, Any] = {
            "alarm": "off",
            "score": None,
            "normalised_score": None,
            "threshold": None,
            "is_anomaly": None,
            "is_blind": None,
            "scene_changed": False,
            "sequence": 0,
            "source": None,
            "time": None,
        }
        self._alarm: dict[str, Any] = {}
        self._components: dict[str, dict[str, str]] = {}
        self._pending = {"state", "health"}
        self._state_due_at = 0.0

    def update(self, event: Event, now_seconds: float) -> None:
        """Take in what an event says.

        Args:
            event: Any event.
            now_seconds: `time.monotonic()`.
        """
        if isinstance(event, Judgement):
            values = event.to_dict()
            self._state.update({name: values[name] for name in self._state if name in values})
            self._pending.add("state")
            return
        changes: dict[str, Any] = {}
        if isinstance(event, AlarmChanged):
            changes = {"alarm": event.alarm}
            self._alarm = event.to_dict()
            self._pending.add("alarm")
        elif isinstance(event, SceneChanged):
            changes = {"scene_changed": event.changed}
        elif isinstance(event, ThresholdChanged | ModelChanged):
            changes = {"threshold": event.threshold}
        elif isinstance(event, WatchStarted):
            changes = {"threshold": event.threshold, "source": event.source}
            # The broker may still hold the "on" of a former process.
            self._alarm = AlarmChanged(event.time, "off", 0, 0, 0, "the watch has started", None).to_dict()
            self._pending.add("alarm")
        elif isinstance(event, HealthChanged):
            self._components[event.health.component] = event.health.to_dict()
            self._pending.add("health")
        if changes:
            self._state.update(changes)
            self._state_due_at = now_seconds
            self._pending.add("state")

    def publish_everything_again(self) -> None:
        """The broker may have forgotten: everything is to be published."""
        self._pending = {"state", "health", *(["alarm"] if self._alarm else [])}
        self._state_due_at = 0.0

    def take_due(self, now_seconds: float) -> dict[str, bytes]:
        """Return topic (below the prefix) and payload of what is to be published now, and take it as published."""
        due = {topic for topic in self._pending if topic != "state" or now_seconds >= self._state_due_at}
        self._pending -= due
        if "state" in due:
            self._state_due_at = now_seconds + _STATE_EVERY_SECONDS
        contents = {"state": self._state, "alarm": self._alarm, "health": self._health()}
        # Home Assistant reads them with a parser that refuses a text with a lone surrogate in it.
        return {topic: json_bytes(contents[topic], not_utf8="replace") for topic in sorted(due)}

    def seconds_until_due(self, now_seconds: float) -> float | None:
        """How long until `take_due` has something to return; None when nothing changed."""
        if not self._pending:
            return None
        return 0.0 if self._pending != {"state"} else max(0.0, self._state_due_at - now_seconds)

    def _health(self) -> dict[str, Any]:
        components = sorted(self._components.values(), key=lambda health: -_RANK[health["state"]])
        troubled = [health for health in components if health["state"] != "ok"]
        return {
            "state": troubled[0]["state"] if troubled else "ok",
            "message": "; ".join(f"{health['component']}: {health['message']}" for health in troubled),
            "components": {health["component"]: health for health in components},
        }
