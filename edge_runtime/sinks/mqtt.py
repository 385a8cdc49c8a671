"""Publishes the events of a watch by MQTT, and takes commands.

Topics below the prefix, all with QoS 1:

    availability      retained, "online" or "offline" (also the last will)
    state             retained, JSON: alarm, score, threshold ...; once a second at most, an alarm at once
    alarm             retained, JSON: the latest alarm event
    health            retained, JSON: the state of each part of the watch
    event/KIND        not retained: every event, in order, each at least once
    threshold/set     command: a raw score
    alarm/clear       command: any payload
"""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass
from time import monotonic, sleep

from edge_runtime.back_off import BackOff
from edge_runtime.errors import SinkError, TfganomalyError
from edge_runtime.extras import needs_extra
from edge_runtime.json_bytes import json_bytes
from edge_runtime.sinks.broker_health import BrokerHealth
from edge_runtime.sinks.home_assistant import OFFLINE, ONLINE, discovery_messages
from edge_runtime.sinks.mqtt_connection import BrokerAddress, MqttConnection
from edge_runtime.sinks.outage_queue import OutageQueue, QueuedMessage, priority_of
from edge_runtime.sinks.retained_topics import RetainedTopics
from edge_runtime.sinks.sink import Controls, Evidence, SinkCounts
from edge_runtime.sinks.wanted_judgements import is_wanted
from edge_runtime.watching.events import ComponentHealth, Event

LOGGER = logging.getLogger("tfganomaly.watch")
_MAX_ON_THEIR_WAY = 50


@dataclass(frozen=True)
class MqttTimes:
    """How long an MQTT sink waits for what, in seconds.

    Attributes:
        welcome_seconds: For the broker's answer to a connection.
        acknowledge_seconds: For the acknowledgement of a message, before the connection is taken for dead; and for the
            echo of the own availability, before health says that the broker passes nothing on.
        first_retry_seconds: Before the first new attempt; doubled with each failure.
        longest_retry_seconds: Between two attempts at most.
        goodbye_seconds: For the acknowledgement of the last message at the end.
        refused_retry_seconds: Between two attempts with credentials or a certificate that were refused.
        steady_seconds: How long a connection has to last before former failures no longer count. Longer than
            `longest_retry_seconds`: so long does a connection last that another watch with the same name ends.
    """

    welcome_seconds: float = 10.0
    acknowledge_seconds: float = 15.0
    first_retry_seconds: float = 1.0
    longest_retry_seconds: float = 30.0
    goodbye_seconds: float = 1.0
    refused_retry_seconds: float = 60.0
    steady_seconds: float = 45.0


class MqttSink:
    """Sends events to a broker and keeps them while it is away.

    An event leaves the queue when the broker has acknowledged it. After an outage all that is not acknowledged is sent
    again in order, so that an event may arrive twice and none is lost while the queue has room.

    Args:
        address: The broker.
        topic_prefix: What all topics begin with.
        queue_capacity: How many events are kept.
        judgements: Which judgements become `event/judgement`: "all", "anomalous" or "none".
        discovery_prefix: Home Assistant's topic for new devices, or None for no discovery.
        device_name: The device's name in Home Assistant.
        controls: What takes the commands; None when there is nobody.
        times: Time limits.

    Raises:
        MissingExtraError: paho-mqtt is not installed.
    """

    def __init__(
        self,
        address: BrokerAddress,
        topic_prefix: str,
        *,
        queue_capacity: int,
        judgements: str,
        discovery_prefix: str | None,
        device_name: str,
        controls: Controls | None,
        times: MqttTimes | None = None,
    ) -> None:
        with needs_extra("mqtt", "paho-mqtt"):
            import paho.mqtt.client  # noqa: F401 - the check is the import
        self.name = f"mqtt {address.host}:{address.port}/{topic_prefix}"
        self._address = address
        self._prefix = topic_prefix
        self._judgements = judgements
        self._controls = controls
        self._times = times or MqttTimes()
        self._back_off = BackOff(self._times.first_retry_seconds, self._times.longest_retry_seconds)
        self._constant_topics = {f"{topic_prefix}/availability": ONLINE.encode()}
        if discovery_prefix is not None:
            self._constant_topics |= discovery_messages(discovery_prefix, topic_prefix, device_name)
        self._queue = OutageQueue(queue_capacity)
        self._max_on_their_way = min(_MAX_ON_THEIR_WAY, max(1, queue_capacity // 2))
        self._retained = RetainedTopics()
        self._on_their_way: dict[int, QueuedMessage | None] = {}
        self._silent_since = 0.0
        self._changed = threading.Condition()
        self._has_news = False
        self._say_online = False
        self._closing = False
        self._close_timeout_seconds = self._close_deadline = 0.0
        self._rejected_command = ""
        self._broker = BrokerHealth(
            self.name,
            topic_prefix,
            steady_seconds=self._times.steady_seconds,
            echo_seconds=self._times.acknowledge_seconds,
        )
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def deliver(self, event: Event, evidence: Evidence | None) -> None:
        """Queue one event; see `Sink.deliver`."""
        if is_wanted(event, self._judgements):
            topic = f"{self._prefix}/event/{event.kind}"
            self._queue.put(json_bytes(event.to_dict()), priority_of(event), topic)
        with self._changed:
            self._retained.update(event, monotonic())
            self._has_news = True
            self._changed.notify_all()

    def health(self) -> ComponentHealth:
        """How the broker does; see `BrokerHealth.tell`."""
        return self._broker.tell(self._queue.dropped_text(), self._rejected_command)

    def counts(self) -> SinkCounts:
        """How many events were acknowledged, wait and were dropped."""
        return self._queue.counts()

    def close(self, timeout_seconds: float) -> None:
        """Deliver what waits, say "offline" and disconnect."""
        with self._changed:
            self._close_timeout_seconds = timeout_seconds
            self._close_deadline = monotonic() + timeout_seconds
            self._closing = self._has_news = True
            self._changed.notify_all()
        while self._thread.is_alive() and self._seconds_left() > -self._times.goodbye_seconds:
            self._thread.join(0.1)

    def _run(self) -> None:
        """Connect, send, wait, again; the sink's thread."""
        broker = self._broker
        while not self._closing or (not self._queue.is_empty and self._seconds_left() > 0):
            will = (f"{self._prefix}/availability", OFFLINE.encode())
            connection = MqttConnection(self._address, will, self._wake, self._message_arrived)
            welcome_seconds = min(self._times.welcome_seconds, max(0.1, self._seconds_left()))
            broker.connection_begins()
            try:
                if connection.open(welcome_seconds):
                    broker.connection_is_welcomed(monotonic())
                    self._send_until_it_ends(connection)
                else:
                    connection.abandon()
            except Exception as error:  # a sink that ends here would be silent for months
                LOGGER.exception("%s failed", self.name)
                connection.abandon(f"{type(error).__name__}: {error}")
            self._queue.return_unacknowledged()
            self._on_their_way.clear()
            if self._closing and (self._queue.is_empty or connection.refused):
                return
            broker.connection_ended(connection.end_reason, refused=connection.refused)
            self._wait_before_retry()

    def _send_until_it_ends(self, connection: MqttConnection) -> None:
        commands = [f"{self._prefix}/threshold/set", f"{self._prefix}/alarm/clear"] if self._controls else []
        for topic, payload in self._constant_topics.items():
            self._publish(connection, topic, payload)
        # Its own availability too: the will of a former connection may arrive after this one began.
        connection.subscribe([*commands, f"{self._prefix}/availability"])
        with self._changed:
            self._retained.publish_everything_again()
        while connection.is_ready:
            self._take_acknowledgements(connection)
            if self._on_their_way and monotonic() - self._silent_since > self._times.acknowledge_seconds:
                connection.abandon("the broker has stopped answering")
                return
            self._broker.connection_lasts(monotonic(), connection.refused_topics)
            self._send_what_is_due(connection)
            is_done = not self._on_their_way and self._queue.is_empty
            if self._closing and (is_done or self._seconds_left() <= 0):
                self._say_goodbye(connection)
                return
            self._wait_for_news()
        connection.abandon()

    def _say_goodbye(self, connection: MqttConnection) -> None:
        topic = f"{self._prefix}/availability"
        # An echo that nobody reads any more would reset the connection, and the broker would publish the will.
        connection.unsubscribe(topic)
        farewell = connection.publish(topic, OFFLINE.encode(), retain=True)
        deadline = monotonic() + self._times.goodbye_seconds
        while connection.is_ready and monotonic() < deadline and farewell not in connection.take_acknowledged():
            sleep(0.01)
        connection.close()

    def _send_what_is_due(self, connection: MqttConnection) -> None:
        with self._changed:
            self._has_news = False
            due = self._retained.take_due(monotonic())
            say_online, self._say_online = self._say_online and not self._closing, False
        if say_online:
            self._publish(connection, f"{self._prefix}/availability", ONLINE.encode())
        for topic, payload in due.items():
            self._publish(connection, f"{self._prefix}/{topic}", payload)
        while self._queue.num_on_their_way < self._max_on_their_way and (message := self._queue.take()) is not None:
            self._publish(connection, message.topic, message.payload, message)

    def _publish(
        self, connection: MqttConnection, topic: str, payload: bytes, message: QueuedMessage | None = None
    ) -> None:
        """Send; with a `message` of the queue it is an event, without one a retained topic."""
        if not self._on_their_way:
            self._silent_since = monotonic()
        self._on_their_way[connection.publish(topic, payload, retain=message is None)] = message

    def _take_acknowledgements(self, connection: MqttConnection) -> None:
        for number in connection.take_acknowledged():
            self._silent_since = monotonic()
            self._close_deadline = self._silent_since + self._close_timeout_seconds
            message = self._on_their_way.pop(number, None)
            if message is not None:
                self._queue.acknowledge(message)

    def _wait_for_news(self) -> None:
        with self._changed:
            until_due = self._retained.seconds_until_due(monotonic())
            # Two seconds: how often a silent broker and the end of the time to close are looked for.
            self._changed.wait_for(
                lambda: self._has_news or self._closing, timeout=2.0 if until_due is None else min(until_due, 2.0)
            )

    def _wait_before_retry(self) -> None:
        if self._broker.has_lasted:
            self._back_off.reset()
        wait_seconds = self._back_off.next_seconds()
        if self._broker.is_refused:
            wait_seconds = self._times.refused_retry_seconds
        with self._changed:
            self._changed.wait_for(lambda: self._closing, timeout=wait_seconds)
            if self._closing:  # a last attempt or two may still find the broker back
                self._changed.wait_for(lambda: False, timeout=min(0.2, max(0.0, self._seconds_left())))

    def _wake(self) -> None:
        with self._changed:
            self._has_news = True
            self._changed.notify_all()

    def _seconds_left(self) -> float:
        return self._close_deadline - monotonic() if self._closing else math.inf

    def _message_arrived(self, topic: str, payload: bytes, retained: bool) -> None:
        """Take a command or the echo of the own availability, in the connection's thread."""
        if topic == f"{self._prefix}/availability":
            if payload == ONLINE.encode():
                self._broker.own_message_came_back()
            else:
                self._say_online = True
                self._wake()
            return
        if retained:  # an old command that the broker kept would be obeyed at each new connection
            return
        try:
            self._obey(topic, payload)
            self._rejected_command = ""
        except TfganomalyError as error:
            self._rejected_command = f"a command was refused: {error}"

    def _obey(self, topic: str, payload: bytes) -> None:
        assert self._controls is not None
        if topic == f"{self._prefix}/alarm/clear":
            self._controls.clear_alarm("mqtt")
            return
        text = payload[:100].decode("utf-8", errors="replace").strip()
        try:
            threshold = float(text)
        except ValueError:
            raise SinkError(f"'{text}' came as threshold; a number was expected.") from None
        self._controls.set_threshold(threshold, "mqtt")
