"""The loop: one frame after the other is taken from a source and judged, until somebody says stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from edge_runtime.back_off import BackOff
from edge_runtime.calibration import check_threshold
from edge_runtime.sources.pacing import Pacing
from edge_runtime.sources.source import Source
from edge_runtime.version import __version__
from edge_runtime.watching.decision import AlarmDecider
from edge_runtime.watching.event_hub import EventHub
from edge_runtime.watching.events import AlarmState, ComponentHealth, WatchEnded, WatchStarted, utc_now
from edge_runtime.watching.frame_judge import FrameJudge
from edge_runtime.watching.hang_watchdog import INFERENCE_COMPONENT, HangWatchdog
from edge_runtime.watching.health_board import HealthBoard
from edge_runtime.watching.model_slot import ModelSlot
from edge_runtime.watching.service_manager import ServiceManager
from edge_runtime.watching.statistics import WatchStatistics

LOGGER = logging.getLogger("tfganomaly.watch")
MODEL_COMPONENT = "model"
_CHORES_EVERY_SECONDS = 1.0
_WAIT_SECONDS = 0.2  # how soon a stop is noticed while no frame comes


class WatchLoop:
    """Judges frames until it is stopped or the source ends.

    `run` belongs to one thread. What it offers besides may be called from any, and takes effect between two frames.

    Args:
        source: Where frames come from; started.
        judge: What judges them.
        model: What the judge judges with; watched for a new artefact.
        hub: Where events go.
        board: Where health goes.
        pacing: Which frames are judged.
        decider: The alarm that the judge decides on.
        watchdog: Is told that the loop goes on.
        summary_seconds: Time between two summary lines in the log; 0: none.
        service: Who is told that the loop is alive.
        outlives_source: Whether the loop goes on, without frames, after the source has ended.
        stop: Set when the watch is to end.
    """

    def __init__(
        self,
        *,
        source: Source,
        judge: FrameJudge,
        model: ModelSlot,
        hub: EventHub,
        board: HealthBoard,
        pacing: Pacing,
        decider: AlarmDecider,
        watchdog: HangWatchdog,
        summary_seconds: float,
        service: ServiceManager,
        outlives_source: bool,
        stop: threading.Event,
    ) -> None:
        self._source = source
        self._judge = judge
        self._model = model
        self._hub = hub
        self._board = board
        self._pacing = pacing
        self._decider = decider
        self._watchdog = watchdog
        self._summary_seconds = summary_seconds
        self._service = service
        self._outlives_source = outlives_source
        self._stop = stop
        self._stop_reason = ""
        self._wishes: list[Callable[[], None]] = []
        self._wishes_lock = threading.Lock()
        self._next_chores_seconds = 0.0
        self._next_summary_seconds = monotonic() + summary_seconds
        self._passed_over = 0
        self._renewal_due_seconds: float | None = None  # None: no interpreter besides the judge's has failed
        self._renewal_back_off = BackOff()

    @property
    def statistics(self) -> WatchStatistics:
        """What was done so far."""
        return self._judge.statistics

    @property
    def threshold(self) -> float:
        """The raw score above which a frame is anomalous."""
        return self._judge.detector.threshold

    @property
    def alarm(self) -> AlarmState:
        """The alarm's state."""
        return self._decider.state

    @property
    def scene_changed(self) -> bool:
        """Whether the scores as a whole have left the calibration."""
        return self._judge.scene_changed

    @property
    def model_sha256(self) -> str:
        """Of the artefact that judges, the first 12 hexadecimal digits."""
        return self._judge.model_sha256

    def stop(self, reason: str) -> None:
        """End after the frame that is being judged."""
        self._stop_reason = self._stop_reason or reason
        self._stop.set()

    def reload_model(self) -> None:
        """Read the artefact again; its own threshold then holds."""
        self._wish(self._reload_model)

    def renew_model(self, problem: str) -> None:
        """Load the model again, as often as it takes: an interpreter has failed that is not the judge's.

        Args:
            problem: What health says meanwhile.
        """
        self._board.report(ComponentHealth(INFERENCE_COMPONENT, "failed", problem))
        self._wish(self._begin_renewal)

    def set_threshold(self, threshold: float, origin: str) -> None:
        """Use another threshold from the next frame on; see `sinks.sink.Controls`."""
        checked = check_threshold(threshold)
        self._wish(lambda: self._judge.change_threshold(checked, origin))

    def clear_alarm(self, origin: str) -> None:
        """Clear a raised alarm by hand; see `sinks.sink.Controls`."""
        self._wish(lambda: self._judge.clear_alarm(origin))

    def run(self) -> WatchEnded:
        """Judge until the end.

        Returns:
            What was done; the hub has had it too.
        """
        source, judge, pacing, stop = self._source, self._judge, self._pacing, self._stop
        takes_all = pacing.takes_all
        model = str(self._model.path)
        self._hub.publish(WatchStarted(utc_now(), source.name, model, self.model_sha256, self.threshold, __version__))
        while not stop.is_set():
            now_seconds = monotonic()
            if now_seconds >= self._next_chores_seconds or self._wishes:
                self._do_chores(now_seconds)
            wait_seconds = 0.0 if takes_all else pacing.wait_seconds(now_seconds)
            if wait_seconds:
                self._pass_time(wait_seconds)
                continue
            frame = source.next_frame(_WAIT_SECONDS)
            if frame is not None:
                if (takes_all or pacing.takes(now_seconds)) and not judge.handle(frame, self._do_chores_if_due):
                    source.give_back()
            elif source.exhausted:
                if not self._outlives_source:
                    self.stop("the source has ended")
                stop.wait(_WAIT_SECONDS)
        self._do_chores(monotonic())
        ended = self._ended()
        self._hub.publish(ended)
        return ended

    def _do_chores_if_due(self) -> None:
        now_seconds = monotonic()
        if now_seconds >= self._next_chores_seconds or self._wishes:
            self._do_chores(now_seconds)

    def _do_chores(self, now_seconds: float) -> None:
        """What is done between two frames, and while the interpreter does not work, about once a second."""
        self._next_chores_seconds = now_seconds + _CHORES_EVERY_SECONDS
        with self._wishes_lock:
            wishes, self._wishes = self._wishes, []
        for wish in wishes:
            wish()
        if self._renewal_due_seconds is not None and now_seconds >= self._renewal_due_seconds:
            self._try_renewal()
        self.statistics.dropped = self._source.dropped - self._passed_over
        self._board.report(self._source.health())
        for sink in self._hub.sinks:
            self._board.report(sink.health())
        if self._model.look() is not None:
            self._judge.take_over_model()
        problem = self._model.problem
        self._board.report(ComponentHealth(MODEL_COMPONENT, "degraded" if problem else "ok", problem))
        self._watchdog.loop_is_alive()
        self._service.alive(f"{self.statistics.judged} judged, alarm {self.alarm}, health {self._board.overall()}")
        if self._summary_seconds and now_seconds >= self._next_summary_seconds:
            self._next_summary_seconds = now_seconds + self._summary_seconds
            LOGGER.info("%s; alarm %s, health %s", self.statistics.summary(), self.alarm, self._board.overall())

    def _pass_time(self, wait_seconds: float) -> None:
        """Wait without wanting frames; what a live source drops meanwhile was not meant to be judged."""
        before = self._source.dropped
        self._stop.wait(min(wait_seconds, _WAIT_SECONDS))
        self._passed_over += self._source.dropped - before

    def _wish(self, wish: Callable[[], None]) -> None:
        with self._wishes_lock:
            self._wishes.append(wish)

    def _reload_model(self) -> None:
        if self._model.reload() is not None:
            self._judge.take_over_model()

    def _begin_renewal(self) -> None:
        if self._renewal_due_seconds is None:
            self._renewal_due_seconds = monotonic() + self._renewal_back_off.next_seconds()

    def _try_renewal(self) -> None:
        if not self._judge.renew_model():
            self._renewal_due_seconds = monotonic() + self._renewal_back_off.next_seconds()
            return
        self._renewal_due_seconds = None
        self._renewal_back_off.reset()
        self._board.report(ComponentHealth(INFERENCE_COMPONENT, "ok", "Inference works again."))

    def _ended(self) -> WatchEnded:
        done = self.statistics
        return WatchEnded(
            time=utc_now(),
            reason=self._stop_reason,
            judged=done.judged,
            anomalous=done.anomalous,
            alarms=done.alarms,
            unreadable=done.unreadable,
            dropped=done.dropped,
            median_ms=done.latency_ms(0.5),
            p95_ms=done.latency_ms(0.95),
        )
