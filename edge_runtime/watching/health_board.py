"""Holds how every part of the watch does, and reports what changes."""

from __future__ import annotations

import threading

from edge_runtime.watching.event_hub import EventHub
from edge_runtime.watching.events import ComponentHealth, HealthChanged, HealthState, utc_now

_SEVERITY: dict[HealthState, int] = {"ok": 0, "degraded": 1, "failed": 2}
# On the way from a frame to its verdict, the most telling first. Who reports them names them; importing the names from
# there would be a circle.
_JUDGING_COMPONENTS = ("source", "inference", "model", "view", "frames", "loop")


class HealthBoard:
    """The latest health by component; safe in any thread.

    Args:
        hub: Gets a `HealthChanged` for each change; a component that begins as "ok" is no change.
    """

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._components: dict[str, ComponentHealth] = {}

    def report(self, health: ComponentHealth) -> None:
        """Take how one component does now."""
        with self._lock:
            former = self._components.get(health.component)
            if former == health:
                return
            self._components[health.component] = health
        if former is not None or health.state != "ok" or health.message:
            self._hub.publish(HealthChanged(utc_now(), health))

    def components(self) -> list[ComponentHealth]:
        """Return all components: the worst first, and of equal ones those that judging needs before the sinks."""
        with self._lock:
            components = list(self._components.values())
        return sorted(
            components, key=lambda health: (-_SEVERITY[health.state], _rank(health.component), health.component)
        )

    def overall(self) -> HealthState:
        """Return the worst state of all."""
        components = self.components()
        return components[0].state if components else "ok"

    def can_judge(self) -> bool:
        """Return whether defects in front of the camera would be found: no part that judging needs has failed."""
        return not any(
            health.state == "failed" and health.component in _JUDGING_COMPONENTS for health in self.components()
        )


def _rank(component: str) -> int:
    if component in _JUDGING_COMPONENTS:
        return _JUDGING_COMPONENTS.index(component)
    return len(_JUDGING_COMPONENTS)
