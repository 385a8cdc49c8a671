from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path

import pytest

from edge_runtime.errors import MissingExtraError, OptionError, SinkError
from edge_runtime.sinks.evidence import EvidenceSink
from edge_runtime.sinks.home_assistant import device_id
from edge_runtime.sinks.jsonl import JsonLinesSink
from edge_runtime.sinks.options import SinkOptions
from edge_runtime.sinks.parsing import open_sink
from edge_runtime.sinks.webhook import WebhookSink
from tests.edge_runtime.sinks.event_samples import judgement

DEFAULT = SinkOptions()


@pytest.mark.parametrize(
    ("specification", "kind", "name"),
    [
        ("jsonl:out.jsonl", JsonLinesSink, "jsonl out.jsonl"),
        ("jsonl:/var/log/a:b.jsonl", JsonLinesSink, "jsonl /var/log/a:b.jsonl"),
        ("evidence:pictures", EvidenceSink, "evidence pictures"),
        ("http://host/a?key=1", WebhookSink, "webhook http://host #32b7"),
        ("https://host:8443/a", WebhookSink, "webhook https://host:8443 #f7fa"),
    ],
)
def test_a_specification_opens_its_sink(specification: str, kind: type, name: str) -> None:
    sink = open_sink(specification, DEFAULT)
    assert isinstance(sink, kind)
    assert sink.name == name


@pytest.mark.parametrize(
    ("specification", "name"),
    [
        ("mqtt://broker.local", f"mqtt broker.local:1883/tfganomaly/{socket.gethostname().partition('.')[0]}"),
        ("mqtt://user@broker:1999/factory/line1/", "mqtt broker:1999/factory/line1"),
        ("mqtts://broker/line%201", "mqtt broker:8883/line 1"),
        ("mqtt://[::1]/line1", "mqtt ::1:1883/line1"),
    ],
)
def test_an_mqtt_address_is_understood(specification: str, name: str) -> None:
    pytest.importorskip("paho.mqtt", reason="the mqtt extra is not installed")
    assert open_sink(specification, DEFAULT).name == name


def test_each_topic_prefix_is_a_client_of_its_own_and_plain_ones_keep_their_name() -> None:
    assert device_id("factory/line1") == "tfganomaly_factory_line1"
    alike = ["factory/line1", "factory_line1", "factory/line-1", "factory/line 1", "factory/line_1", "Factory/Line1"]
    alike += ["fabrik/größe", "fabrik/grosse", "fabrik/gr_e", "ü", "ö", "/", "_"]
    names = [device_id(prefix) for prefix in alike]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z0-9_]+", name) for name in names)
    assert device_id("factory/line-1") == device_id("factory/line-1")


@pytest.mark.parametrize(
    ("specification", "words"),
    [
        ("", "one of these was expected"),
        ("out.jsonl", "one of these was expected"),
        ("jsonl:", "one of these was expected"),
        ("evidence:", "one of these was expected"),
        ("mqtt:broker", "one of these was expected"),
        ("ftp://host/a", "one of these was expected"),
        ("mqtt://", "names no host"),
        ("mqtt://host:0/a", "no usable port"),
        ("mqtt://host:99999/a", "no address"),
        ("mqtt://[::1/a", "no address"),
        ("mqtt://host/a?qos=2", "options of MQTT are flags"),
        ("mqtt://host/a/+/b", "cannot be published to"),
        ("mqtt://host/a//b", "cannot be published to"),
        ("mqtt://host/$SYS", "cannot be published to"),
        ("http://user@host/", "a user, blanks or letters"),
        ("http://host/a b", "a user, blanks or letters"),
        ("http://höst/", "a user, blanks or letters"),
    ],
)
def test_a_wrong_specification_is_one_clear_line(specification: str, words: str) -> None:
    with pytest.raises(SinkError, match=words) as caught:
        open_sink(specification, DEFAULT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["mqtt", "https"])
def test_a_password_on_the_command_line_is_refused_and_not_repeated(scheme: str) -> None:
    with pytest.raises(SinkError, match="holds a password") as caught:
        open_sink(f"{scheme}://user:s3cret@host/a", DEFAULT)
    assert "s3cret" not in str(caught.value)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o644)
    options = SinkOptions(mqtt_password_file=str(secret), webhook_token_file=str(secret))
    for specification in ("mqtt://user@host/a", "https://host/a"):
        with pytest.raises(SinkError, match="Everybody"):
            open_sink(specification, options)
    with pytest.raises(SinkError, match="no user"):
        open_sink("mqtt://host/a", options)
    with pytest.raises(SinkError, match="--sink-ca-file"):
        open_sink("https://host/a", SinkOptions(sink_ca_file=str(secret)))
    secret.chmod(0o600)
    secret.write_text("tök")
    with pytest.raises(SinkError, match="HTTP does not allow"):
        open_sink("https://host/a", SinkOptions(webhook_token_file=str(secret)))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tfganomaly\[mqtt\]'"):
        open_sink("mqtt://host/a", DEFAULT)


def test_a_json_lines_file_takes_the_judgements_that_its_option_names(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = open_sink(f"jsonl:{path}", SinkOptions(jsonl_judgements="anomalous"))
    sink.start()
    sink.deliver(judgement(1, 0.1), None)
    sink.deliver(judgement(2, 0.9), None)
    sink.close(1)
    assert [json.loads(line)["sequence"] for line in path.read_text("utf-8").splitlines()] == [2]


def test_options_out_of_bounds_name_their_flag() -> None:
    with pytest.raises(OptionError, match="--sink-queue"):
        SinkOptions(sink_queue=0)
    with pytest.raises(OptionError, match="--jsonl-judgements"):
        SinkOptions(jsonl_judgements="some")
    with pytest.raises(OptionError, match="--mqtt-judgements"):
        SinkOptions(mqtt_judgements="some")
    with pytest.raises(SinkError, match="--mqtt-discovery-prefix"):
        open_sink("mqtt://host/a", SinkOptions(mqtt_discovery_prefix="a/#"))
