"""The HTTP service on a real socket of the loopback."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import ServeError, SinkError
from edge_runtime.serving.access import AccessRule, find_token, is_loopback
from edge_runtime.serving.service import Service
from edge_runtime.sources.source import SOURCE_COMPONENT
from edge_runtime.watching.events import ComponentHealth
from tests.edge_runtime.test_image_reading import png_header
from tests.edge_runtime.watching.fakes import ListSource, wait_for
from tests.edge_runtime.watching.test_session import bad, good

Start = Callable[..., Service]
TOKEN = "a-token-of-some-length"


def ask(
    service: Service, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", service.server.port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if "json" in answer.getheader("Content-Type", "") else content
    finally:
        connection.close()


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def form(content: bytes, name: str = 'image"; filename="part.png') -> tuple[bytes, dict[str, str]]:
    body = (
        b'--XYZ\r\nContent-Disposition: form-data; name="note"\r\n\r\nfrom the line\r\n'
        b'--XYZ\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--XYZ--\r\n"
    )
    return body, {"Content-Type": "multipart/form-data; boundary=XYZ"}


def test_an_upload_gets_the_detectors_verdict(start_service: Start, artefact_path: Path) -> None:
    service = start_service()
    picture = bad()
    status, verdict = ask(service, "POST", "/v1/inspect", png(picture))
    assert status == 200
    detection = AnomalyDetector(artefact_path).detect(picture)
    assert (verdict["score"], verdict["normalised_score"]) == (detection.score, detection.normalised_score)
    assert verdict["is_anomaly"] is True
    assert verdict["threshold"] == 0.2
    assert set(verdict) == {"score", "normalised_score", "threshold", "is_anomaly", "latency_ms", "model_sha256"}
    body, headers = form(png(picture))
    assert ask(service, "POST", "/v1/inspect", body, headers)[1]["score"] == detection.score
    _, drawn = ask(service, "POST", "/v1/inspect?heatmap=1", png(picture))
    assert Image.open(io.BytesIO(base64.b64decode(drawn["heatmap_jpeg_base64"]))).size == (40, 30)
    assert service.session.loop.statistics.judged == 0  # an upload is no frame of the line


def test_what_is_no_image_is_refused_in_one_line_and_the_service_goes_on(start_service: Start) -> None:
    service = start_service()
    for body, headers, words in (
        (b"", {}, "no body"),
        (b"hello", {}, "not an image"),
        (png(good())[:200], {}, "damaged or cut short"),
        (png_header(20_000, 20_000), {}, "80 megapixels"),
        (*form(b"no image"), "Upload 'part.png' is not an image"),
        (*form(b"text", "only a field"), "The form has no file"),
        (b"--XYZ\r\nbroken", {"Content-Type": "multipart/form-data; boundary=XYZ"}, "The form has no file"),
        (b"x", {"Content-Type": "multipart/form-data"}, "The form has no file"),
    ):
        status, answer = ask(service, "POST", "/v1/inspect", body, headers)
        assert status == 422, answer
        assert words in answer["error"]
        assert "\n" not in answer["error"]
    assert ask(service, "POST", "/v1/inspect", png(good()))[0] == 200
    metrics = ask(service, "GET", "/metrics")[1].decode()
    assert "tfganomaly_uploads_refused_total 8.0" in metrics
    assert "tfganomaly_uploads_judged_total 1.0" in metrics


def test_an_upload_above_the_limit_is_refused_before_it_is_sent(start_service: Start) -> None:
    service = start_service(max_upload_mb=0.1)
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000000\r\n\r\n")
        assert b" 413 " in connection.recv(1000).partition(b"\r\n")[0]
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/inspect HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        received = b""
        try:
            for _ in range(100):  # far more than is allowed, never announced
                connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        except OSError:
            pass
        connection.settimeout(10)
        try:
            received = connection.recv(1000)
        except OSError:
            received = b" 413 "  # the connection was cut while we were still sending
        assert b" 413 " in received
    assert ask(service, "POST", "/v1/inspect", os.urandom(130_000))[0] == 413
    assert ask(service, "GET", "/health")[0] == 200


def test_slow_and_silent_clients_keep_nobody_waiting(start_service: Start) -> None:
    service = start_service()
    slow = [socket.create_connection(("127.0.0.1", service.server.port), timeout=10) for _ in range(12)]
    try:
        for connection in slow[:6]:
            connection.sendall(b"POST /v1/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc")
        begun = time.monotonic()
        for _ in range(5):
            for connection in slow[:6]:
                connection.sendall(b"x")
            assert ask(service, "POST", "/v1/inspect", png(good()))[0] == 200
        assert time.monotonic() - begun < 10
    finally:
        for connection in slow:
            connection.close()


def test_many_at_once_are_all_answered_alike(start_service: Start) -> None:
    service = start_service()
    content = png(bad())
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: ask(service, "POST", "/v1/inspect", content), range(40)))
    assert {status for status, _ in answers} == {200}
    assert len({answer["score"] for _, answer in answers}) == 1


def test_health_is_503_while_a_part_has_failed(start_service: Start) -> None:
    source = ListSource([good(), bad()], ends=False)
    service = start_service(source)
    wait_for(lambda: service.session.loop.statistics.judged == 2)
    status, health = ask(service, "GET", "/health")
    assert (status, health["status"], health["judged"], health["anomalous"]) == (200, "ok", 2, 1)
    source.state = ComponentHealth(SOURCE_COMPONENT, "failed", "unplugged")
    wait_for(lambda: ask(service, "GET", "/health")[0] == 503)
    health = ask(service, "GET", "/health")[1]
    assert health["components"][0] == {"component": "source", "state": "failed", "message": "unplugged"}
    assert 'tfganomaly_health{component="source"} 2.0' in ask(service, "GET", "/metrics")[1].decode()


def test_metrics_are_what_prometheus_reads(start_service: Start) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="the serve extra is not installed")
    service = start_service(ListSource([good(), bad(), bad(), bad()], ends=False))
    wait_for(lambda: service.session.loop.statistics.judged == 4)
    families = {
        family.name: family
        for family in parser.text_string_to_metric_families(ask(service, "GET", "/metrics")[1].decode())
    }
    values = {sample.name: sample.value for family in families.values() for sample in family.samples}
    assert values["tfganomaly_frames_judged_total"] == 4
    assert values["tfganomaly_frames_anomalous_total"] == 3
    assert values["tfganomaly_alarm"] == 1
    assert values["tfganomaly_threshold"] == 0.2
    assert {sample.labels["quantile"] for sample in families["tfganomaly_latency_seconds"].samples} >= {"0.5", "0.95"}


def test_threshold_and_alarm_are_changed_by_request(start_service: Start) -> None:
    service = start_service(ListSource([bad()] * 5, ends=False))
    wait_for(lambda: service.session.loop.alarm == "on")
    assert ask(service, "DELETE", "/v1/alarm")[1] == {"alarm": "off", "previous": "on"}
    assert service.session.loop.alarm == "off"
    status, answer = ask(service, "PUT", "/v1/threshold", b'{"threshold": 1000}')
    assert (status, answer) == (200, {"threshold": 1000.0, "previous": 0.2})
    assert ask(service, "POST", "/v1/inspect", png(bad()))[1]["is_anomaly"] is False
    for body in (b"", b"{}", b"[1]", b'{"threshold": "1"}', b'{"threshold": NaN}', b'{"threshold": true}', b"[" * 9999):
        status, answer = ask(service, "PUT", "/v1/threshold", body)
        assert status == 400, body
        assert "JSON object" in answer["error"]
    assert service.session.loop.threshold == 1000


def test_unknown_paths_and_methods_say_what_there_is(start_service: Start) -> None:
    service = start_service()
    status, answer = ask(service, "GET", "/nothing")
    assert status == 404
    assert "POST /v1/inspect" in answer["error"]
    status, answer = ask(service, "GET", "/v1/inspect")
    assert (status, answer["error"]) == (405, "/v1/inspect takes POST.")
    assert ask(service, "GET", "/v1/live?after=x")[0] == 400
    assert ask(service, "GET", "/../../etc/passwd")[0] == 404


def test_with_a_token_nothing_but_the_bare_page_is_answered_without_it(start_service: Start, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    token_file.chmod(0o600)
    service = start_service(token_file=str(token_file), host="127.0.0.1")
    for method, path in (
        ("GET", "/health"), ("GET", "/metrics"), ("GET", "/v1/live"), ("POST", "/v1/inspect"), ("PUT", "/v1/threshold"),
        ("DELETE", "/v1/alarm"),
    ):  # fmt: skip
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Bearer"}):
            status, answer = ask(service, method, path, b"", headers)
            assert status == 401, (method, path, headers)
            assert TOKEN not in json.dumps(answer)
    status, page = ask(service, "GET", "/")
    assert status == 200
    assert TOKEN.encode() not in page
    assert ask(service, "GET", "/health", None, {"Authorization": f"Bearer {TOKEN}"})[0] == 200


def test_without_a_token_only_requests_to_this_machine_are_answered(start_service: Start) -> None:
    service = start_service()
    for host in ("evil.example", "evil.example:8080", "192.0.2.1", ""):
        assert ask(service, "GET", "/health", None, {"Host": host})[0] == 403, host
    for host in ("localhost", "localhost:8080", "127.0.0.1:1", "[::1]:80"):
        assert ask(service, "GET", "/health", None, {"Host": host})[0] == 200, host


def test_another_address_than_the_loopback_needs_a_token(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "device.local"):
        assert not is_loopback(host)
        with pytest.raises(ServeError, match="--token-file"):
            AccessRule(host, None)
        assert AccessRule(host, TOKEN).needs_token
    with pytest.raises(ServeError, match="has 5 characters; 16 or more"):
        AccessRule("0.0.0.0", "short")
    assert find_token(None, {"TFGANOMALY_TOKEN": TOKEN}) == TOKEN
    assert find_token(None, {}) is None
    with pytest.raises(SinkError, match="cannot be read"):
        find_token(str(tmp_path / "none"))


def test_a_port_that_is_taken_is_one_clear_line(start_service: Start) -> None:
    service = start_service()
    from edge_runtime.serving.server import HttpServer

    with pytest.raises(ServeError, match=r"port \d+: address already in use\. Choose another with --port"):
        HttpServer(lambda environ, start: [], "127.0.0.1", service.server.port, 1000)
    with pytest.raises(ServeError, match="no address to listen on"):
        HttpServer(lambda environ, start: [], "no-such-host.invalid", 0, 1000)


def test_uploads_are_judged_by_a_new_model_as_soon_as_the_watch_is(start_service: Start, artefact_path: Path) -> None:
    from edge_runtime.artefact import write_artefact
    from tests.edge_runtime.conftest import cached_flatbuffer
    from tests.edge_runtime.tiny_model import tiny_calibration, tiny_metadata

    service = start_service()
    before = ask(service, "POST", "/v1/inspect", png(bad()))[1]
    metadata = tiny_metadata(16, calibration=tiny_calibration(threshold=0.7))
    write_artefact(artefact_path, cached_flatbuffer(16, 1), metadata)
    wait_for(lambda: service.session.loop.threshold == 0.7)
    after = ask(service, "POST", "/v1/inspect", png(bad()))[1]
    assert after["model_sha256"] != before["model_sha256"]
    assert after["threshold"] == 0.7
    assert after["score"] != before["score"]


def test_the_page_state_holds_scores_and_new_frames_only(start_service: Start) -> None:
    source = ListSource([good(), bad()], ends=False)
    service = start_service(source)
    wait_for(lambda: service.session.loop.statistics.judged == 2)
    wait_for(lambda: ask(service, "GET", "/v1/live")[1]["frames"])  # a frame is counted before it is drawn
    state = ask(service, "GET", "/v1/live")[1]
    assert [entry[4] for entry in state["scores"]] == [False, True]
    newest = max(frame["number"] for frame in state["frames"])
    for frame in state["frames"]:
        for kind in ("picture", "heatmap"):
            content = base64.b64decode(frame[kind].removeprefix("data:image/jpeg;base64,"))
            assert Image.open(io.BytesIO(content)).size == (40, 30)
    assert ask(service, "GET", f"/v1/live?after={newest}")[1]["frames"] == []
