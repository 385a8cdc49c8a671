"""The MQTT sink against a real Mosquitto broker."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from edge_runtime.calibration import check_threshold
from edge_runtime.sinks.mqtt import MqttSink, MqttTimes
from edge_runtime.sinks.mqtt_connection import BrokerAddress, MqttConnection
from edge_runtime.sinks.options import SinkOptions
from edge_runtime.sinks.parsing import open_sink
from edge_runtime.watching.events import WatchStarted
from tests.edge_runtime.sinks.broker import Broker, free_port, needs_mosquitto
from tests.edge_runtime.sinks.event_samples import START, alarm_change, health_change, judgement
from tests.edge_runtime.sinks.listener import Listener
from tests.edge_runtime.sinks.waiting import wait_until

pytest.importorskip("paho.mqtt", reason="the mqtt extra is not installed")
pytestmark = needs_mosquitto

PREFIX = "factory/line1"
QUICK = MqttTimes(2.0, 1.0, 0.05, 0.2, 1.0, 0.2, 0.4)
DYNAMIC_SECURITY = next(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"), None)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.close()


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    listener = Listener(broker.port)
    yield listener
    listener.close()


class RememberingControls:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def set_threshold(self, threshold: float, origin: str) -> None:
        self.calls.append((check_threshold(threshold), origin))

    def clear_alarm(self, origin: str) -> None:
        self.calls.append(("clear", origin))


@pytest.fixture
def controls() -> RememberingControls:
    return RememberingControls()


@pytest.fixture
def make_sink(controls: RememberingControls) -> Iterator[Callable[..., MqttSink]]:
    sinks = []

    def make(port: int, queue_capacity: int = 1000, judgements: str = "all", user: str | None = None) -> MqttSink:
        address = BrokerAddress("127.0.0.1", port, user, "wrong" if user else None, None, "tfganomaly_test")
        sink = MqttSink(
            address,
            PREFIX,
            queue_capacity=queue_capacity,
            judgements=judgements,
            discovery_prefix="homeassistant",
            device_name="Line 1",
            controls=controls,
            times=QUICK,
        )
        sink.start()
        sinks.append(sink)
        return sink

    yield make
    for sink in sinks:
        sink.close(1)


def is_ok(sink: MqttSink) -> bool:
    return sink.health().state == "ok"


def test_a_name_that_is_no_utf_8_and_an_error_that_nobody_thought_of_end_nothing(
    broker: Broker, listener: Listener, make_sink: Callable[..., MqttSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = b"Pr\xfcfling1.png".decode("utf-8", "surrogateescape")
    sink = make_sink(broker.port)
    alarm = alarm_change(1)
    assert alarm.judgement is not None
    sink.deliver(replace(alarm, judgement=replace(alarm.judgement, frame=name)), None)
    wait_until(lambda: (listener.payloads(f"{PREFIX}/alarm") or [{}])[-1].get("alarm") == "on", "the alarm")
    (event,) = listener.wait_for(f"{PREFIX}/event/alarm", 1)
    assert event["judgement"]["frame"] == name
    # What is retained is for Home Assistant, whose parser refuses a text with a lone surrogate.
    assert listener.payloads(f"{PREFIX}/alarm")[-1]["judgement"]["frame"] == "Pr?fling1.png"
    send, errors = sink._send_what_is_due, [ZeroDivisionError("odd")]

    def fail_once(connection: MqttConnection) -> None:
        if errors:
            raise errors.pop()
        send(connection)

    monkeypatch.setattr(sink, "_send_what_is_due", fail_once)
    sink.deliver(judgement(2), None)
    assert [event["sequence"] for event in listener.wait_for(f"{PREFIX}/event/judgement", 1)] == [2]
    assert not errors


def test_the_alarm_of_a_former_process_ends_with_the_start_of_the_next(
    broker: Broker, listener: Listener, make_sink: Callable[..., MqttSink]
) -> None:
    first = make_sink(broker.port)
    first.deliver(alarm_change(1), None)
    wait_until(lambda: (listener.payloads(f"{PREFIX}/alarm") or [{}])[-1].get("alarm") == "on", "the alarm")
    first.close(1)
    make_sink(broker.port).deliver(WatchStarted(START, "parts", "m.tflite", "0123456789ab", 0.5, "1"), None)
    wait_until(lambda: listener.payloads(f"{PREFIX}/alarm")[-1]["alarm"] == "off", "the end of the alarm")


def test_a_small_queue_full_of_judgements_on_their_way_has_room_for_an_alarm(tmp_path: Path) -> None:
    address = BrokerAddress("127.0.0.1", free_port(), None, None, None, "tfganomaly_test")
    sink = MqttSink(
        address,
        PREFIX,
        queue_capacity=20,
        judgements="all",
        discovery_prefix=None,
        device_name="Line 1",
        controls=None,
        times=QUICK,
    )
    for number in range(30):
        sink.deliver(judgement(number), None)
    for _ in range(sink._max_on_their_way):
        sink._queue.take()
    sink.deliver(alarm_change(1), None)
    assert "alarm" not in sink.health().message
    assert sink._queue.dropped_text() == "judgements lost"


def test_events_state_and_availability_arrive_and_are_kept(
    broker: Broker, listener: Listener, make_sink: Callable[..., MqttSink]
) -> None:
    sink = make_sink(broker.port)
    for number in range(1, 4):
        sink.deliver(judgement(number, 0.1 * number), None)
    sink.deliver(alarm_change(1), None)
    sink.deliver(health_change("degraded"), None)
    assert [event["sequence"] for event in listener.wait_for(f"{PREFIX}/event/judgement", 3)] == [1, 2, 3]
    assert listener.wait_for(f"{PREFIX}/event/alarm", 1)[0]["alarm"] == "on"
    wait_until(lambda: (listener.payloads(f"{PREFIX}/state") or [{}])[-1].get("alarm") == "on", "the alarm")
    wait_until(lambda: (listener.payloads(f"{PREFIX}/health") or [{}])[-1].get("state") == "degraded", "the health")
    wait_until(lambda: sink.counts().waiting == 0, "all acknowledged")
    assert sink.counts().delivered == 5
    assert sink.health().message == ""
    late = Listener(broker.port, f"{PREFIX}/+")
    try:
        assert late.wait_for(f"{PREFIX}/state", 1)[0]["alarm"] == "on"
        wait_until(lambda: late.texts(f"{PREFIX}/availability") == ["online"], "the kept availability")
        assert late.wait_for(f"{PREFIX}/alarm", 1)[0]["number"] == 1
    finally:
        late.close()


def test_a_clean_end_and_a_death_both_leave_offline(
    broker: Broker, listener: Listener, make_sink: Callable[..., MqttSink]
) -> None:
    sink = make_sink(broker.port)
    topic = f"{PREFIX}/availability"
    wait_until(lambda: listener.texts(topic) == ["online"], "online")
    sink.deliver(judgement(), None)
    sink.close(5)
    assert len(listener.wait_for(f"{PREFIX}/event/judgement", 1)) == 1
    wait_until(lambda: listener.texts(topic) == ["online", "offline"], "offline after a clean end")
    code = (
        "import os, sys, time\n"
        "from edge_runtime.sinks.options import SinkOptions\n"
        "from edge_runtime.sinks.parsing import open_sink\n"
        f"sink = open_sink('mqtt://127.0.0.1:{broker.port}/{PREFIX}', SinkOptions())\n"
        "sink.start()\n"
        "while sink.health().state != 'ok': time.sleep(0.01)\n"
        "time.sleep(0.3); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False, timeout=30)
    wait_until(lambda: listener.texts(topic)[2:] == ["online", "offline"], "offline by the last will")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_no_event_is_lost_when_the_broker_restarts(
    broker: Broker, listener: Listener, make_sink: Callable[..., MqttSink], end: signal.Signals
) -> None:
    sink = make_sink(broker.port)
    for number in range(1, 51):
        sink.deliver(judgement(number), None)
    # A broker that is killed loses what it has confirmed and not yet passed on; that is not the sink's to keep.
    listener.wait_for(f"{PREFIX}/event/judgement", 50 if end == signal.SIGKILL else 1)
    broker.stop(end)
    for number in range(51, 101):
        sink.deliver(judgement(number), None)
        sink.deliver(alarm_change(number), None)
    wait_until(lambda: not is_ok(sink), "the outage in the health")
    assert sink.health().state == "degraded"
    assert "events wait" in sink.health().message
    broker.start()
    wait_until(
        lambda: len({e["sequence"] for e in listener.payloads(f"{PREFIX}/event/judgement")}) == 100, "judgements"
    )
    wait_until(
        lambda: {e["number"] for e in listener.payloads(f"{PREFIX}/event/alarm")} == set(range(51, 101)), "alarms"
    )
    first_arrivals = list(dict.fromkeys(e["number"] for e in listener.payloads(f"{PREFIX}/event/alarm")))
    assert first_arrivals == list(range(51, 101))
    wait_until(lambda: is_ok(sink), "healthy again")
    wait_until(lambda: listener.texts(f"{PREFIX}/availability")[-1] == "online", "online again")
    assert sink.counts().dropped == 0


def test_a_broker_that_is_frozen_is_noticed_and_gets_everything_when_it_thaws(
    broker: Broker, listener: Listener, make_sink: Callable[..., MqttSink]
) -> None:
    sink = make_sink(broker.port)
    sink.deliver(alarm_change(1), None)
    listener.wait_for(f"{PREFIX}/event/alarm", 1)
    broker.send(signal.SIGSTOP)
    for number in range(2, 12):
        sink.deliver(alarm_change(number), None)
    wait_until(lambda: not is_ok(sink), "the frozen broker in the health")
    broker.send(signal.SIGCONT)
    wait_until(lambda: {e["number"] for e in listener.payloads(f"{PREFIX}/event/alarm")} == set(range(1, 12)), "alarms")
    first_arrivals = list(dict.fromkeys(e["number"] for e in listener.payloads(f"{PREFIX}/event/alarm")))
    assert first_arrivals == list(range(1, 12))
    wait_until(lambda: is_ok(sink) and listener.texts(f"{PREFIX}/availability")[-1] == "online", "online again")


def test_a_full_queue_gives_up_judgements_before_alarms_and_says_so(
    tmp_path: Path, make_sink: Callable[..., MqttSink]
) -> None:
    broker = Broker(tmp_path)
    sink = make_sink(broker.port, queue_capacity=20)
    for number in range(1, 31):
        sink.deliver(judgement(number), None)
        if number % 3 == 0:
            sink.deliver(alarm_change(number), None)
    wait_until(lambda: "refused" in sink.health().message, "a reason")
    assert "oldest judgements are being dropped" in sink.health().message
    assert sink.counts().dropped == 20
    broker.start()
    listener = Listener(broker.port)
    try:
        wait_until(lambda: sink.counts().delivered == 20, "what was kept")
        assert sink.health().message == "judgements lost"
        assert sink.health().state == "ok"
    finally:
        listener.close()
        broker.close()


def test_an_unreachable_broker_does_not_hold_anybody_up(make_sink: Callable[..., MqttSink]) -> None:
    from time import monotonic

    sink = make_sink(free_port())
    start = monotonic()
    for number in range(500):
        sink.deliver(judgement(number), None)
    assert monotonic() - start < 2
    sink.close(0.3)
    assert sink.counts().waiting == 500


def test_commands_reach_the_loop_and_wrong_ones_are_named(
    broker: Broker, listener: Listener, make_sink: Callable[..., MqttSink], controls: RememberingControls
) -> None:
    listener.publish(f"{PREFIX}/alarm/clear", "old", retain=True)
    sink = make_sink(broker.port)
    wait_until(lambda: is_ok(sink) and listener.texts(f"{PREFIX}/availability") == ["online"], "connected")
    wait_until(lambda: len(listener.texts(f"{PREFIX}/health")) == 1, "subscribed by then")
    listener.publish(f"{PREFIX}/threshold/set", "0.75")
    wait_until(lambda: controls.calls == [(0.75, "mqtt")], "the threshold")
    for wrong in ("nan", "high", ""):
        listener.publish(f"{PREFIX}/threshold/set", wrong)
    wait_until(lambda: "'' came as threshold" in sink.health().message, "the refusal")
    listener.publish(f"{PREFIX}/alarm/clear", "clear")
    wait_until(lambda: controls.calls == [(0.75, "mqtt"), ("clear", "mqtt")], "the cleared alarm")
    assert is_ok(sink)


def test_home_assistant_finds_a_device_whose_topics_all_exist(
    broker: Broker, listener: Listener, make_sink: Callable[..., MqttSink]
) -> None:
    sink = make_sink(broker.port)
    sink.deliver(judgement(score=0.7), None)
    sink.deliver(alarm_change(1), None)
    wait_until(lambda: len([t for t, _, _ in listener.messages if t.endswith("/config")]) == 7, "seven entities")
    listener.wait_for(f"{PREFIX}/alarm", 1)
    listener.wait_for(f"{PREFIX}/state", 1)
    heard = {topic for topic, _, _ in listener.messages}
    identities = set()
    for topic, _, _ in listener.messages:
        if not topic.endswith("/config"):
            continue
        (entity,) = listener.payloads(topic)
        prefix, _, node, object_id, _ = topic.split("/")
        assert (prefix, node) == ("homeassistant", "tfganomaly_factory_line1")
        assert entity["unique_id"] == f"{node}_{object_id}"
        assert entity["device"]["identifiers"] == [node]
        assert entity["device"]["name"] == "Line 1"
        assert entity["availability_topic"] in heard
        assert {entity[key] for key in ("state_topic", "json_attributes_topic") if key in entity} <= heard
        identities.add(entity["unique_id"])
    assert len(identities) == 7
    state = listener.payloads(f"{PREFIX}/state")[-1]
    assert {"alarm", "score", "normalised_score", "threshold", "scene_changed"} <= set(state)


def test_a_will_that_comes_late_is_corrected(
    broker: Broker, listener: Listener, make_sink: Callable[..., MqttSink]
) -> None:
    make_sink(broker.port)
    wait_until(lambda: listener.texts(f"{PREFIX}/availability") == ["online"], "online")
    wait_until(lambda: listener.texts(f"{PREFIX}/health"), "all sent")
    listener.publish(f"{PREFIX}/availability", "offline", retain=True)
    wait_until(lambda: listener.texts(f"{PREFIX}/availability") == ["online", "offline", "online"], "corrected")


def test_wrong_credentials_are_said_and_right_ones_from_a_file_are_taken(
    tmp_path: Path, make_sink: Callable[..., MqttSink]
) -> None:
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("mosquitto_passwd is not installed")
    passwords = tmp_path / "passwords"
    subprocess.run([tool, "-b", "-c", str(passwords), "inspector", "right"], check=True, capture_output=True)
    passwords.chmod(0o644)
    broker = Broker(tmp_path, f"allow_anonymous false\npassword_file {passwords}")
    broker.start()
    try:
        refused = make_sink(broker.port, user="inspector")
        refused.deliver(alarm_change(1), None)
        wait_until(lambda: refused.health().state == "failed", "the refusal")
        assert "user name and password" in refused.health().message
        assert "right" not in refused.health().message
        secret = tmp_path / "secret"
        secret.write_text("right\n")
        secret.chmod(0o600)
        options = SinkOptions(mqtt_password_file=str(secret))
        accepted = open_sink(f"mqtt://inspector@127.0.0.1:{broker.port}/other", options)
        accepted.start()
        accepted.deliver(alarm_change(1), None)
        wait_until(lambda: accepted.counts().delivered == 1, "delivered with the right password")
        accepted.close(2)
    finally:
        broker.close()


def test_tls_trusts_the_named_authority_and_nobody_else(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    broker = Broker(tmp_path, f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}")
    broker.start()
    try:
        trusting = open_sink(f"mqtts://127.0.0.1:{broker.port}/x", SinkOptions(sink_ca_file=str(certificate)))
        doubting = open_sink(f"mqtts://127.0.0.1:{broker.port}/y", SinkOptions())
        for sink in (trusting, doubting):
            sink.start()
            sink.deliver(alarm_change(1), None)
        wait_until(lambda: trusting.counts().delivered == 1, "delivered over TLS")
        wait_until(lambda: doubting.health().state == "failed", "the refusal")
        assert "certificate is not trusted" in doubting.health().message
        for sink in (trusting, doubting):
            sink.close(1)
    finally:
        broker.close()


def test_only_wanted_judgements_are_published(
    broker: Broker, listener: Listener, make_sink: Callable[..., MqttSink]
) -> None:
    sink = make_sink(broker.port, judgements="anomalous")
    for number, score in enumerate((0.1, 0.9, 0.2, 0.8), start=1):
        sink.deliver(judgement(number, score), None)
    sink.close(5)
    assert [event["sequence"] for event in listener.wait_for(f"{PREFIX}/event/judgement", 2)] == [2, 4]
    assert sink.counts().delivered == 2


@pytest.mark.parametrize(("topics", "state"), [("other/#", "degraded"), (f"{PREFIX}/#", "ok")])
def test_access_rules_that_swallow_every_message_are_a_state_of_health(
    tmp_path: Path, make_sink: Callable[..., MqttSink], topics: str, state: str
) -> None:
    rules = tmp_path / "rules"
    rules.write_text(f"topic readwrite {topics}\n")
    rules.chmod(0o600)
    broker = Broker(tmp_path, f"allow_anonymous true\nacl_file {rules}")
    broker.start()
    try:
        sink = make_sink(broker.port)
        sink.deliver(alarm_change(1), None)
        wait_until(lambda: sink.counts().delivered == 1, "the broker's acknowledgement")
        started = monotonic()
        wait_until(lambda: not is_ok(sink) or monotonic() - started > 4, "the word of the broker's access rules")
        assert sink.health().state == state
        assert ("access rules" in sink.health().message) == (state == "degraded")
    finally:
        broker.close()


def test_two_watches_with_one_prefix_learn_why_they_lose_the_broker_and_recover_when_one_ends(
    broker: Broker, make_sink: Callable[..., MqttSink]
) -> None:
    first, second = make_sink(broker.port), make_sink(broker.port)
    for sink in (first, second):
        wait_until(lambda sink=sink: "has another watch the same prefix" in sink.health().message, "the word")
        assert sink.health().state == "degraded"
    second.close(1)
    wait_until(lambda: is_ok(first), "the watch that is left")
    first.deliver(alarm_change(1), None)
    wait_until(lambda: first.counts().waiting == 0, "an alarm on the connection that lasts")


@pytest.mark.skipif(DYNAMIC_SECURITY is None, reason="mosquitto's dynamic security plugin is not installed")
def test_refused_subscriptions_are_a_state_of_health(tmp_path: Path, make_sink: Callable[..., MqttSink]) -> None:
    publishing = {"acltype": "publishClientSend", "topic": "#", "allow": True}
    hearing = {"acltype": "subscribePattern", "topic": f"{PREFIX}/availability", "allow": True}
    rules = {
        "defaultACLAccess": {"publishClientSend": False, "publishClientReceive": True, "subscribe": False},
        "anonymousGroup": "all",
        "groups": [{"groupname": "all", "roles": [{"rolename": "watch"}]}],
        "roles": [{"rolename": "watch", "acls": [publishing, hearing]}],
    }
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(rules))
    broker = Broker(tmp_path, f"allow_anonymous true\nplugin {DYNAMIC_SECURITY}\nplugin_opt_config_file {path}")
    broker.start()
    try:
        sink = make_sink(broker.port)
        wait_until(lambda: "access rules" in sink.health().message, "the refusal")
        assert sink.health().state == "degraded"
        assert f"does not send {PREFIX}/threshold/set, {PREFIX}/alarm/clear: " in sink.health().message
        sink.deliver(alarm_change(1), None)
        wait_until(lambda: sink.counts().delivered == 1, "an alarm all the same")
    finally:
        broker.close()
