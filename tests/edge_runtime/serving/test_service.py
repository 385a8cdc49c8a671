"""The HTTP service on a real socket of the loopback."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import OptionError, ServeError, SinkError
from edge_runtime.serving import application, server
from edge_runtime.serving.access import AccessRule, find_token, is_loopback
from edge_runtime.serving.options import ServeOptions
from edge_runtime.serving.service import Service
from edge_runtime.serving.upload_judge import JudgedUpload, UploadJudge
from edge_runtime.sources.source import SOURCE_COMPONENT
from edge_runtime.watching.events import ComponentHealth
from tests.edge_runtime.test_image_reading import png_header
from tests.edge_runtime.watching.conftest import Interpreter, bad, good, with_interpreter
from tests.edge_runtime.watching.fakes import ListSource, wait_for

Start = Callable[..., Service]
TOKEN = "a-token-of-some-length"


@pytest.fixture
def guarded_service(start_service: Start, tmp_path: Path) -> Service:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    token_file.chmod(0o600)
    return start_service(token_file=str(token_file))


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
        (png_header(20_000, 20_000), {}, "20 megapixels"),
        (png_header(5_000, 4_001), {}, "has 5000 x 4001 pixels; at most 20 megapixels"),
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
    health = ask(service, "GET", "/health")[1]
    assert (health["judged"], health["uploads_judged"], health["uploads_refused"]) == (0, 1, 9)
    metrics = ask(service, "GET", "/metrics")[1].decode()
    assert "tfganomaly_uploads_refused_total 9.0" in metrics
    assert "tfganomaly_uploads_judged_total 1.0" in metrics


def test_a_picture_above_the_limit_is_refused_however_small_its_file(start_service: Start) -> None:
    service = start_service(max_upload_megapixels=1)
    large = png(np.zeros((1001, 1000), np.uint8))
    assert len(large) < 3000
    status, answer = ask(service, "POST", "/v1/inspect", large)
    assert status == 422
    assert answer["error"] == "The upload has 1000 x 1001 pixels; at most 1 megapixels are accepted."
    assert ask(service, "POST", "/v1/inspect", png(np.zeros((1000, 1000), np.uint8)))[0] == 200
    for megapixels in (0, 81):
        with pytest.raises(OptionError, match="--max-upload-megapixels"):
            ServeOptions(max_upload_megapixels=megapixels)


def connected(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.server.port), timeout=10)


def header(*lines: str, request: str = "POST /v1/inspect HTTP/1.1") -> bytes:
    return "\r\n".join([request, "Host: localhost", *lines, "", ""]).encode()


def answer_of(connection: socket.socket) -> tuple[int, http.client.HTTPMessage, Any]:
    """What comes until the server closes or the body is complete, which must be JSON."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    content = answer.read()
    return answer.status, answer.headers, json.loads(content)


def test_an_upload_above_the_limit_is_refused_before_it_is_sent(start_service: Start) -> None:
    service = start_service(max_upload_mb=0.1)
    for lines in (["Content-Length: 5000000000"], ["Content-Length: 5000000000", "Expect: 100-continue"]):
        with connected(service) as connection:
            connection.sendall(header(*lines))
            status, headers, answer = answer_of(connection)
            assert (status, answer) == (413, {"error": "The body is larger than 100000 bytes."})
            assert headers["Content-Type"] == "application/json"
            assert headers["Connection"] == "close"
            assert headers["X-Content-Type-Options"] == "nosniff"
    with connected(service) as connection:
        connection.sendall(header("Transfer-Encoding: chunked"))
        for _ in range(100):  # far more than is allowed, never announced
            connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        assert answer_of(connection)[0] == 413
    assert ask(service, "POST", "/v1/inspect", os.urandom(130_000))[0] == 413
    assert ask(service, "POST", "/v1/inspect", os.urandom(3_000_000))[0] == 413
    assert ask(service, "GET", "/health")[0] == 200


def test_requests_that_are_no_http_are_answered_in_json_too(start_service: Start) -> None:
    service = start_service()
    for request, status, words in (
        (header("Content-Length: many"), 400, "Content-Length is invalid"),
        (header("no header"), 400, "Invalid header"),
        (header("X: " + "x" * 40_000), 431, "exceeds max_header"),
        (header("Transfer-Encoding: gzip"), 501, "Transfer-Encoding"),
    ):
        with connected(service) as connection:
            connection.sendall(request)
            given, headers, answer = answer_of(connection)
            assert (given, headers["Content-Type"]) == (status, "application/json")
            assert words in answer["error"]
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
    assert health["can_judge"] is True
    source.state = ComponentHealth(SOURCE_COMPONENT, "failed", "unplugged")
    wait_for(lambda: ask(service, "GET", "/health")[0] == 503)
    health = ask(service, "GET", "/health")[1]
    assert health["can_judge"] is False
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
    latency = families["tfganomaly_latency_seconds"].samples
    assert {sample.labels["percentile"] for sample in latency} == {"50", "95", "99"}
    reserved = {"quantile", "le"}  # to summaries and histograms, which are none of these
    assert not any(reserved & set(sample.labels) for family in families.values() for sample in family.samples)


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


def test_what_a_busy_watch_has_not_done_yet_is_not_said_to_be_done(
    start_service: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "_LONGEST_WAIT_SECONDS", 0.05)
    service = start_service(ListSource([bad()] * 5, ends=False))
    loop = service.session.loop
    wait_for(lambda: loop.alarm == "on")
    monkeypatch.setattr(loop, "clear_alarm", lambda origin: None)
    monkeypatch.setattr(loop, "set_threshold", lambda threshold, origin: None)
    status, answer = ask(service, "DELETE", "/v1/alarm")
    assert (status, answer) == (202, {"alarm": "on", "previous": "on", "pending": "off"})
    status, answer = ask(service, "PUT", "/v1/threshold", b'{"threshold": 9}')
    assert (status, answer) == (202, {"threshold": 0.2, "previous": 0.2, "pending": 9.0})


@pytest.mark.parametrize("begin", [b"", header("Content-Length: 1000")], ids=["header", "body"])
def test_a_request_that_comes_byte_by_byte_does_not_keep_its_connection(
    start_service: Start, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(server, "_HEADER_SECONDS", 0.5)
    monkeypatch.setattr(server, "_REQUEST_SECONDS", 1.0)
    service = start_service()
    with connected(service) as connection:
        connection.sendall(begin)
        connection.settimeout(0.1)
        beginning = monotonic()
        is_closed = False
        while not is_closed and monotonic() - beginning < 15:
            try:
                connection.sendall(b"P")
                is_closed = connection.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                is_closed = True
        assert is_closed
        assert monotonic() - beginning > 0.4
    assert ask(service, "POST", "/v1/inspect", png(good()))[0] == 200


def test_clients_that_send_nothing_keep_nobody_out(start_service: Start) -> None:
    service = start_service()
    idle = [connected(service) for _ in range(100)]
    try:
        for _ in range(3):
            assert ask(service, "GET", "/health")[0] in (200, 503)
    finally:
        for connection in idle:
            connection.close()


def test_unknown_paths_and_methods_say_what_there_is(start_service: Start) -> None:
    service = start_service()
    status, answer = ask(service, "GET", "/nothing")
    assert status == 404
    assert "POST /v1/inspect" in answer["error"]
    status, answer = ask(service, "GET", "/v1/inspect")
    assert (status, answer["error"]) == (405, "/v1/inspect takes POST.")
    with connected(service) as connection:
        connection.sendall(header(request="DELETE /health HTTP/1.1"))
        status, headers, _ = answer_of(connection)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert ask(service, "GET", "/v1/live?after=x")[0] == 400
    assert ask(service, "GET", "/../../etc/passwd")[0] == 404


def test_with_a_token_nothing_but_the_bare_page_is_answered_without_it(guarded_service: Service) -> None:
    service = guarded_service
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


LARGE_BODY = "Content-Length: 10000000"


@pytest.mark.parametrize(
    "lines",
    [
        [LARGE_BODY],
        [LARGE_BODY, "Expect: 100-continue"],
        [LARGE_BODY, "Authorization: Bearer wrong"],
        [LARGE_BODY, "Connection: keep-alive"],
        ["Content-Length: 5000000000"],
        ["Transfer-Encoding: chunked"],
    ],
)
def test_without_the_token_a_body_is_refused_before_it_is_sent(guarded_service: Service, lines: list[str]) -> None:
    with connected(guarded_service) as connection:
        connection.sendall(header(*lines))
        status, headers, answer = answer_of(connection)
        assert status == 401
        assert answer == {"error": "A token is needed: send the header 'Authorization: Bearer TOKEN'."}
        assert headers["WWW-Authenticate"] == "Bearer"
        assert headers["Connection"] == "close"
        assert headers["Cache-Control"] == "no-store"
        assert connection.recv(1) == b""


def test_with_the_token_the_body_is_waited_for_and_judged(guarded_service: Service) -> None:
    content = png(bad()).ljust(10_000_000, b"\0")
    for expects in ([], ["Expect: 100-continue"]):
        with connected(guarded_service) as connection:
            connection.sendall(header(LARGE_BODY, f"Authorization: Bearer {TOKEN}", *expects))
            if expects:
                assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(20)
            connection.sendall(content)
            status, _, verdict = answer_of(connection)
            assert (status, verdict["is_anomaly"]) == (200, True)


def test_without_the_token_no_path_takes_a_body(guarded_service: Service) -> None:
    for request, status in (
        ("GET / HTTP/1.1", 200),
        ("POST / HTTP/1.1", 405),
        ("POST /nothing HTTP/1.1", 404),
        ("PUT /v1/threshold HTTP/1.1", 401),
        ("POST /v1/inspect HTTP/1.0", 401),
    ):
        with connected(guarded_service) as connection:
            connection.sendall(header(LARGE_BODY, request=request))
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == status, request
            assert answer.getheader("Connection") == "close"


def test_a_client_that_sends_all_the_same_gets_the_answer_and_no_reset(guarded_service: Service) -> None:
    for _ in range(3):
        status, answer = ask(guarded_service, "POST", "/v1/inspect", os.urandom(3_000_000))
        assert (status, "token is needed" in answer["error"]) == (401, True)
    # What was sent as a body is no request.
    smuggled = b"GET /health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
    with connected(guarded_service) as connection:
        connection.sendall(header(f"Content-Length: {len(smuggled)}") + smuggled)
        received = b""
        while more := connection.recv(10_000):
            received += more
    assert received.count(b"HTTP/1.1 ") == 1
    assert b" 401 " in received


def test_a_client_that_never_stops_sending_is_cut_off(guarded_service: Service) -> None:
    with connected(guarded_service) as connection:
        connection.sendall(header("Content-Length: 5000000000"))
        wait_for(lambda: not can_send(connection))


def can_send(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"x" * 1000)
    except OSError:
        return False
    return True


def test_for_another_host_a_body_is_refused_before_it_is_sent(start_service: Start) -> None:
    service = start_service()
    with connected(service) as connection:
        connection.sendall(header(LARGE_BODY).replace(b"localhost", b"evil.example"))
        status, headers, answer = answer_of(connection)
    assert status == 403
    assert "evil.example" in answer["error"]
    assert headers["Content-Type"] == "application/json"


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

    access = AccessRule("127.0.0.1", None)
    with pytest.raises(ServeError, match=r"port \d+: address already in use\. Choose another with --port"):
        HttpServer(lambda environ, start: [], access, "127.0.0.1", service.server.port, 1000)
    with pytest.raises(ServeError, match="no address to listen on"):
        HttpServer(lambda environ, start: [], access, "no-such-host.invalid", 0, 1000)


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


def test_uploads_that_hang_leave_health_and_page_alone(start_service: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service, goes_on, judged = start_service(), threading.Event(), UploadJudge.judge

    def hang(judge: UploadJudge, content: bytes, name: str, *, with_heatmap: bool) -> JudgedUpload:
        goes_on.wait(20)
        return judged(judge, content, name, with_heatmap=with_heatmap)

    monkeypatch.setattr(UploadJudge, "judge", hang)
    answers: list[int] = []
    uploads = [
        threading.Thread(target=lambda: answers.append(ask(service, "POST", "/v1/inspect", png(good()))[0]))
        for _ in range(6)
    ]
    for upload in uploads:
        upload.start()
    wait_for(lambda: answers == [503] * 4)
    assert ask(service, "GET", "/health")[0] == 200
    assert ask(service, "GET", "/v1/live")[0] == 200
    goes_on.set()
    for upload in uploads:
        upload.join()
    assert sorted(answers) == [200, 200, 503, 503, 503, 503]
    assert ask(service, "POST", "/v1/inspect", png(good()))[0] == 200


def test_an_upload_whose_inference_hangs_is_a_state_of_health(start_service: Start) -> None:
    goes_on, is_stuck = threading.Event(), False

    class StuckInterpreter(Interpreter):
        def run(self, pixels: np.ndarray) -> list[np.ndarray]:
            if is_stuck:
                goes_on.wait(20)
            return super().run(pixels)

    service = start_service(
        load_detector=lambda path: with_interpreter(StuckInterpreter())(path), watch={"inference_limit_seconds": 0.05}
    )
    is_stuck = True
    answers: list[int] = []
    upload = threading.Thread(target=lambda: answers.append(ask(service, "POST", "/v1/inspect", png(good()))[0]))
    upload.start()
    wait_for(lambda: ask(service, "GET", "/health")[0] == 503)
    worst = ask(service, "GET", "/health")[1]["components"][0]
    assert (worst["component"], worst["state"]) == ("inference", "failed")
    assert "has not ended" in worst["message"]
    goes_on.set()
    upload.join()
    assert answers == [200]
    assert ask(service, "GET", "/health")[0] == 200


def test_an_interpreter_that_dies_under_uploads_is_a_state_of_health_and_loaded_anew(start_service: Start) -> None:
    interpreters: list[Interpreter] = []
    is_away = False

    def load(path: Path) -> AnomalyDetector:
        interpreters.append(Interpreter())
        interpreters[-1].failures = 10**6 if is_away else 0
        return with_interpreter(interpreters[-1])(path)

    service = start_service(load_detector=load)
    is_away = True
    for interpreter in interpreters:
        interpreter.failures = 10**6
    loaded = len(interpreters)
    status, answer = ask(service, "POST", "/v1/inspect", png(good()))
    assert (status, answer) == (503, {"error": "the accelerator has gone"})
    status, health = ask(service, "GET", "/health")
    assert status == 503
    assert health["components"][0] == {
        "component": "inference",
        "state": "failed",
        "message": "the accelerator has gone",
    }
    wait_for(lambda: len(interpreters) > loaded + 1)  # tried more than once, without another upload
    assert ask(service, "GET", "/health")[0] == 503
    is_away = False
    wait_for(lambda: ask(service, "GET", "/health")[0] == 200)
    status, verdict = ask(service, "POST", "/v1/inspect", png(good()))
    assert (status, verdict["threshold"]) == (200, 0.2)


def test_each_start_has_an_id_of_its_own_by_which_the_page_knows_a_restart(start_service: Start) -> None:
    services = [start_service(), start_service()]
    asked = [[ask(service, "GET", "/v1/live")[1]["start_id"] for _ in range(2)] for service in services]
    assert all(first == second for first, second in asked)
    assert asked[0][0] != asked[1][0]


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
