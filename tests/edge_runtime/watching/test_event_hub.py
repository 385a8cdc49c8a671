"""What the end of a watch waits for."""

from __future__ import annotations

import threading
from time import monotonic

import pytest

from edge_runtime.sinks.sink import SinkCounts
from edge_runtime.watching.event_hub import EventHub
from tests.edge_runtime.watching.fakes import ListSink


class EndlessSink(ListSink):
    """Delivers one event after the other, and never all of them."""

    def __init__(self) -> None:
        super().__init__("endless")
        self.released = threading.Event()

    def counts(self) -> SinkCounts:
        return SinkCounts(waiting=7)

    def close(self, timeout_seconds: float) -> None:
        self.released.wait(20)


def test_a_sink_that_is_never_done_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    hub, endless = EventHub(), EndlessSink()
    hub.add(endless)
    before = monotonic()
    hub.close(0.1)
    assert 0.4 <= monotonic() - before < 5
    assert "endless: 7 events could not be delivered before the end" in caplog.text
    endless.released.set()
