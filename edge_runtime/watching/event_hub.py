"""Hands every event to every sink, one at a time."""

from __future__ import annotations

import threading
from time import monotonic

from edge_runtime.errors import SinkError
from edge_runtime.sinks.sink import Evidence, Sink
from edge_runtime.watching.console_log import LOGGER
from edge_runtime.watching.events import Event

_LONGEST_CLOSE = 4  # times the time without progress; a service is killed that takes longer to end


class EventHub:
    """Delivers events in one order to all sinks.

    Attributes:
        sinks: All that were added.
        judgements_are_heard: Whether a sink takes the single judgements and evidence. If none does, they need not be
            made.
    """

    def __init__(self) -> None:
        self.sinks: tuple[Sink, ...] = ()
        self.judgements_are_heard = False
        self._lock = threading.Lock()

    def add(self, sink: Sink, *, takes_judgements: bool = True) -> None:
        """Let a sink hear of every event from now on.

        Args:
            sink: Any sink.
            takes_judgements: Whether it does anything with a `Judgement` or with evidence.

        Raises:
            SinkError: Another sink has the same name.
        """
        if any(sink.name == other.name for other in self.sinks):
            raise SinkError(f"The sink '{sink.name}' was given twice. Leave one out.")
        self.sinks = (*self.sinks, sink)
        self.judgements_are_heard = self.judgements_are_heard or takes_judgements

    def start(self) -> None:
        """Start all sinks."""
        for sink in self.sinks:
            sink.start()

    def publish(self, event: Event, evidence: Evidence | None = None) -> None:
        """Deliver one event; safe in any thread."""
        with self._lock:
            for sink in self.sinks:
                sink.deliver(event, evidence)

    def close(self, timeout_seconds: float) -> None:
        """Let all sinks deliver what they have queued, side by side, and log what one could not deliver.

        Args:
            timeout_seconds: A sink that delivers nothing for so long is given up, and after four times as long each
                that is not done: whoever started the program waits for its end.
        """
        closing = [threading.Thread(target=sink.close, args=(timeout_seconds,), daemon=True) for sink in self.sinks]
        end_seconds = monotonic() + _LONGEST_CLOSE * timeout_seconds
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(max(0.0, end_seconds - monotonic()))
        for sink in self.sinks:
            if waiting := sink.counts().waiting:
                LOGGER.warning("%s: %d events could not be delivered before the end", sink.name, waiting)
