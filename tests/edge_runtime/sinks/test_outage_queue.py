from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.sinks.outage_queue import OutageQueue, Priority
from edge_runtime.sinks.sink import SinkCounts


def drain(queue: OutageQueue) -> list[bytes]:
    payloads = []
    while (message := queue.take()) is not None:
        payloads.append(message.payload)
        queue.acknowledge(message)
    return payloads


def test_messages_leave_in_order_whatever_their_priority() -> None:
    queue = OutageQueue(10)
    for index, priority in enumerate((Priority.ALARM, Priority.JUDGEMENT, Priority.NEWS, Priority.JUDGEMENT)):
        queue.put(b"%d" % index, priority)
    assert drain(queue) == [b"0", b"1", b"2", b"3"]
    assert queue.counts() == SinkCounts(delivered=4)
    assert queue.is_empty
    assert queue.dropped_text() == ""


def test_the_oldest_of_the_least_important_is_dropped() -> None:
    queue = OutageQueue(3)
    for name, priority in ((b"a1", 2), (b"j1", 0), (b"n1", 1), (b"j2", 0), (b"a2", 2), (b"a3", 2), (b"a4", 2)):
        queue.put(name, Priority(priority))
    assert drain(queue) == [b"a2", b"a3", b"a4"]
    assert queue.counts().dropped == 4
    assert queue.dropped_text() == "judgements, 1 notice and 1 alarm lost"


def test_what_is_not_acknowledged_comes_back_to_its_place() -> None:
    queue = OutageQueue(10)
    for index in range(4):
        queue.put(b"%d" % index, Priority(index % 3))
    first, second, _ = queue.take(), queue.take(), queue.take()
    assert first is not None
    assert second is not None
    queue.acknowledge(second)
    queue.return_unacknowledged()
    assert drain(queue) == [b"0", b"2", b"3"]


def test_what_is_on_its_way_is_not_dropped_and_a_refused_message_is_counted() -> None:
    queue = OutageQueue(2)
    queue.put(b"j1", Priority.JUDGEMENT)
    on_its_way = queue.take()
    assert on_its_way is not None
    queue.put(b"a1", Priority.ALARM)
    queue.put(b"a2", Priority.ALARM)
    assert queue.counts() == SinkCounts(delivered=0, waiting=2, dropped=1)
    queue.reject(on_its_way)
    assert queue.counts() == SinkCounts(delivered=0, waiting=1, dropped=2)


@given(st.lists(st.sampled_from(["put0", "put1", "put2", "take", "acknowledge", "return"]), max_size=60))
def test_nothing_is_ever_lost_without_being_counted(steps: list[str]) -> None:
    queue, put, taken = OutageQueue(5), 0, []
    for step in steps:
        if step.startswith("put"):
            put += 1
            queue.put(b"%d" % put, Priority(int(step[-1])))
        elif step == "take":
            message = queue.take()
            if message is not None:
                taken.append(message)
        elif step == "acknowledge" and taken:
            queue.acknowledge(taken.pop(0))
        elif step == "return":
            queue.return_unacknowledged()
            taken.clear()
        counts = queue.counts()
        assert counts.delivered + counts.waiting + counts.dropped == put
        assert counts.waiting <= 5
    queue.return_unacknowledged()
    numbers = [int(payload) for payload in drain(queue)]
    assert numbers == sorted(numbers)
