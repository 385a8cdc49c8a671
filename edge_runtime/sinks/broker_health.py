"""Tells how an MQTT broker does, from what the connections to it have met."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.sinks.mqtt_connection import CONNECTION_LOST
from edge_runtime.watching.events import ComponentHealth, HealthState

_SHORT_LIVED_IN_A_ROW = 3


class BrokerHealth:
    """What was met while connecting and connected; told by the sink's threads, asked for by any.

    A welcome alone is no success: of two watches with one client id each new connection ends the other's, and each is
    welcomed. A connection counts as failed until it has lasted for a while; after a few in a row that did not, health
    says so and stays the same until one does, however often they come and go.

    Args:
        name: The sink's name.
        topic_prefix: What all its topics begin with.
        steady_seconds: How long a connection has to last.
        echo_seconds: How long the broker may take to give back what was published to a topic of the sink's own.

    Attributes:
        has_lasted: Whether the latest connection has lasted for a while.
        is_refused: Whether the broker has refused the latest connection.
    """

    def __init__(self, name: str, topic_prefix: str, *, steady_seconds: float, echo_seconds: float) -> None:
        self._name = name
        self._topics = f"{topic_prefix}/#"
        self._own_topic = f"{topic_prefix}/availability"
        self._steady_seconds = steady_seconds
        self._echo_seconds = echo_seconds
        self.has_lasted = False
        self.is_refused = False
        self._problem = "not connected yet"
        self._short_lived, self._instability = 0, ""
        self._welcomed_seconds: float | None = None  # None: not connected
        self._is_echoed, self._is_unheard = False, False
        self._refused_topics: Sequence[str] = ()

    def connection_begins(self) -> None:
        """A connection is tried."""
        self.has_lasted = False

    def connection_is_welcomed(self, now_seconds: float) -> None:
        """The broker has accepted it."""
        self._welcomed_seconds = now_seconds
        self._is_echoed, self._is_unheard = False, False
        self._refused_topics = ()
        self._problem, self.is_refused = self._instability, False

    def connection_lasts(self, now_seconds: float, refused_topics: Sequence[str]) -> None:
        """It goes on; told every few seconds.

        Args:
            now_seconds: Monotonic time.
            refused_topics: What the broker does not let the sink subscribe to.
        """
        assert self._welcomed_seconds is not None
        lasted_seconds = now_seconds - self._welcomed_seconds
        self._refused_topics = refused_topics
        self._is_unheard = (
            not self._is_echoed and self._own_topic not in refused_topics and lasted_seconds > self._echo_seconds
        )
        if lasted_seconds > self._steady_seconds:
            self.has_lasted, self._short_lived = True, 0
            self._problem = self._instability = ""

    def own_message_came_back(self) -> None:
        """The broker has passed on what this connection published."""
        self._is_echoed = True

    def connection_ended(self, reason: str, *, refused: bool) -> None:
        """It is over, or was not to be had."""
        self._problem, self.is_refused = reason, refused
        if self._welcomed_seconds is not None and not self.has_lasted:
            self._short_lived += 1
            if self._short_lived >= _SHORT_LIVED_IN_A_ROW:
                self._problem = self._instability = self._again_and_again(reason)
        self._welcomed_seconds = None

    def tell(self, lost: str, rejected_command: str) -> ComponentHealth:
        """Return degraded while the broker is away, does not stay or does not do its part, failed when it refuses.

        Args:
            lost: Which events were lost, or "".
            rejected_command: Which command was not obeyed, or "".
        """
        if self._problem:
            # Without the number of lost events, which would be news every second of a long outage.
            message = f"{self._problem}; " + ("the oldest judgements are being dropped" if lost else "events wait")
            return ComponentHealth(self._name, "failed" if self.is_refused else "degraded", message)
        withheld = self._withheld()
        state: HealthState = "degraded" if withheld else "ok"
        return ComponentHealth(self._name, state, "; ".join(filter(None, [withheld, lost, rejected_command])))

    def _withheld(self) -> str:
        if self._refused_topics:
            return (
                f"the broker does not send {', '.join(self._refused_topics)}: its access rules must let this user read "
                f"{self._topics}, or no command arrives"
            )
        if self._is_unheard:
            # A broker acknowledges what its access rules refuse, too: MQTT 3.1.1 knows no other answer.
            return (
                "the broker takes messages but does not give back the watch's own: its access rules must let this user "
                f"write and read {self._topics}, or nobody may hear of an alarm"
            )
        return ""

    def _again_and_again(self, reason: str) -> str:
        if reason != CONNECTION_LOST:
            return f"{reason}, again and again"
        return (
            "the connection is lost again and again; has another watch the same prefix, or do the broker's access "
            f"rules forbid {self._topics}?"
        )
