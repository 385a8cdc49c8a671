"""Keeps events in order until the other side has acknowledged them, within a bound.

What overflows is the oldest of the least important kind: judgements first, alarms last. What is on its way is not
dropped, as it may have arrived.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import IntEnum

from edge_runtime.sinks.sink import SinkCounts
from edge_runtime.watching.events import AlarmChanged, Event, Judgement


class Priority(IntEnum):
    """What is dropped first when a queue is full: the lowest."""

    JUDGEMENT = 0
    NEWS = 1
    ALARM = 2


def priority_of(event: Event) -> Priority:
    """Return how important it is that an event arrives."""
    if isinstance(event, AlarmChanged):
        return Priority.ALARM
    return Priority.JUDGEMENT if isinstance(event, Judgement) else Priority.NEWS


@dataclass(frozen=True)
class QueuedMessage:
    """One message of a queue.

    Attributes:
        number: Its place in the order of all messages.
        priority: When it may be dropped.
        topic: Where it goes, where the other side has topics.
        payload: What is delivered.
    """

    number: int
    priority: Priority
    topic: str
    payload: bytes


class OutageQueue:
    """A bounded queue whose messages leave it when they are acknowledged. Safe in any thread.

    Args:
        capacity: How many messages it holds, those on their way included.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: dict[Priority, deque[QueuedMessage]] = {priority: deque() for priority in Priority}
        self._on_their_way: OrderedDict[int, QueuedMessage] = OrderedDict()
        self._lock = threading.Lock()
        self._next_number = 1
        self._delivered = 0
        self._dropped = dict.fromkeys(Priority, 0)

    def put(self, payload: bytes, priority: Priority, topic: str = "") -> None:
        """Add a message at the end; when the queue is full, the least important of all goes."""
        with self._lock:
            self._waiting[priority].append(QueuedMessage(self._next_number, priority, topic, payload))
            self._next_number += 1
            if self._size() > self._capacity:
                lowest = next(kind for kind in Priority if self._waiting[kind])
                self._waiting[lowest].popleft()
                self._dropped[lowest] += 1

    def take(self) -> QueuedMessage | None:
        """Return the next message to send, which then is on its way; None when there is none."""
        with self._lock:
            heads = [messages for messages in self._waiting.values() if messages]
            if not heads:
                return None
            message = min(heads, key=lambda messages: messages[0].number).popleft()
            self._on_their_way[message.number] = message
            return message

    def acknowledge(self, message: QueuedMessage) -> None:
        """Forget a message that has arrived."""
        with self._lock:
            if self._on_their_way.pop(message.number, None) is not None:
                self._delivered += 1

    def reject(self, message: QueuedMessage) -> None:
        """Forget a message that the other side will never take; it counts as dropped."""
        with self._lock:
            if self._on_their_way.pop(message.number, None) is not None:
                self._dropped[message.priority] += 1

    def return_unacknowledged(self) -> None:
        """Put everything that is on its way back to its place: the connection was lost."""
        with self._lock:
            for message in reversed(self._on_their_way.values()):
                self._waiting[message.priority].appendleft(message)
            self._on_their_way.clear()

    @property
    def num_on_their_way(self) -> int:
        """How many messages are sent and not acknowledged."""
        return len(self._on_their_way)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is on its way."""
        with self._lock:
            return self._size() == 0

    def counts(self) -> SinkCounts:
        """How many messages arrived, wait (or are on their way) and were dropped."""
        with self._lock:
            return SinkCounts(self._delivered, self._size(), sum(self._dropped.values()))

    def dropped_text(self) -> str:
        """What was lost since the start, such as "judgements and 1 alarm lost"; empty when nothing was.

        Without the number of judgements, which `counts` has: they may be lost every second, and each would be news in
        `health`.
        """
        words = {Priority.NEWS: "notice", Priority.ALARM: "alarm"}
        with self._lock:
            lost = [
                f"{count} {words[kind]}{'' if count == 1 else 's'}" if kind in words else "judgements"
                for kind, count in self._dropped.items()
                if count
            ]
        return " and ".join([", ".join(lost[:-1]), lost[-1]] if len(lost) > 1 else lost) + " lost" if lost else ""

    def _size(self) -> int:
        return sum(map(len, self._waiting.values())) + len(self._on_their_way)
