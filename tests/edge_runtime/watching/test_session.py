"""A whole watch on a fake source: how it starts, keeps time, tells others, ends."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import ArtefactError, OptionError, SinkError
from edge_runtime.sinks.evidence import EvidenceSink
from edge_runtime.sources.source import SOURCE_COMPONENT
from edge_runtime.watching.events import ComponentHealth
from edge_runtime.watching.options import WatchOptions
from edge_runtime.watching.session import WatchSession
from edge_runtime.watching.signals import signals_for
from tests.edge_runtime.watching.conftest import Watch, bad, good
from tests.edge_runtime.watching.fakes import ListSink, ListSource, in_background, wait_for


def test_outages_of_source_and_sinks_are_health_and_nothing_ends(watch: Watch, random: np.random.Generator) -> None:
    source = ListSource([good(random)], ends=False)
    session, sink = watch(source)
    thread = in_background(session.run)
    wait_for(lambda: len(sink.of("judgement")) == 1)
    source.state = ComponentHealth(SOURCE_COMPONENT, "failed", "unplugged")
    sink.state = ComponentHealth("list", "degraded", "the broker is down")
    wait_for(lambda: len(sink.of("health")) == 2)
    assert session.board.overall() == "failed"
    assert [health.component for health in session.board.components()][:2] == ["source", "list"]
    source.state, sink.state = ComponentHealth(SOURCE_COMPONENT, "ok"), ComponentHealth("list", "ok")
    wait_for(lambda: session.board.overall() == "ok")
    session.loop.stop("enough")
    thread.join(10)
    assert source.closed


class PassingTime:
    """A clock that only waiting moves, and a camera that drops a frame whenever somebody waits."""

    def __init__(self, source: ListSource) -> None:
        self.seconds = 100.0
        self._source = source

    def now(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self._source.dropped += not self._source.exhausted


def test_seconds_between_frames_are_kept_and_what_is_passed_over_is_not_called_dropped(
    watch: Watch, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ListSource([good(random) for _ in range(4)])
    session, sink = watch(source, every="450ms")
    time = PassingTime(source)
    monkeypatch.setattr("edge_runtime.watching.loop.monotonic", time.now)
    monkeypatch.setattr(session.loop._stop, "wait", time.wait)
    judged_seconds: list[float] = []
    monkeypatch.setattr(sink, "deliver", lambda event, evidence: judged_seconds.append(time.seconds))
    ended = session.run()
    assert np.diff(judged_seconds[1:-1]) == pytest.approx([0.45] * 3)  # between the start and the end
    assert (source.dropped > 0, ended.dropped) == (True, 0)


def test_signals_stop_the_loop_or_make_it_read_its_model_again(watch: Watch, random: np.random.Generator) -> None:
    source = ListSource([good(random)], ends=False)
    session, sink = watch(source)

    def send() -> None:
        wait_for(lambda: len(sink.of("judgement")) == 1)
        os.kill(os.getpid(), signal.SIGHUP)
        wait_for(lambda: len(sink.of("model")) == 1)
        os.kill(os.getpid(), signal.SIGTERM)

    former = signal.getsignal(signal.SIGTERM)
    with signals_for(session.loop):
        in_background(send)
        ended = session.run()
    assert ended.reason == "stopped by SIGTERM"
    assert session.loop.threshold == 0.5  # the artefact's own
    assert signal.getsignal(signal.SIGTERM) == former


def test_a_service_manager_is_told(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random: np.random.Generator
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        session, _ = watch(ListSource([good(random)]))
        session.run()
        manager.setblocking(False)
        messages = []
        while True:
            try:
                messages.append(manager.recv(1000).decode())
            except BlockingIOError:
                break
    assert messages[0] == "READY=1"
    assert messages[-1] == "STOPPING=1"
    assert any(message.startswith("WATCHDOG=1\nSTATUS=") for message in messages)


def test_what_the_user_wrote_is_checked_before_anything_starts(artefact_path: Path, tmp_path: Path) -> None:
    threads = threading.active_count()
    for options, word in (
        ({"roi": "1,2"}, "--roi"),
        ({"every": "x"}, "--every"),
        ({"alarm_frames": 9}, "--alarm-frames"),
    ):
        with pytest.raises(OptionError, match=word):
            WatchSession(artefact_path, str(tmp_path), WatchOptions(**options), AnomalyDetector)
    with pytest.raises(ArtefactError, match="does not exist"):
        WatchSession(tmp_path / "none.tflite", str(tmp_path), WatchOptions(), AnomalyDetector)
    with pytest.raises(SinkError, match="given twice"):
        WatchSession(artefact_path, str(tmp_path), WatchOptions(), AnomalyDetector, [lambda _: ListSink()] * 2)
    evidence = tmp_path / "new/evidence"
    with pytest.raises(OptionError, match=r"evidence is in the watched folder '.*a folder outside of it was expected"):
        WatchSession(
            artefact_path,
            str(tmp_path),
            WatchOptions(),
            AnomalyDetector,
            [lambda _: EvidenceSink(evidence, max_bytes=1, around_alarm=0)],
        )
    assert not evidence.exists()
    assert threading.active_count() == threads


def test_without_a_sink_for_judgements_alarms_are_said_all_the_same(
    artefact_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, random: np.random.Generator
) -> None:
    monkeypatch.setattr("edge_runtime.watching.console_log.LOGGER.propagate", True)
    options = WatchOptions(threshold=0.2, alarm_frames=1, alarm_window=1, clear_frames=1, summary_seconds=0.0)
    session = WatchSession(
        artefact_path, ListSource([good(random), bad(random), good(random)]), options, AnomalyDetector
    )
    with caplog.at_level("INFO", logger="tfganomaly.watch"):
        ended = session.run()
    assert (ended.judged, ended.anomalous, ended.alarms) == (3, 1, 1)
    lines = [record.getMessage() for record in caplog.records]
    assert "ALARM the frame is anomalous (frame 2)" in lines
    assert any(line.startswith("alarm cleared") and line.endswith("(frame 3)") for line in lines)
