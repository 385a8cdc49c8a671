"""Stand-ins for the outside of a watch: a sink that keeps what it hears, a source that gives what it was told."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from time import monotonic, sleep

import numpy as np

from edge_runtime.sinks.sink import Evidence, SinkCounts
from edge_runtime.sources.source import SOURCE_COMPONENT, Frame
from edge_runtime.watching.events import ComponentHealth, Event


class ListSink:
    """Keeps all events."""

    def __init__(self, name: str = "list") -> None:
        self.name = name
        self.events: list[Event] = []
        self.evidence: list[Evidence | None] = []
        self.state = ComponentHealth(name, "ok")
        self.closed = False

    def start(self) -> None:
        pass

    def deliver(self, event: Event, evidence: Evidence | None) -> None:
        self.events.append(event)
        self.evidence.append(evidence)

    def health(self) -> ComponentHealth:
        return self.state

    def counts(self) -> SinkCounts:
        return SinkCounts(delivered=len(self.events))

    def close(self, timeout_seconds: float) -> None:
        self.closed = True

    def of(self, kind: str) -> list:
        return [event for event in self.events if event.kind == kind]


class ListSource:
    """Gives frames from a list, then ends; or waits for more where it was told to."""

    name = "list"

    def __init__(self, frames: Iterable[Frame | np.ndarray], ends: bool = True) -> None:
        self._frames = [
            frame if isinstance(frame, Frame) else Frame(f"frame {number}", frame)
            for number, frame in enumerate(frames, start=1)
        ]
        self._ends = ends
        self.dropped = 0
        self.given_back = 0
        self.closed = False
        self.state = ComponentHealth(SOURCE_COMPONENT, "ok")

    @property
    def exhausted(self) -> bool:
        return self._ends and not self._frames

    def start(self) -> None:
        pass

    def push(self, frame: np.ndarray, name: str = "pushed") -> None:
        self._frames.append(Frame(name, frame))

    def next_frame(self, timeout_seconds: float) -> Frame | None:
        if self._frames:
            return self._frames.pop(0)
        sleep(min(timeout_seconds, 0.01))
        return None

    def give_back(self) -> None:
        self.given_back += 1

    def health(self) -> ComponentHealth:
        return self.state

    def close(self) -> None:
        self.closed = True


def wait_for(condition, timeout_seconds: float = 20.0) -> None:
    """Wait until something has happened in another thread or process."""
    deadline = monotonic() + timeout_seconds
    while not condition():
        assert monotonic() < deadline, "it did not happen in time"
        sleep(0.01)


def in_background(target) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread
