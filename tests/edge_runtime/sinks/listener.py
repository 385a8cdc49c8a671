"""A subscriber with a session that the broker keeps, which remembers everything it hears."""

from __future__ import annotations

import itertools
import json
import threading
from typing import Any

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage

from tests.edge_runtime.sinks.waiting import wait_until

_NUMBERS = itertools.count()  # of one name, the second listener would get what the first has not acknowledged yet


class Listener:
    def __init__(self, port: int, topics: str = "#", user: str | None = None, password: str | None = None) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._subscribed = threading.Event()
        self._topics = topics
        self._client = Client(CallbackAPIVersion.VERSION2, f"listener {next(_NUMBERS)}", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topics, 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._heard
        if user is not None:
            self._client.username_pw_set(user, password)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def _heard(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        self.messages.append((message.topic, bytes(message.payload), message.retain))

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(10)

    def payloads(self, topic: str) -> list[Any]:
        return [json.loads(payload) for heard, payload, _ in list(self.messages) if heard == topic]

    def texts(self, topic: str) -> list[str]:
        return [payload.decode() for heard, payload, _ in list(self.messages) if heard == topic]

    def wait_for(self, topic: str, count: int, timeout_seconds: float = 20) -> list[Any]:
        wait_until(lambda: len(self.texts(topic)) >= count, f"{count} messages on {topic}", timeout_seconds)
        return self.payloads(topic)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
