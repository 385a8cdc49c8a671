"""Posts events as JSON to an HTTP address, again and again until they are taken."""

from __future__ import annotations

import email.utils
import hashlib
import http.client
import json
import logging
import ssl
import threading
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from time import monotonic, time
from urllib.parse import urlsplit

from edge_runtime.back_off import BackOff
from edge_runtime.sinks.outage_queue import OutageQueue, QueuedMessage, priority_of
from edge_runtime.sinks.sink import Evidence, SinkCounts
from edge_runtime.sinks.wanted_judgements import is_wanted
from edge_runtime.version import __version__
from edge_runtime.watching.events import ComponentHealth, Event

LOGGER = logging.getLogger("tfganomaly.watch")
_WORTH_A_RETRY = (408, 425, 429)  # of the 4xx: timeout, too early, too many requests
_LONGEST_RETRY_AFTER_SECONDS = 300.0


@dataclass(frozen=True)
class WebhookTimes:
    """How long a webhook waits for what, in seconds.

    Attributes:
        request_seconds: For a connection, and for each part of an answer.
        first_retry_seconds: Before the second attempt; doubled with each failure, less a random part.
        longest_retry_seconds: Between two attempts at most, unless the server asks for more.
    """

    request_seconds: float = 10.0
    first_retry_seconds: float = 1.0
    longest_retry_seconds: float = 60.0


class WebhookSink:
    """Posts one event after the other, in order, each with an `Idempotency-Key` that stays the same in every attempt.

    An event counts as delivered when the server answers with 2xx. No connection, 5xx, 408, 425 and 429 are tried
    again with exponential back-off and jitter, or when `Retry-After` says; every other answer would be the same the
    next time, so that event is given up and counted.

    Args:
        url: http:// or https:// address.
        token: Bearer token, or None.
        tls: What checks the server's certificate; None for http://.
        queue_capacity: How many events are kept during an outage.
        judgements: Which judgements are posted: "all", "anomalous" or "none".
        times: Time limits.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        tls: ssl.SSLContext | None,
        queue_capacity: int,
        judgements: str,
        times: WebhookTimes | None = None,
    ) -> None:
        self.name = _public_name(url)
        self._url = url
        self._token = token
        self._judgements = judgements
        self._times = times or WebhookTimes()
        handlers = [_NoRedirects(), *([urllib.request.HTTPSHandler(context=tls)] if tls is not None else [])]
        self._opener = urllib.request.build_opener(*handlers)
        # With the events' numbers it makes keys that no other process and no later start uses.
        self._key_prefix = uuid.uuid4().hex
        self._queue = OutageQueue(queue_capacity)
        self._changed = threading.Condition()
        self._closing = False
        self._close_timeout_seconds = self._close_deadline = 0.0
        self._problem = self._refusal = ""
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)

    def start(self) -> None:
        """Begin to post what comes."""
        self._thread.start()

    def deliver(self, event: Event, evidence: Evidence | None) -> None:
        """Queue one event; see `Sink.deliver`."""
        if not is_wanted(event, self._judgements):
            return
        self._queue.put(json.dumps(event.to_dict()).encode("ascii"), priority_of(event))
        with self._changed:
            self._changed.notify_all()

    def health(self) -> ComponentHealth:
        """Degraded while the server cannot be reached, failed when it refuses what is posted."""
        lost = self._queue.dropped_text()
        if self._problem:
            state = "the oldest judgements are being dropped" if lost else "events wait"
            return ComponentHealth(self.name, "degraded", f"{self._problem}; {state}")
        if self._refusal:
            return ComponentHealth(self.name, "failed", self._refusal)
        return ComponentHealth(self.name, "ok", lost)

    def counts(self) -> SinkCounts:
        """How many events were taken, wait and were dropped or refused."""
        return self._queue.counts()

    def close(self, timeout_seconds: float) -> None:
        """Post what waits, then end."""
        with self._changed:
            self._close_timeout_seconds = timeout_seconds
            self._close_deadline = monotonic() + timeout_seconds
            self._closing = True
            self._changed.notify_all()
        while self._thread.is_alive() and monotonic() < self._close_deadline:
            self._thread.join(0.1)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or not self._queue.is_empty)
            message = self._queue.take()
            if message is None:
                return
            try:
                if not self._post_until_taken(message):
                    return
            except Exception as error:  # a sink that ends here would be silent for months
                LOGGER.exception("%s failed", self.name)
                self._refusal = f"an event could not be posted: {type(error).__name__}: {error}"
                self._queue.reject(message)

    def _post_until_taken(self, message: QueuedMessage) -> bool:
        """Deliver or give up one event. False when the time to close is over."""
        back_off = BackOff(self._times.first_retry_seconds, self._times.longest_retry_seconds)
        while True:
            status, reason, retry_after_seconds = self._post(message)
            if 200 <= status < 300:
                self._problem = self._refusal = ""
                self._queue.acknowledge(message)
                self._close_deadline = monotonic() + self._close_timeout_seconds
                return True
            if 300 <= status < 500 and status not in _WORTH_A_RETRY:
                self._problem = ""
                self._refusal = f"the server refuses with {reason}; such events are given up"
                self._queue.reject(message)
                return True
            self._problem = reason
            if not self._wait_before_retry(max(back_off.next_seconds(), retry_after_seconds)):
                self._queue.return_unacknowledged()
                return False

    def _post(self, message: QueuedMessage) -> tuple[int, str, float]:
        """Return the server's status (0: none), why it failed, and how long it wants to be left alone in seconds."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"tfganomaly/{__version__}",
            "Idempotency-Key": f"{self._key_prefix}-{message.number}",
        }
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self._url, message.payload, headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._times.request_seconds) as response:
                return response.status, "", 0.0
        except urllib.error.HTTPError as error:
            with error:
                reason = f"status {error.code} {error.reason}"
                return error.code, reason, _retry_after_seconds(error.headers.get("Retry-After"))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, f"no answer: {_reason(error)}", 0.0

    def _wait_before_retry(self, wait_seconds: float) -> bool:
        """Wait; False when the sink is closing and its time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, timeout=wait_seconds)
            if not self._closing:
                return True
            left_seconds = self._close_deadline - monotonic()
            self._changed.wait_for(lambda: False, timeout=min(0.2, max(0.0, left_seconds)))
            return left_seconds > 0


def _public_name(url: str) -> str:
    """Return what health, log and metrics call the webhook.

    Path and query are left out: Slack, Discord and Home Assistant have the key there. Four digits of a hash tell two
    webhooks of a host apart, and are far too few to find a key by.
    """
    parts = urlsplit(url)
    digits = hashlib.sha256(url.encode()).hexdigest()[:4]
    return f"webhook {parts.scheme}://{parts.netloc} #{digits}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Lets a redirect be an error: urllib would follow it with a GET, and the event would be lost."""

    def redirect_request(self, *arguments: object) -> None:
        return None


def _retry_after_seconds(value: str | None) -> float:
    """Return what the header Retry-After asks for: seconds or a date (RFC 9110, 10.2.3)."""
    if not value:
        return 0.0
    if value.isascii() and value.strip().isdigit():
        return min(float(value), _LONGEST_RETRY_AFTER_SECONDS)
    try:
        seconds = email.utils.parsedate_to_datetime(value).timestamp() - time()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER_SECONDS)


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, TimeoutError):
        return "it took too long"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(cause) or type(cause).__name__
