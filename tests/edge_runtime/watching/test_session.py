"""A whole watch on a fake source: what it judges, decides, reports, survives."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.artefact import write_artefact
from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import ArtefactError, BackendError, CalibrationError, OptionError, SinkError
from edge_runtime.sinks.evidence import EvidenceSink
from edge_runtime.sources.source import SOURCE_COMPONENT, Frame
from edge_runtime.watching.events import ComponentHealth
from edge_runtime.watching.options import WatchOptions
from edge_runtime.watching.session import WatchSession
from edge_runtime.watching.signals import signals_for
from tests.edge_runtime.conftest import FakeBackend, cached_flatbuffer
from tests.edge_runtime.tiny_model import tiny_calibration, tiny_metadata
from tests.edge_runtime.watching.fakes import ListSink, ListSource, in_background, wait_for

RANDOM = np.random.default_rng(0)
DIRT = np.random.default_rng(13).integers(0, 2, (22, 32)) * 255


def good() -> np.ndarray:
    return (np.tile(np.linspace(60, 180, 40), (30, 1)) + RANDOM.normal(0, 2, (30, 40))).astype(np.uint8)


def bad() -> np.ndarray:
    marked = good()
    marked[4:26, 4:36] = DIRT
    return marked


@pytest.fixture
def watch(artefact_path: Path) -> Callable[..., tuple[WatchSession, ListSink]]:
    """A function that puts a watch together whose threshold lies between good and bad."""

    def make(
        source: ListSource, loader: Callable[[Path], AnomalyDetector] = AnomalyDetector, **options: object
    ) -> tuple[WatchSession, ListSink]:
        sink = ListSink()
        values: dict[str, object] = {"threshold": 0.2, "summary_seconds": 0.0, "drift_window": 0, **options}
        session = WatchSession(artefact_path, source, WatchOptions(**values), loader, [lambda controls: sink])
        return session, sink

    return make


Watch = Callable[..., tuple[WatchSession, ListSink]]


def test_good_and_bad_lie_on_both_sides_of_the_threshold(artefact_path: Path) -> None:
    detector = AnomalyDetector(artefact_path)
    assert max(detector.detect(good()).score for _ in range(20)) < 0.1
    assert min(detector.detect(bad()).score for _ in range(20)) > 0.5


def test_every_frame_is_judged_once_in_order_and_the_alarm_follows(watch: Watch) -> None:
    frames = [good(), good(), bad(), bad(), good(), good(), good()]
    session, sink = watch(ListSource(frames), alarm_frames=2, alarm_window=3, clear_frames=2)
    ended = session.run()
    judgements = sink.of("judgement")
    assert [judgement.sequence for judgement in judgements] == [1, 2, 3, 4, 5, 6, 7]
    assert [judgement.is_anomaly for judgement in judgements] == [False, False, True, True, False, False, False]
    assert [judgement.alarm for judgement in judgements] == ["off", "off", "off", "on", "on", "off", "off"]
    raised, cleared = sink.of("alarm")
    assert (raised.alarm, raised.number, raised.anomalous_frames, raised.window_frames) == ("on", 1, 2, 3)
    assert raised.judgement is judgements[3]
    assert cleared.alarm == "off"
    assert (ended.judged, ended.anomalous, ended.alarms, ended.reason) == (7, 2, 1, "the source has ended")
    assert sink.events[0].kind == "started"
    assert sink.events[-1] is ended
    assert sink.closed
    assert all(event.to_dict()["event"] == event.kind for event in sink.events)


def test_a_judgement_says_what_the_detector_says_and_carries_its_pictures(watch: Watch, artefact_path: Path) -> None:
    picture = bad()
    session, sink = watch(ListSource([picture]))
    session.run()
    (judgement,) = sink.of("judgement")
    detection = AnomalyDetector(artefact_path).detect(picture)
    assert (judgement.score, judgement.normalised_score) == (detection.score, detection.normalised_score)
    assert (judgement.source, judgement.frame, judgement.threshold) == ("list", "frame 1", 0.2)
    assert len(judgement.model_sha256) == 12
    evidence = sink.evidence[sink.events.index(judgement)]
    assert evidence is not None
    np.testing.assert_array_equal(np.asarray(evidence.frame), picture)
    assert evidence.heatmap.mode == "RGB"
    assert evidence.heatmap.size == (40, 30)
    assert [image.size for image in evidence.thumbnails(20)] == [(20, 15), (20, 15)]
    assert evidence.frame.size == (40, 30)


def test_region_and_rotation_come_before_the_model(watch: Watch) -> None:
    picture = good()
    picture[:, :10] = 255  # a bright edge outside of the region
    session, sink = watch(ListSource([picture]), roi="10,0,30,30", rotate="90")
    session.run()
    (judgement,) = sink.of("judgement")
    assert not judgement.is_anomaly
    evidence = sink.evidence[sink.events.index(judgement)]
    assert evidence is not None
    np.testing.assert_array_equal(np.asarray(evidence.frame), np.rot90(picture[:, 10:], -1))


def test_a_bad_frame_is_reported_and_ends_nothing(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Frame("broken.png", b"\x89PNG\r\n\x1a\nbut cut short")
    strange = Frame("strange", np.zeros((4, 4, 7), np.uint8))
    session, sink = watch(ListSource([good(), broken, strange, good()]))
    ended = session.run()
    assert (ended.judged, ended.unreadable) == (2, 2)
    assert [event.frame for event in sink.of("unreadable")] == ["broken.png", "strange"]
    assert "'broken.png' is damaged" in sink.of("unreadable")[0].reason


def test_an_error_that_nobody_thought_of_costs_one_frame(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    session, sink = watch(ListSource([good(), good(), good()]))
    examine = AnomalyDetector.examine
    calls = iter([None, ZeroDivisionError("odd"), None])

    def sometimes(self: AnomalyDetector, image: object, *, with_map: bool) -> object:
        error = next(calls)
        if error:
            raise error
        return examine(self, image, with_map=with_map)  # type: ignore[arg-type]

    monkeypatch.setattr(AnomalyDetector, "examine", sometimes)
    assert session.run().judged == 2
    assert session.loop.statistics.failed == 1
    health, again = [event.health for event in sink.of("health")]
    assert (health.component, health.state) == ("frames", "degraded")
    assert "ZeroDivisionError: odd" in health.message
    assert (again.component, again.state) == ("frames", "ok")


def test_frames_that_fail_alike_are_one_event_and_failed_until_one_can_be_judged(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, sink = watch(ListSource([good() for _ in range(26)]))
    examine = AnomalyDetector.examine
    calls = iter(range(26))

    def at_last(self: AnomalyDetector, image: object, *, with_map: bool) -> object:
        if next(calls) < 25:
            raise ZeroDivisionError("odd")
        return examine(self, image, with_map=with_map)  # type: ignore[arg-type]

    monkeypatch.setattr(AnomalyDetector, "examine", at_last)
    assert session.run().judged == 1
    assert session.loop.statistics.failed == 25
    assert [event.health.state for event in sink.of("health")] == ["degraded", "failed", "ok"]


def test_when_no_frame_can_be_judged_health_says_so_once_and_until_one_can(watch: Watch) -> None:
    small, fits = good()[:20, :20], good()
    session, sink = watch(ListSource([*[small] * 25, fits, *[small] * 3]), roi="10,0,30,30")
    ended = session.run()
    assert (ended.judged, ended.unreadable) == (1, 28)
    failed, again = [event.health for event in sink.of("health")]
    assert (failed.component, failed.state) == ("frames", "failed")
    assert "None of the latest 10 frames could be judged" in failed.message
    assert again.state == "ok"
    # A camera says the same of each frame, so it is an event once.
    assert [event.frame for event in sink.of("unreadable")] == ["frame 1"]


def test_blind_frames_raise_no_alarm_and_are_said(watch: Watch) -> None:
    black = [np.zeros((30, 40), np.uint8) + RANDOM.integers(0, 3, (30, 40), np.uint8) for _ in range(5)]
    session, sink = watch(ListSource([good(), *black, good()]), threshold=-1.0, alarm_frames=3, alarm_window=5)
    assert session.run().judged == 7
    assert sink.of("alarm") == []
    assert [event.is_blind for event in sink.of("judgement")] == [False, *[True] * 5, False]
    assert [event.shows_defect for event in sink.of("judgement")] == [True, *[False] * 5, True]
    assert session.loop.statistics.anomalous == 2
    assert [event.health.state for event in sink.of("health")] == ["failed", "ok"]
    assert "black" in sink.of("health")[0].health.message
    unchecked, unchecked_sink = watch(
        ListSource([good(), *black, good()]), threshold=-1.0, alarm_frames=3, alarm_window=5, frame_checks=False
    )
    unchecked.run()
    assert len(unchecked_sink.of("alarm")) == 1


def test_a_changed_scene_is_an_event_and_marks_alarms_as_doubtful(
    make_artefact: Callable[..., Path], tmp_path: Path
) -> None:
    scores = np.sort([AnomalyDetector(make_artefact()).detect(good()).score for _ in range(101)])
    calibration = tiny_calibration(
        score_quantiles=tuple(scores.tolist()), score_min=scores[0], score_max=scores[-1], threshold=float(scores[-1])
    )
    path = make_artefact(calibration=calibration)
    noisy = [(good() + RANDOM.normal(0, 50, (30, 40))).clip(0, 255).astype(np.uint8) for _ in range(200)]
    sink = ListSink()
    options = WatchOptions(drift_window=60, summary_seconds=0.0, alarm_frames=60, alarm_window=60)
    frames = [good() for _ in range(120)] + noisy
    WatchSession(path, ListSource(frames), options, AnomalyDetector, [lambda controls: sink]).run()
    (changed,) = sink.of("scene")
    assert changed.changed
    judgements = sink.of("judgement")
    assert not any(judgement.scene_changed for judgement in judgements[:120])
    assert judgements[-1].scene_changed
    (alarm,) = sink.of("alarm")
    assert "the scene has changed, so this may be no defect" in alarm.reason


def test_another_calibration_ends_a_changed_scene_with_an_event(make_artefact: Callable[..., Path]) -> None:
    path = make_artefact(calibration=tiny_calibration(score_quantiles=(0.0,) * 100 + (1e-9,), score_max=1e-9))
    sink, source = ListSink(), ListSource([good() for _ in range(60)], ends=False)
    options = WatchOptions(drift_window=40, summary_seconds=0.0)
    session = WatchSession(path, source, options, AnomalyDetector, [lambda controls: sink])
    thread = in_background(session.run)
    wait_for(lambda: len(sink.of("judgement")) == 60)
    write_artefact(path, cached_flatbuffer(16, 1), tiny_metadata(16, calibration=tiny_calibration(threshold=0.33)))
    session.loop.reload_model()
    wait_for(lambda: len(sink.of("model")) == 1)
    session.loop.stop("enough")
    thread.join(10)
    assert [event.changed for event in sink.of("scene")] == [True, False]
    assert not session.loop.scene_changed


def test_the_threshold_and_the_alarm_can_be_changed_from_another_thread(watch: Watch) -> None:
    source = ListSource([bad()], ends=False)
    session, sink = watch(source, alarm_frames=1, alarm_window=1)
    thread = in_background(session.run)
    wait_for(lambda: len(sink.of("judgement")) == 1)
    session.loop.clear_alarm("mqtt")
    wait_for(lambda: len(sink.of("alarm")) == 2)
    assert sink.of("alarm")[1].reason == "by hand (mqtt)"
    session.loop.set_threshold(1e6, "http")
    wait_for(lambda: session.loop.threshold == 1e6)
    source.push(bad())
    wait_for(lambda: len(sink.of("judgement")) == 2)
    assert not sink.of("judgement")[1].is_anomaly
    (event,) = sink.of("threshold")
    assert (event.threshold, event.previous, event.origin) == (1e6, 0.2, "http")
    with pytest.raises(CalibrationError, match="finite"):
        session.loop.set_threshold(float("nan"), "http")
    session.loop.stop("enough")
    thread.join(10)
    assert sink.events[-1].reason == "enough"


def test_a_new_artefact_is_taken_over_between_two_frames(watch: Watch, artefact_path: Path, tmp_path: Path) -> None:
    source = ListSource([good()], ends=False)
    session, sink = watch(source)
    thread = in_background(session.run)
    wait_for(lambda: len(sink.of("judgement")) == 1)
    new = tmp_path / "new.tflite"
    write_artefact(new, cached_flatbuffer(16, 1), tiny_metadata(16, calibration=tiny_calibration(threshold=0.33)))
    new.rename(artefact_path)
    wait_for(lambda: len(sink.of("model")) == 1)
    source.push(good())
    wait_for(lambda: len(sink.of("judgement")) == 2)
    before, after = sink.of("judgement")
    assert after.model_sha256 != before.model_sha256
    assert after.threshold == 0.33
    assert [(event.threshold, event.previous, event.origin) for event in sink.of("threshold")] == [(0.33, 0.2, "model")]
    session.loop.stop("enough")
    thread.join(10)


def test_a_broken_artefact_is_refused_and_the_old_one_goes_on(watch: Watch, artefact_path: Path) -> None:
    sound = artefact_path.read_bytes()
    source = ListSource([good()], ends=False)
    session, sink = watch(source)
    thread = in_background(session.run)
    wait_for(lambda: len(sink.of("judgement")) == 1)
    artefact_path.write_bytes(sound[: len(sound) // 2])
    wait_for(lambda: len(sink.of("health")) == 1)
    health = sink.of("health")[0].health
    assert (health.component, health.state) == ("model", "degraded")
    assert "refused, the former one goes on" in health.message
    source.push(good())
    wait_for(lambda: len(sink.of("judgement")) == 2)
    assert sink.of("judgement")[1].model_sha256 == sink.of("judgement")[0].model_sha256
    artefact_path.write_bytes(sound)
    wait_for(lambda: len(sink.of("health")) == 2)
    assert sink.of("health")[1].health.state == "ok"
    session.loop.stop("enough")
    thread.join(10)


class Interpreter(FakeBackend):
    """Fails or waits when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.refused_value = -1
        self.wait_seconds = 0.0

    def run(self, pixels: np.ndarray, wanted: Sequence[int] | None = None) -> list[np.ndarray]:
        time.sleep(self.wait_seconds)
        if pixels.max() == self.refused_value:
            raise BackendError("not this picture")
        if self.failures:
            self.failures -= 1
            raise BackendError("the accelerator has gone")
        return super().run(pixels, wanted)


def with_interpreter(interpreter: Interpreter) -> Callable[[Path], AnomalyDetector]:
    return lambda path: AnomalyDetector(path, backend_loader=lambda flatbuffer, threads: interpreter)


def test_an_interpreter_that_fails_is_loaded_anew_and_the_frame_judged(watch: Watch) -> None:
    interpreter = Interpreter()
    session, sink = watch(ListSource([good(), good()]), with_interpreter(interpreter))
    interpreter.failures = 1
    assert session.run().judged == 2
    states = [(event.health.state, event.health.message) for event in sink.of("health")]
    assert states == [("failed", "the accelerator has gone"), ("ok", "Inference works again.")]
    assert sink.of("judgement")[0].threshold == 0.2


def test_an_accelerator_that_is_away_costs_no_frame_and_the_loop_stays_alive(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.sources.back_off.BackOff.next_seconds", lambda self: 0.1)
    monkeypatch.setattr("edge_runtime.watching.frame_judge._WAIT_SECONDS", 0.05)
    monkeypatch.setattr("edge_runtime.watching.loop._CHORES_EVERY_SECONDS", 0.05)
    interpreter = Interpreter()
    session, sink = watch(ListSource([good(), good()]), with_interpreter(interpreter))
    told: list[str] = []
    monkeypatch.setattr(session.loop._service, "alive", told.append)
    interpreter.failures = 20
    ended = session.run()
    assert (ended.judged, session.loop.statistics.failed) == (2, 0)
    assert len(told) >= 15
    states = [(event.health.component, event.health.state) for event in sink.of("health")]
    assert states == [("inference", "failed"), ("inference", "ok")]


def test_a_frame_that_waits_for_the_interpreter_at_the_end_is_given_back(watch: Watch) -> None:
    interpreter = Interpreter()
    source = ListSource([good(), good()])
    session, sink = watch(source, with_interpreter(interpreter))
    interpreter.failures = 10**6
    thread = in_background(session.run)
    wait_for(lambda: sink.of("health"))
    session.loop.stop("enough")
    thread.join(10)
    assert (session.loop.statistics.judged, session.loop.statistics.failed, source.given_back) == (0, 0, 1)


def test_a_frame_that_a_working_interpreter_never_takes_is_given_up(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.sources.back_off.BackOff.next_seconds", lambda self: 0.01)
    interpreter = Interpreter()
    source = ListSource([np.full((30, 40), 250, np.uint8), good()])
    session, sink = watch(source, with_interpreter(interpreter), frame_checks=False)
    interpreter.refused_value = 250
    ended = session.run()
    assert (ended.judged, session.loop.statistics.failed, source.given_back) == (1, 1, 0)
    assert any("but not this one" in event.health.message for event in sink.of("health"))
    assert session.board.overall() == "ok"


def test_an_inference_that_hangs_is_said_while_it_hangs(watch: Watch) -> None:
    interpreter = Interpreter()
    session, sink = watch(ListSource([good(), good()]), with_interpreter(interpreter), inference_limit_seconds=0.1)
    interpreter.wait_seconds = 0.5
    thread = in_background(session.run)
    wait_for(lambda: sink.of("health"))
    assert sink.of("judgement") == []
    health = sink.of("health")[0].health
    assert (health.component, health.state) == ("inference", "failed")
    assert "longer than 0.1 s" in health.message
    thread.join(10)
    assert len(sink.of("judgement")) == 2
    assert sink.of("health")[-1].health.state == "ok"


def test_a_late_inference_that_fails_is_not_called_well_before_one_succeeds(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.sources.back_off.BackOff.next_seconds", lambda self: 0.05)
    interpreter = Interpreter()
    session, sink = watch(ListSource([good()]), with_interpreter(interpreter), inference_limit_seconds=0.1)
    interpreter.wait_seconds, interpreter.failures = 0.3, 10**6
    thread = in_background(session.run)
    wait_for(lambda: interpreter.failures < 10**6 - 2)  # it was loaded again and failed again
    health = [(event.health.component, event.health.state) for event in sink.of("health")]
    assert health == [("inference", "failed"), ("inference", "failed")]
    assert "longer than 0.1 s" in sink.of("health")[0].health.message
    assert sink.of("health")[1].health.message == "the accelerator has gone"
    assert session.board.overall() == "failed"
    interpreter.wait_seconds, interpreter.failures = 0.0, 0
    thread.join(20)
    assert len(sink.of("judgement")) == 1
    assert session.board.overall() == "ok"


def test_a_loop_that_hangs_in_its_source_is_said_until_it_goes_on(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.watching.loop._CHORES_EVERY_SECONDS", 0.05)
    monkeypatch.setattr("edge_runtime.watching.hang_watchdog._LOOP_LIMIT_SECONDS", 1.0)
    answers = threading.Event()

    class DeadDrive(ListSource):
        def next_frame(self, timeout_seconds: float) -> Frame | None:
            answers.wait()
            return super().next_frame(timeout_seconds)

    session, sink = watch(DeadDrive([good()], ends=False))
    thread = in_background(session.run)
    wait_for(lambda: sink.of("health"))
    health = sink.of("health")[0].health
    assert (health.component, health.state) == ("loop", "failed")
    assert "nothing is judged" in health.message
    assert session.board.overall() == "failed"
    answers.set()
    wait_for(lambda: session.board.overall() == "ok")
    session.loop.stop("enough")
    thread.join(10)
    assert len(sink.of("judgement")) == 1


def test_outages_of_source_and_sinks_are_health_and_nothing_ends(watch: Watch) -> None:
    source = ListSource([good()], ends=False)
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


def test_seconds_between_frames_are_kept_and_what_is_passed_over_is_not_called_dropped(watch: Watch) -> None:
    source = ListSource([good() for _ in range(4)])
    session, sink = watch(source, every="150ms")
    session.run()
    times = [judgement.time for judgement in sink.of("judgement")]
    assert all((after - before).total_seconds() >= 0.149 for before, after in pairwise(times))
    assert len(times) == 4


def test_signals_stop_the_loop_or_make_it_read_its_model_again(watch: Watch) -> None:
    source = ListSource([good()], ends=False)
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


def test_a_service_manager_is_told(watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        session, _ = watch(ListSource([good()]))
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
    artefact_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.watching.console_log.LOGGER.propagate", True)
    options = WatchOptions(threshold=0.2, alarm_frames=1, alarm_window=1, clear_frames=1, summary_seconds=0.0)
    session = WatchSession(artefact_path, ListSource([good(), bad(), good()]), options, AnomalyDetector)
    with caplog.at_level("INFO", logger="tfganomaly.watch"):
        ended = session.run()
    assert (ended.judged, ended.anomalous, ended.alarms) == (3, 1, 1)
    lines = [record.getMessage() for record in caplog.records]
    assert "ALARM 1 of the latest 1 frames are anomalous (frame 2)" in lines
    assert any(line.startswith("alarm cleared") and line.endswith("(frame 3)") for line in lines)
