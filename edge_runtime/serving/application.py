"""Answers HTTP requests: verdicts for uploads, health, metrics, the live page. A WSGI application."""

from __future__ import annotations

import base64
import json
import math
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import parse_qs

from edge_runtime.errors import BackendError, ImageError, TfganomalyError
from edge_runtime.serving.access import AccessRule
from edge_runtime.serving.live_view import LiveView, jpeg
from edge_runtime.serving.metrics import CONTENT_TYPE, Metrics
from edge_runtime.serving.response import Response, error_response, json_response, too_large_text
from edge_runtime.serving.upload_judge import UploadJudge
from edge_runtime.serving.uploads import uploaded_image
from edge_runtime.version import __version__
from edge_runtime.watching.session import WatchSession

StartResponse = Callable[[str, list[tuple[str, str]]], object]
_LARGEST_JSON_BODY_BYTES = 10_000
_LONGEST_WAIT_SECONDS = 1.0
_UPLOADS_AT_A_TIME = 2  # one is judged, one is at hand when that is done
_PATIENCE_SECONDS = 0.5  # enough for many small ones at once


class RequestRefused(Exception):
    """A request cannot be answered as it is; carries status, reason, and headers that belong to the status."""

    def __init__(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


@dataclass(frozen=True)
class Request:
    """What the routes need of a WSGI request."""

    method: str
    path: str
    query: dict[str, list[str]]
    content_type: str
    authorization: str
    host: str
    environ: dict[str, Any] = field(repr=False)

    @classmethod
    def from_environ(cls, environ: dict[str, Any]) -> Request:
        """Return the request that a WSGI server hands over."""
        return cls(
            method=environ["REQUEST_METHOD"],
            path=environ.get("PATH_INFO") or "/",
            query=parse_qs(environ.get("QUERY_STRING", "")),
            content_type=environ.get("CONTENT_TYPE", ""),
            authorization=environ.get("HTTP_AUTHORIZATION", ""),
            host=environ.get("HTTP_HOST", ""),
            environ=environ,
        )

    def body(self, largest_bytes: int) -> bytes:
        """Return the body.

        Raises:
            RequestRefused: It is larger.
        """
        body: bytes = self.environ["wsgi.input"].read(largest_bytes + 1)
        if len(body) > largest_bytes:
            raise RequestRefused(413, too_large_text(largest_bytes))
        return body


class Application:
    """The service's routes over one watch.

    Args:
        session: The watch.
        live: What the page shows.
        judge: What judges uploads.
        access: Who may ask.
        max_upload_bytes: Largest upload.
    """

    def __init__(
        self, session: WatchSession, live: LiveView, judge: UploadJudge, access: AccessRule, max_upload_bytes: int
    ) -> None:
        self._session = session
        self._live = live
        self._judge = judge
        self._access = access
        self._max_upload_bytes = max_upload_bytes
        self._start_id = secrets.token_hex(8)  # frame numbers of another process mean other frames
        self._started_seconds = monotonic()
        self._upload_places = threading.BoundedSemaphore(_UPLOADS_AT_A_TIME)
        self._judged_uploads = 0
        self._refused_uploads = 0
        self._metrics = Metrics(session, lambda: (self._judged_uploads, self._refused_uploads))
        self._page = (Path(__file__).parent / "page.html").read_text("utf-8")
        self._routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/"): self._show_page,
            ("GET", "/health"): self._tell_health,
            ("GET", "/metrics"): self._tell_metrics,
            ("GET", "/v1/live"): self._tell_live,
            ("POST", "/v1/inspect"): self._inspect,
            ("PUT", "/v1/threshold"): self._set_threshold,
            ("DELETE", "/v1/alarm"): self._clear_alarm,
        }

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; see PEP 3333."""
        request = Request.from_environ(environ)
        try:
            response = self._respond(request)
        except RequestRefused as error:
            response = error_response(error.status, str(error), *error.headers)
        except ImageError as error:
            self._refused_uploads += 1
            response = error_response(422, str(error))
        except TfganomalyError as error:
            response = error_response(503, str(error))
        start_response(response.status_line, response.all_headers)
        return [b"" if request.method == "HEAD" else response.body]

    def _respond(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        route = self._routes.get((method, request.path))
        if route is None:
            allowed = [known for known, path in self._routes if path == request.path]
            if allowed:
                methods = ", ".join("GET, HEAD" if known == "GET" else known for known in allowed)
                raise RequestRefused(405, f"{request.path} takes {' and '.join(allowed)}.", ("Allow", methods))
            paths = ", ".join(f"{known} {path}" for known, path in self._routes)
            raise RequestRefused(404, f"There is no {request.path}. There are {paths}.")
        # The page itself tells nothing; it asks for the token and sends it along with what it fetches.
        if not (request.path == "/" and self._access.needs_token):
            refusal = self._access.refusal(request.authorization, request.host)
            if refusal is not None:
                raise RequestRefused(*refusal)
        return route(request)

    def _show_page(self, request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        page = self._page.replace("NONCE", nonce).encode("utf-8")
        return Response(200, "text/html; charset=utf-8", page, (("Content-Security-Policy", policy),))

    def _tell_health(self, request: Request) -> Response:
        overall = self._session.board.overall()
        return json_response(503 if overall == "failed" else 200, self._status())

    def _tell_metrics(self, request: Request) -> Response:
        return Response(200, CONTENT_TYPE, self._metrics.text())

    def _tell_live(self, request: Request) -> Response:
        after = request.query.get("after", ["0"])[0]
        if not after.isdecimal() or len(after) > 15:
            raise RequestRefused(400, f"after is '{after}'; a frame number was expected.")
        calibration = self._session.model.current.detector.calibration
        good = {"score_min": calibration.score_min, "score_max": calibration.score_max}
        state = self._live.state(int(after))
        return json_response(200, {**self._status(), "start_id": self._start_id, "good_scores": good, **state})

    def _inspect(self, request: Request) -> Response:
        # They are judged one at a time: more would only wait, in threads that health, metrics and the page need.
        if not self._upload_places.acquire(timeout=_PATIENCE_SECONDS):
            raise RequestRefused(
                503, "Other uploads are being judged. Send this one again in a second.", ("Retry-After", "1")
            )
        try:
            content, name = uploaded_image(request.body(self._max_upload_bytes), request.content_type)
            with_heatmap = request.query.get("heatmap", ["0"])[0] not in ("0", "false", "no")
            judged = self._judge.judge(content, name, with_heatmap=with_heatmap)
        except BackendError as error:  # without a source nobody else would notice that the interpreter is dead
            self._session.loop.renew_model(str(error))
            raise
        finally:
            self._upload_places.release()
        self._judged_uploads += 1
        detection = judged.detection
        verdict: dict[str, Any] = {
            "score": detection.score,
            "normalised_score": detection.normalised_score,
            "threshold": detection.threshold,
            "is_anomaly": detection.is_anomaly,
            "latency_ms": round(detection.timings.total_ms, 3),
            "model_sha256": judged.model_sha256,
        }
        if judged.heatmap is not None:
            verdict["heatmap_jpeg_base64"] = base64.b64encode(jpeg(judged.heatmap, quality=90)).decode("ascii")
        return json_response(200, verdict)

    def _set_threshold(self, request: Request) -> Response:
        try:
            threshold = json.loads(request.body(_LARGEST_JSON_BODY_BYTES))["threshold"]
            if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not math.isfinite(threshold):
                raise ValueError
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise RequestRefused(400, 'A JSON object such as {"threshold": 0.042} was expected.') from None
        previous = self._session.loop.threshold
        self._session.loop.set_threshold(float(threshold), "http")
        return self._answer_when_done("threshold", float(threshold), previous)

    def _clear_alarm(self, request: Request) -> Response:
        was = self._session.loop.alarm
        self._session.loop.clear_alarm("http")
        return self._answer_when_done("alarm", "off", was)

    def _answer_when_done(self, name: str, wanted: float | str, previous: float | str) -> Response:
        """Wait until the loop has done what was asked, between two frames, so that the next request sees it.

        An inference that hangs holds it up: then the answer is 202, with what still is and what is to come.
        """
        deadline_seconds = monotonic() + _LONGEST_WAIT_SECONDS
        while (now := getattr(self._session.loop, name)) != wanted and monotonic() < deadline_seconds:
            sleep(0.01)
        if now == wanted:
            return json_response(200, {name: now, "previous": previous})
        return json_response(202, {name: now, "previous": previous, "pending": wanted})

    def _status(self) -> dict[str, Any]:
        session, loop, done = self._session, self._session.loop, self._session.loop.statistics
        return {
            "status": session.board.overall(),
            "can_judge": session.board.can_judge(),
            "components": [component.to_dict() for component in session.board.components()],
            "alarm": loop.alarm,
            "scene_changed": loop.scene_changed,
            "source": session.source.name,
            "model": session.model.path.name,
            "model_sha256": loop.model_sha256,
            "threshold": loop.threshold,
            "judged": done.judged,
            "anomalous": done.anomalous,
            "alarms": done.alarms,
            "unreadable": done.unreadable,
            "dropped": done.dropped,
            "failed": done.failed,
            "uploads_judged": self._judged_uploads,
            "uploads_refused": self._refused_uploads,
            "median_ms": _rounded(done.latency_ms(0.5)),
            "p95_ms": _rounded(done.latency_ms(0.95)),
            "uptime_seconds": round(monotonic() - self._started_seconds, 1),
            "version": __version__,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
