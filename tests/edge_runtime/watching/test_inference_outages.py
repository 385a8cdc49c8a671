"""An interpreter, or a whole loop, that fails or hangs: it is said, and no frame is lost."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edge_runtime.back_off import BackOff
from edge_runtime.errors import BackendError
from edge_runtime.sources.source import Frame
from tests.edge_runtime.watching.conftest import Interpreter, Watch, good, with_interpreter
from tests.edge_runtime.watching.fakes import ListSource, in_background, wait_for


def test_an_interpreter_that_fails_is_loaded_anew_and_the_frame_judged(
    watch: Watch, random: np.random.Generator
) -> None:
    interpreter = Interpreter()
    session, sink = watch(ListSource([good(random), good(random)]), with_interpreter(interpreter))
    interpreter.failures = 1
    assert session.run().judged == 2
    states = [(event.health.state, event.health.message) for event in sink.of("health")]
    assert states == [("failed", "the accelerator has gone"), ("ok", "Inference works again.")]
    assert sink.of("judgement")[0].threshold == 0.2


def test_an_accelerator_that_is_away_costs_no_frame_and_the_loop_stays_alive(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, random: np.random.Generator
) -> None:
    monkeypatch.setattr("edge_runtime.back_off.BackOff.next_seconds", lambda self: 0.1)
    monkeypatch.setattr("edge_runtime.watching.frame_judge._WAIT_SECONDS", 0.05)
    monkeypatch.setattr("edge_runtime.watching.loop._CHORES_EVERY_SECONDS", 0.05)
    interpreter = Interpreter()
    session, sink = watch(ListSource([good(random), good(random)]), with_interpreter(interpreter))
    told: list[str] = []
    monkeypatch.setattr(session.loop._service, "alive", told.append)
    interpreter.failures = 20
    ended = session.run()
    assert (ended.judged, session.loop.statistics.failed) == (2, 0)
    assert len(told) >= 15
    states = [(event.health.component, event.health.state) for event in sink.of("health")]
    assert states == [("inference", "failed"), ("inference", "ok")]
    assert session.loop._renewal_back_off == BackOff()  # the next outage is no continuation of this one


def test_a_frame_that_a_working_interpreter_never_takes_is_given_up(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, random: np.random.Generator
) -> None:
    monkeypatch.setattr("edge_runtime.back_off.BackOff.next_seconds", lambda self: 0.01)
    interpreter = Interpreter()
    source = ListSource([np.full((30, 40), 250, np.uint8), good(random)])
    session, sink = watch(source, with_interpreter(interpreter), frame_checks=False)
    interpreter.refused_value = 250
    ended = session.run()
    assert (ended.judged, session.loop.statistics.failed, source.given_back) == (1, 1, 0)
    assert any("but not this one" in event.health.message for event in sink.of("health"))
    assert session.board.overall() == "ok"


def test_an_inference_that_hangs_is_said_while_it_hangs(watch: Watch, random: np.random.Generator) -> None:
    interpreter = Interpreter()
    session, sink = watch(
        ListSource([good(random), good(random)]), with_interpreter(interpreter), inference_limit_seconds=0.1
    )
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
    watch: Watch, monkeypatch: pytest.MonkeyPatch, random: np.random.Generator
) -> None:
    monkeypatch.setattr("edge_runtime.back_off.BackOff.next_seconds", lambda self: 0.05)
    interpreter = Interpreter()
    session, sink = watch(ListSource([good(random)]), with_interpreter(interpreter), inference_limit_seconds=0.1)
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


def test_an_upload_that_failed_before_the_model_was_loaded_again_does_not_keep_frames_from_being_well(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, random: np.random.Generator
) -> None:
    monkeypatch.setattr("edge_runtime.back_off.BackOff.next_seconds", lambda self: 0.01)
    monkeypatch.setattr("edge_runtime.watching.loop._CHORES_EVERY_SECONDS", 0.05)
    interpreter, source = Interpreter(), ListSource([], ends=False)
    session, sink = watch(source, with_interpreter(interpreter), inference_limit_seconds=0.1)
    thread = in_background(session.run)
    with pytest.raises(BackendError), session.watchdog.inference("uploads"):
        raise BackendError("the accelerator has gone")
    session.loop.renew_model("the accelerator has gone")
    wait_for(lambda: [event.health.state for event in sink.of("health")] == ["failed", "ok"])
    interpreter.wait_seconds = 0.3
    source.push(good(random))
    wait_for(lambda: sink.of("judgement"))
    assert [event.health.state for event in sink.of("health")] == ["failed", "ok", "failed", "ok"]
    session.loop.stop("enough")
    thread.join(10)


def test_a_loop_that_hangs_in_its_source_is_said_until_it_goes_on(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, random: np.random.Generator
) -> None:
    monkeypatch.setattr("edge_runtime.watching.loop._CHORES_EVERY_SECONDS", 0.05)
    monkeypatch.setattr("edge_runtime.watching.hang_watchdog._LOOP_LIMIT_SECONDS", 1.0)
    answers = threading.Event()

    class DeadDrive(ListSource):
        def next_frame(self, timeout_seconds: float) -> Frame | None:
            answers.wait()
            return super().next_frame(timeout_seconds)

    session, sink = watch(DeadDrive([good(random)], ends=False))
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


def test_a_frame_that_waits_for_the_interpreter_at_the_end_is_given_back(
    watch: Watch, random: np.random.Generator
) -> None:
    interpreter = Interpreter()
    source = ListSource([good(random), good(random)])
    session, sink = watch(source, with_interpreter(interpreter))
    interpreter.failures = 10**6
    thread = in_background(session.run)
    wait_for(lambda: sink.of("health"))
    session.loop.stop("enough")
    thread.join(10)
    assert (session.loop.statistics.judged, session.loop.statistics.failed, source.given_back) == (0, 0, 1)
