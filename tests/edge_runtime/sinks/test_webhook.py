"""The webhook sink against a real HTTP server that fails and recovers."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep, time

import pytest

from edge_runtime.sinks.outage_queue import QueuedMessage
from edge_runtime.sinks.webhook import WebhookSink, WebhookTimes, _retry_after_seconds
from tests.edge_runtime.sinks.broker import free_port
from tests.edge_runtime.sinks.event_samples import alarm_change, judgement
from tests.edge_runtime.sinks.waiting import wait_until

QUICK = WebhookTimes(0.5, 0.02, 0.1)


class Server:
    """Answers with the next of `answers`, then with 204."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[tuple[int, dict[str, str], dict[str, object]]] = []
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        self.delay_seconds = 0.0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = server.answers.pop(0) if server.answers else 204
                server.requests.append((status, dict(self.headers), body))
                sleep(server.delay_seconds)
                self.send_response(status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def taken(self) -> list[int]:
        return [body["number"] for status, _, body in self.requests if status == 204]  # type: ignore[misc]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def make_sink() -> Iterator[Callable[..., WebhookSink]]:
    sinks = []

    def make(port: int, judgements: str = "none", token: str | None = None, capacity: int = 100) -> WebhookSink:
        url = f"http://127.0.0.1:{port}/hook?key=k3y"
        sink = WebhookSink(url, token=token, tls=None, queue_capacity=capacity, judgements=judgements, times=QUICK)
        sink.start()
        sinks.append(sink)
        return sink

    yield make
    for sink in sinks:
        sink.close(0.5)


def test_events_are_posted_in_order_with_token_and_key(server: Server, make_sink: Callable[..., WebhookSink]) -> None:
    sink = make_sink(server.port, token="t0ken")
    for number in range(1, 6):
        sink.deliver(alarm_change(number), None)
        sink.deliver(judgement(number, 0.9), None)
    wait_until(lambda: sink.counts().delivered == 5, "delivered")
    assert server.taken() == [1, 2, 3, 4, 5]
    headers = [headers for _, headers, _ in server.requests]
    assert {header["Authorization"] for header in headers} == {"Bearer t0ken"}
    assert {header["Content-Type"] for header in headers} == {"application/json"}
    assert len({header["Idempotency-Key"] for header in headers}) == 5
    assert server.requests[0][2] == alarm_change(1).to_dict()
    assert sink.health().state == "ok"


def test_a_webhook_is_known_by_its_host_and_two_of_a_host_by_different_names() -> None:
    def name(url: str) -> str:
        sink = WebhookSink(url, token=None, tls=None, queue_capacity=10, judgements="none")
        assert sink.health().component == sink.name
        return sink.name

    base = "https://hooks.slack.com:8443"
    names = [name(f"{base}/services/T0/B0/{key}?key={other}") for key, other in (("s3cret", "a"), ("0ther", "k3y"))]
    assert all(re.fullmatch(re.escape(f"webhook {base} #") + "[0-9a-f]{4}", shown) for shown in names)
    assert names[0] != names[1]
    assert names[0] == name(f"{base}/services/T0/B0/s3cret?key=a")


def test_a_failing_server_gets_the_same_event_again_until_it_takes_it(
    server: Server, make_sink: Callable[..., WebhookSink]
) -> None:
    server.answers = [500, 503, 408, 429, 425]
    sink = make_sink(server.port)
    sink.deliver(alarm_change(1), None)
    sink.deliver(alarm_change(2), None)
    wait_until(lambda: sink.counts().delivered == 2, "delivered")
    assert [status for status, _, _ in server.requests] == [500, 503, 408, 429, 425, 204, 204]
    assert len({headers["Idempotency-Key"] for _, headers, _ in server.requests[:6]}) == 1
    assert server.taken() == [1, 2]


@pytest.mark.parametrize("status", [400, 401, 404, 301, 307])
def test_an_event_that_is_refused_for_good_is_given_up(
    server: Server, make_sink: Callable[..., WebhookSink], status: int
) -> None:
    server.answers = [status]
    server.headers = {"Location": "/elsewhere"}
    sink = make_sink(server.port)
    sink.deliver(alarm_change(1), None)
    wait_until(lambda: sink.counts().dropped == 1, "given up")
    assert sink.health().state == "failed"
    assert f"status {status}" in sink.health().message
    sink.deliver(alarm_change(2), None)
    wait_until(lambda: sink.counts().delivered == 1, "the next is delivered")
    assert len(server.requests) == 2
    assert sink.health().state == "ok"
    assert sink.health().message == "1 alarm lost"


def test_events_wait_while_the_server_is_away_and_alarms_are_kept_longest(
    make_sink: Callable[..., WebhookSink],
) -> None:
    port = free_port()
    sink = make_sink(port, judgements="all", capacity=10)
    start = monotonic()
    for number in range(1, 21):
        sink.deliver(judgement(number), None)
    for number in range(1, 9):
        sink.deliver(alarm_change(number), None)
    assert monotonic() - start < 1
    wait_until(lambda: sink.health().state == "degraded", "the outage in the health")
    assert "connection refused" in sink.health().message
    server = Server(port)
    try:
        wait_until(lambda: sink.counts().delivered == 10, "delivered after the outage")
        assert [body["number"] for _, _, body in server.requests if body["event"] == "alarm"] == list(range(1, 9))
        assert sink.counts().dropped == 18
    finally:
        server.close()


def test_a_server_that_does_not_answer_in_time_is_tried_again(
    server: Server, make_sink: Callable[..., WebhookSink]
) -> None:
    server.delay_seconds = 1.0
    sink = make_sink(server.port)
    sink.deliver(alarm_change(1), None)
    wait_until(lambda: "too long" in sink.health().message, "the timeout in the health")
    server.delay_seconds = 0.0
    wait_until(lambda: sink.counts().delivered == 1, "delivered")


def test_closing_delivers_what_waits_and_does_not_wait_for_ever(
    server: Server, make_sink: Callable[..., WebhookSink]
) -> None:
    sink = make_sink(server.port)
    for number in range(1, 11):
        sink.deliver(alarm_change(number), None)
    sink.close(5)
    assert server.taken() == list(range(1, 11))
    deaf = make_sink(free_port())
    deaf.deliver(alarm_change(1), None)
    start = monotonic()
    deaf.close(0.3)
    assert monotonic() - start < 3
    assert deaf.counts().waiting == 1


def test_retry_after_is_read_as_seconds_or_date_and_bounded() -> None:
    assert _retry_after_seconds(None) == 0
    assert _retry_after_seconds("7") == 7
    assert _retry_after_seconds("999999") == 300
    assert 50 < _retry_after_seconds(formatdate(time() + 60, usegmt=True)) <= 60
    assert _retry_after_seconds("soon") == 0
    assert _retry_after_seconds("\N{SUPERSCRIPT TWO}") == 0
    assert _retry_after_seconds("Thu, 01 Jan 1970 00:00:00 GMT") == 0


def test_an_error_that_nobody_thought_of_costs_one_event(
    server: Server, make_sink: Callable[..., WebhookSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = make_sink(server.port)
    post, errors = sink._post, [ZeroDivisionError("odd")]

    def fail_once(message: QueuedMessage) -> tuple[int, str, float]:
        if errors:
            raise errors.pop()
        return post(message)

    monkeypatch.setattr(sink, "_post", fail_once)
    sink.deliver(alarm_change(1), None)
    wait_until(lambda: sink.health().state == "failed", "the failure")
    assert "ZeroDivisionError: odd" in sink.health().message
    sink.deliver(alarm_change(2), None)
    wait_until(lambda: server.taken() == [2], "the next event")
    wait_until(lambda: sink.health().message == "1 alarm lost", "the health")


def test_closing_waits_for_a_slow_server_as_long_as_it_takes_events(
    server: Server, make_sink: Callable[..., WebhookSink]
) -> None:
    server.delay_seconds = 0.1
    sink = make_sink(server.port)
    for number in range(1, 11):
        sink.deliver(alarm_change(number), None)
    sink.close(0.4)
    assert server.taken() == list(range(1, 11))
