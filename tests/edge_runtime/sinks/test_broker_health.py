from __future__ import annotations

import pytest

from edge_runtime.sinks.broker_health import BrokerHealth
from edge_runtime.sinks.mqtt_connection import CONNECTION_LOST

COMMAND, OWN = "line1/threshold/set", "line1/availability"


class Broker:
    """A clock beside the health of a broker."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        self.health = BrokerHealth("mqtt", "line1", steady_seconds=45.0, echo_seconds=15.0)
        self.told: list[tuple[str, str]] = []

    def tell(self) -> tuple[str, str]:
        """State and message; a change of either is an event to all sinks."""
        health = self.health.tell("", "")
        if not self.told or self.told[-1] != (health.state, health.message):
            self.told.append((health.state, health.message))
        return self.told[-1]

    def welcome(self) -> None:
        self.health.connection_begins()
        self.health.connection_is_welcomed(self.now_seconds)

    def last(self, seconds: float, *refused_topics: str) -> None:
        self.now_seconds += seconds
        self.health.connection_lasts(self.now_seconds, refused_topics)
        self.tell()

    def end(self, reason: str = CONNECTION_LOST) -> None:
        self.health.connection_ended(reason, refused=False)
        self.tell()


@pytest.fixture
def broker() -> Broker:
    return Broker()


def test_a_connection_that_is_welcomed_and_lost_at_once_counts_as_failed_and_is_said_once(broker: Broker) -> None:
    for _ in range(20):
        broker.welcome()
        broker.health.own_message_came_back()
        broker.last(1)
        broker.end()
        assert not broker.health.has_lasted  # so the waits grow
    assert len(broker.told) < 7
    state, message = broker.told[-1]
    assert state == "degraded"
    assert message.startswith("the connection is lost again and again; has another watch the same prefix")


def test_a_connection_that_lasts_makes_up_for_those_that_did_not(broker: Broker) -> None:
    for _ in range(5):
        broker.welcome()
        broker.end()
    broker.welcome()
    broker.health.own_message_came_back()
    broker.last(44)
    assert broker.tell()[0] == "degraded"
    broker.last(2)
    assert broker.tell() == ("ok", "")
    assert broker.health.has_lasted
    broker.end()
    assert broker.tell() == ("degraded", "the connection was lost; events wait")
    broker.welcome()
    assert broker.tell() == ("ok", "")


def test_a_broker_that_falls_silent_again_and_again_is_no_other_watch(broker: Broker) -> None:
    for _ in range(3):
        broker.welcome()
        broker.last(20)
        broker.end("the broker has stopped answering")
    assert broker.tell() == ("degraded", "the broker has stopped answering, again and again; events wait")
    broker.health.connection_begins()
    broker.end("connection refused")
    assert broker.tell() == ("degraded", "connection refused; events wait")


@pytest.mark.parametrize("is_echoed", [True, False])
def test_a_broker_that_does_not_give_back_what_it_takes_is_named(broker: Broker, is_echoed: bool) -> None:
    broker.welcome()
    broker.last(14)
    assert broker.tell()[0] == "ok"
    if is_echoed:
        broker.health.own_message_came_back()
    broker.last(2)
    assert broker.tell()[0] == ("ok" if is_echoed else "degraded")
    assert ("write and read line1/#" in broker.tell()[1]) is not is_echoed


def test_refused_subscriptions_are_named_and_tell_nothing_of_the_echo(broker: Broker) -> None:
    broker.welcome()
    broker.last(1, COMMAND, OWN)
    before = broker.tell()
    assert before[0] == "degraded"
    assert before[1].startswith("the broker does not send line1/threshold/set, line1/availability: its access rules")
    broker.last(20, COMMAND, OWN)
    assert broker.tell() == before
    broker.end()
    broker.welcome()
    broker.last(1)
    assert broker.tell() == ("ok", "")
