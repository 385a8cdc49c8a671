"""One connection to an MQTT broker, from CONNECT to its end, behind calls that never raise.

Each connection is a client of its own with a clean session: what was not acknowledged is known to the outage queue and
to nobody else, so nothing is sent twice out of order by a library that remembers.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

KEEP_ALIVE_SECONDS = 15
CONNECTION_LOST = "the connection was lost"
_CONNECT_TIMEOUT_SECONDS = 5.0
_GOODBYE_TIMEOUT_SECONDS = 1.0

# MQTT 3.1.1, table 3.1: what a broker answers to CONNECT.
_REFUSALS = {
    "Unsupported protocol version": "the broker does not speak MQTT 3.1.1",
    "Client identifier not valid": "the broker refuses the client's name",
    "Bad user name or password": "wrong user name or password",
    "Not authorized": "not authorised; user name and password are missing or wrong, or may not connect",
}


@dataclass(frozen=True)
class BrokerAddress:
    """Where a broker is and how it is talked to.

    Attributes:
        host: Name or IP address.
        port: TCP port.
        user: User name, or None.
        password: Password, or None.
        tls: What checks the broker's certificate, or None for no encryption.
        client_id: The client's name. Always the same for a watch, so that a new connection ends a dead former one.
    """

    host: str
    port: int
    user: str | None
    password: str | None
    tls: ssl.SSLContext | None
    client_id: str


class MqttConnection:
    """One connection. Callbacks of the library only put down what happened; the owner's thread acts on it.

    Args:
        address: The broker.
        will: (topic, payload) that the broker publishes, retained, when the connection dies.
        wake: Called, in any thread, when something has happened.
        on_message: Called, in the connection's thread, with topic, payload and whether the broker had kept it, of
            each message that arrives.

    Attributes:
        is_ready: Whether the broker has welcomed it and it has not ended.
        end_reason: Why it has ended or was not to be had.
        refused: Whether the broker, or its certificate, was what refused.
        refused_topics: What was asked for with `subscribe` and the broker does not send.
    """

    def __init__(
        self,
        address: BrokerAddress,
        will: tuple[str, bytes],
        wake: Callable[[], None],
        on_message: Callable[[str, bytes, bool], None],
    ) -> None:
        from paho.mqtt.client import CallbackAPIVersion, Client

        self._address = address
        self._wake = wake
        self._acknowledged: deque[int] = deque()
        self._state_changed = threading.Event()
        self._on_message = on_message
        self.is_ready = False
        self.end_reason = ""
        self.refused = False
        self.refused_topics: tuple[str, ...] = ()
        self._wanted_topics: list[str] = []
        client = Client(CallbackAPIVersion.VERSION2, address.client_id, reconnect_on_failure=False)
        client.max_inflight_messages_set(0)  # the owner bounds what is on its way
        client.connect_timeout = _CONNECT_TIMEOUT_SECONDS
        client.suppress_exceptions = True
        client.will_set(*will, qos=1, retain=True)
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.tls is not None:
            client.tls_set_context(address.tls)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        self._client: Client = client

    def open(self, timeout_seconds: float) -> bool:
        """Connect and wait for the broker's welcome. False: `end_reason` says why not."""
        address = self._address
        try:
            self._client.connect(address.host, address.port, keepalive=KEEP_ALIVE_SECONDS)
        except (OSError, ValueError) as error:  # ssl.SSLError, gaierror and timeouts are OSErrors
            self.end_reason = _connect_error(error)
            self.refused = isinstance(error, ssl.SSLError)
            return False
        self._client.loop_start()
        if not self._state_changed.wait(timeout_seconds):
            self.end_reason = "the broker accepts the connection but does not answer"
        return self.is_ready

    def subscribe(self, topics: list[str]) -> None:
        """Ask for the messages of topics, once; `refused_topics` says later which of them the broker does not send."""
        self._wanted_topics = topics
        self._client.subscribe([(topic, 1) for topic in topics])

    def unsubscribe(self, topic: str) -> None:
        """Ask for no more messages of a topic."""
        self._client.unsubscribe(topic)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> int:
        """Send a message with QoS 1 and return the number by which `take_acknowledged` names it."""
        return self._client.publish(topic, payload, qos=1, retain=retain).mid

    def take_acknowledged(self) -> list[int]:
        """Return the numbers of the messages that the broker has acknowledged since the last call."""
        numbers = []
        while self._acknowledged:
            numbers.append(self._acknowledged.popleft())
        return numbers

    def close(self) -> None:
        """Say goodbye, so that the broker does not publish the will, and end the connection's thread."""
        self._state_changed.clear()
        self._client.disconnect()
        self._state_changed.wait(_GOODBYE_TIMEOUT_SECONDS)
        self.abandon()

    def abandon(self, reason: str = "") -> None:
        """Drop the connection without a goodbye, as when the other side is deaf."""
        self.is_ready = False
        self.end_reason = self.end_reason or reason
        connection = self._client.socket()
        if isinstance(connection, socket.socket):
            with suppress(OSError):  # already ended
                connection.shutdown(socket.SHUT_RDWR)
        self._client.loop_stop()

    def _connected(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self.refused = True
            self.end_reason = f"the broker refuses: {_REFUSALS.get(str(reason), str(reason))}"
        else:
            self.is_ready = True
        self._state_changed.set()
        self._wake()

    def _disconnected(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.is_ready = False
        self.end_reason = self.end_reason or CONNECTION_LOST
        self._state_changed.set()
        self._wake()

    def _published(self, client: Client, userdata: Any, number: int, reason: Any, properties: Any) -> None:
        # Called with the library's lock held: whoever waited here for a lock of the owner could block both.
        self._acknowledged.append(number)
        self._wake()

    def _subscribed(self, client: Client, userdata: Any, number: int, reasons: list[Any], properties: Any) -> None:
        self.refused_topics = tuple(
            topic for topic, reason in zip(self._wanted_topics, reasons, strict=False) if reason.is_failure
        )
        self._wake()

    def _received(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        self._on_message(message.topic, bytes(message.payload), message.retain)


def _connect_error(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted: {error.verify_message}. Check the host name and the CA file"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return "no answer from this address"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)
