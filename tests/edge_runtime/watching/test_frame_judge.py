"""What a watch makes of one frame after the other: judgements, alarms, blind frames, a changed scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.artefact import write_artefact
from edge_runtime.detector import AnomalyDetector
from edge_runtime.sources.source import Frame
from edge_runtime.watching.options import WatchOptions
from edge_runtime.watching.session import WatchSession
from tests.edge_runtime.conftest import cached_flatbuffer
from tests.edge_runtime.tiny_model import tiny_calibration, tiny_metadata
from tests.edge_runtime.watching.conftest import Watch, bad, good
from tests.edge_runtime.watching.fakes import ListSink, ListSource, in_background, wait_for


def test_good_and_bad_lie_on_both_sides_of_the_threshold(artefact_path: Path, random: np.random.Generator) -> None:
    detector = AnomalyDetector(artefact_path)
    assert max(detector.detect(good(random)).score for _ in range(20)) < 0.1
    assert min(detector.detect(bad(random)).score for _ in range(20)) > 0.5


def test_every_frame_is_judged_once_in_order_and_the_alarm_follows(watch: Watch, random: np.random.Generator) -> None:
    frames = [good(random), good(random), bad(random), bad(random), good(random), good(random), good(random)]
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


def test_a_judgement_says_what_the_detector_says_and_carries_its_pictures(
    watch: Watch, artefact_path: Path, random: np.random.Generator
) -> None:
    picture = bad(random)
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


def test_region_and_rotation_come_before_the_model(watch: Watch, random: np.random.Generator) -> None:
    picture = good(random)
    picture[:, :10] = 255  # a bright edge outside of the region
    session, sink = watch(ListSource([picture]), roi="10,0,30,30", rotate="90")
    session.run()
    (judgement,) = sink.of("judgement")
    assert not judgement.is_anomaly
    evidence = sink.evidence[sink.events.index(judgement)]
    assert evidence is not None
    np.testing.assert_array_equal(np.asarray(evidence.frame), np.rot90(picture[:, 10:], -1))


def test_a_bad_frame_is_reported_and_ends_nothing(
    watch: Watch, capsys: pytest.CaptureFixture[str], random: np.random.Generator
) -> None:
    broken = Frame("broken.png", b"\x89PNG\r\n\x1a\nbut cut short")
    strange = Frame("strange", np.zeros((4, 4, 7), np.uint8))
    session, sink = watch(ListSource([good(random), broken, strange, good(random)]))
    ended = session.run()
    assert (ended.judged, ended.unreadable) == (2, 2)
    assert [event.frame for event in sink.of("unreadable")] == ["broken.png", "strange"]
    assert "'broken.png' is damaged" in sink.of("unreadable")[0].reason


def test_an_error_that_nobody_thought_of_costs_one_frame(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, random: np.random.Generator
) -> None:
    session, sink = watch(ListSource([good(random), good(random), good(random)]))
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
    watch: Watch, monkeypatch: pytest.MonkeyPatch, random: np.random.Generator
) -> None:
    session, sink = watch(ListSource([good(random) for _ in range(26)]))
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


def test_when_no_frame_can_be_judged_health_says_so_once_and_until_one_can(
    watch: Watch, random: np.random.Generator
) -> None:
    small, fits = good(random)[:20, :20], good(random)
    session, sink = watch(ListSource([*[small] * 25, fits, *[small] * 3]), roi="10,0,30,30")
    ended = session.run()
    assert (ended.judged, ended.unreadable) == (1, 28)
    failed, again = [event.health for event in sink.of("health")]
    assert (failed.component, failed.state) == ("frames", "failed")
    assert "None of the latest 10 frames could be judged" in failed.message
    assert again.state == "ok"
    # A camera says the same of each frame, so it is an event once.
    assert [event.frame for event in sink.of("unreadable")] == ["frame 1"]


def test_blind_frames_raise_no_alarm_and_are_said(watch: Watch, random: np.random.Generator) -> None:
    black = [np.zeros((30, 40), np.uint8) + random.integers(0, 3, (30, 40), np.uint8) for _ in range(5)]
    session, sink = watch(
        ListSource([good(random), *black, good(random)]), threshold=-1.0, alarm_frames=3, alarm_window=5
    )
    assert session.run().judged == 7
    assert sink.of("alarm") == []
    assert [event.is_blind for event in sink.of("judgement")] == [False, *[True] * 5, False]
    assert [event.shows_defect for event in sink.of("judgement")] == [True, *[False] * 5, True]
    assert session.loop.statistics.anomalous == 2
    assert [event.health.state for event in sink.of("health")] == ["failed", "ok"]
    assert "black" in sink.of("health")[0].health.message
    unchecked, unchecked_sink = watch(
        ListSource([good(random), *black, good(random)]),
        threshold=-1.0,
        alarm_frames=3,
        alarm_window=5,
        frame_checks=False,
    )
    unchecked.run()
    assert len(unchecked_sink.of("alarm")) == 1


def test_a_changed_scene_is_an_event_and_marks_alarms_as_doubtful(
    make_artefact: Callable[..., Path], tmp_path: Path, random: np.random.Generator
) -> None:
    scores = np.sort([AnomalyDetector(make_artefact()).detect(good(random)).score for _ in range(101)])
    calibration = tiny_calibration(
        score_quantiles=tuple(scores.tolist()), score_min=scores[0], score_max=scores[-1], threshold=float(scores[-1])
    )
    path = make_artefact(calibration=calibration)
    noisy = [(good(random) + random.normal(0, 50, (30, 40))).clip(0, 255).astype(np.uint8) for _ in range(200)]
    sink = ListSink()
    options = WatchOptions(drift_window=60, summary_seconds=0.0, alarm_frames=60, alarm_window=60)
    frames = [good(random) for _ in range(120)] + noisy
    WatchSession(path, ListSource(frames), options, AnomalyDetector, [lambda controls: sink]).run()
    (changed,) = sink.of("scene")
    assert changed.changed
    judgements = sink.of("judgement")
    assert not any(judgement.scene_changed for judgement in judgements[:120])
    assert judgements[-1].scene_changed
    (alarm,) = sink.of("alarm")
    assert "the scene has changed, so this may be no defect" in alarm.reason


def test_another_calibration_ends_a_changed_scene_with_an_event(
    make_artefact: Callable[..., Path], random: np.random.Generator
) -> None:
    path = make_artefact(calibration=tiny_calibration(score_quantiles=(0.0,) * 100 + (1e-9,), score_max=1e-9))
    sink, source = ListSink(), ListSource([good(random) for _ in range(60)], ends=False)
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
