"""Judges one frame: view, checks of the camera, model, alarm, drift; then reports what came out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

import numpy as np

from edge_runtime.back_off import BackOff
from edge_runtime.detector import AnomalyDetector, Examination
from edge_runtime.errors import BackendError, ImageError
from edge_runtime.heatmap import heatmap_overlay
from edge_runtime.sinks.sink import Evidence
from edge_runtime.sources.source import Frame, Picture
from edge_runtime.sources.view import View
from edge_runtime.watching.decision import AlarmDecider, Transition
from edge_runtime.watching.drift import DriftMonitor, DriftTest
from edge_runtime.watching.event_hub import EventHub
from edge_runtime.watching.events import (
    AlarmChanged,
    ComponentHealth,
    FrameUnreadable,
    Judgement,
    ModelChanged,
    SceneChanged,
    ThresholdChanged,
    utc_now,
)
from edge_runtime.watching.frame_checks import FrameChecks
from edge_runtime.watching.hang_watchdog import INFERENCE_COMPONENT, HangWatchdog
from edge_runtime.watching.health_board import HealthBoard
from edge_runtime.watching.model_slot import ModelSlot
from edge_runtime.watching.statistics import WatchStatistics

LOGGER = logging.getLogger("tfganomaly.watch")
VIEW_COMPONENT = "view"
FRAMES_COMPONENT = "frames"
_TRIES_A_FRAME = 3
_WAIT_SECONDS = 0.5
_UNJUDGED_IS_FAILED = 10
_SAME_REASON_EVERY_SECONDS = 60.0


class FrameJudge:
    """Judges frames with the model of a slot; belongs to the loop's thread.

    Args:
        source_name: What judgements say where a frame comes from.
        model: What judges.
        hub: Where events go.
        board: Where health goes.
        view: What of a frame is judged.
        decider: When there is an alarm.
        checks: Whether the camera sees; None: not asked.
        watchdog: Whether an inference hangs.
        drift_window_frames: Over how many frames the scores are compared with the calibration; 0: never.
        threshold: A raw score that replaces the artefact's until another artefact is taken over.
        stop: Set when the watch is to end; cuts short what waits.

    Attributes:
        statistics: What was done so far.
        detector: What judges now.
        model_sha256: Of its artefact, the first 12 hexadecimal digits.
    """

    def __init__(
        self,
        *,
        source_name: str,
        model: ModelSlot,
        hub: EventHub,
        board: HealthBoard,
        view: View,
        decider: AlarmDecider,
        checks: FrameChecks | None,
        watchdog: HangWatchdog,
        drift_window_frames: int,
        threshold: float | None,
        stop: threading.Event,
    ) -> None:
        self.statistics = WatchStatistics()
        self.detector: AnomalyDetector = model.current.detector
        self.model_sha256 = model.current.sha256
        if threshold is not None:
            self.detector.threshold = threshold
        self._source_name = source_name
        self._model = model
        self._hub = hub
        self._board = board
        self._view = view
        self._decider = decider
        self._checks = checks
        self._view_problem = ""
        self._watchdog = watchdog
        self._inference = watchdog.inference("frames")
        self._drift_window_frames = drift_window_frames
        self._drift = DriftMonitor(self.detector.calibration, drift_window_frames)
        self._stop = stop
        self._model_back_off = BackOff()
        self._scene: SceneChanged | None = None
        self._unjudged_in_a_row = 0
        self._frames_problem = ""
        self._unreadable_reason = ""
        self._unreadable_again_seconds = 0.0

    @property
    def scene_changed(self) -> bool:
        """Whether the scores as a whole have left the calibration."""
        return self._drift.changed

    def handle(self, frame: Frame, while_waiting: Callable[[], None]) -> bool:
        """Judge one frame, whatever it is, and report it.

        Args:
            frame: The frame.
            while_waiting: Called about twice a second while the interpreter does not work.

        Returns:
            Whether the frame has been dealt with. False: the end of the watch cut short the wait for the interpreter.
        """
        try:
            return self._judge(frame, while_waiting)
        except ImageError as error:
            self._report_unreadable(frame, str(error))
        except Exception as error:  # months of work must not end with one frame that nobody thought of
            LOGGER.exception("frame %s could not be judged", frame.name)
            self._fail(frame, f"{type(error).__name__}: {error}")
        return True

    def change_threshold(self, threshold: float, origin: str) -> None:
        """Judge by another threshold from the next frame on."""
        previous = self.detector.threshold
        self.detector.threshold = threshold
        if threshold != previous:
            self._hub.publish(ThresholdChanged(utc_now(), threshold, previous, origin))

    def clear_alarm(self, origin: str) -> None:
        """Clear a raised alarm by hand."""
        decider = self._decider
        anomalous_frames = decider.anomalous_frames
        if not decider.clear(monotonic()):
            return
        window_frames, reason = decider.rule.window_frames, f"by hand ({origin})"
        self._hub.publish(AlarmChanged(utc_now(), "off", decider.raised, anomalous_frames, window_frames, reason, None))

    def take_over_model(self) -> None:
        """Judge with the model in the slot from now on, by its own threshold: scores of two models do not compare."""
        loaded = self._model.current
        previous_threshold, previous_sha256 = self.detector.threshold, self.model_sha256
        self.detector, self.model_sha256 = loaded.detector, loaded.sha256
        self._drift = DriftMonitor(self.detector.calibration, self._drift_window_frames)
        threshold = self.detector.threshold
        if self._scene is not None and self._scene.changed:
            self._scene = replace(
                self._scene, time=utc_now(), changed=False, message="Another model has a calibration of its own."
            )
            self._hub.publish(self._scene)
        self._hub.publish(ModelChanged(utc_now(), str(self._model.path), loaded.sha256, previous_sha256, threshold))
        if threshold != previous_threshold:
            self._hub.publish(ThresholdChanged(utc_now(), threshold, previous_threshold, "model"))

    def renew_model(self) -> bool:
        """Load the model again because an interpreter has failed; the threshold stays, unless it is another model.

        Returns:
            Whether it judges a picture.
        """
        loaded = self._model.renew()
        if loaded is None:
            return False
        self._watchdog.interpreters_are_new()
        if loaded.sha256 == self.model_sha256:
            loaded.detector.threshold = self.detector.threshold
            self.detector = loaded.detector
        else:
            self.take_over_model()
        return True

    def _judge(self, frame: Frame, while_waiting: Callable[[], None]) -> bool:
        picture = self._view.of(frame.decode(), frame.name)
        checks = self._checks
        is_blind = checks is not None and checks.is_blind(picture)
        if checks is not None and checks.problem != self._view_problem:
            self._report_view(checks.problem)
        examination = self._examined(picture) or self._examined_once_it_works(picture, frame, while_waiting)
        if examination is None:
            return not self._stop.is_set()
        score, statistics = examination.score, self.statistics
        transition: Transition | None = None
        if not is_blind:  # what the camera did not see is neither a defect nor a change of the scene
            statistics.anomalous += examination.is_anomaly
            transition = self._decider.update(score, examination.threshold, monotonic())
            drift = self._drift.update(score)
            if drift is not None:
                self._report_drift(drift)
        statistics.judged += 1
        statistics.last_score = score
        statistics.latencies_ms.append(examination.total_ms)
        if self._unjudged_in_a_row:
            self._report_frames_judged()
        if transition is not None or self._hub.judgements_are_heard:
            self._report(frame, picture, examination, is_blind, transition)
        return True

    def _examined(self, picture: Picture) -> Examination | None:
        """Run the model; None when the interpreter failed, which health then says."""
        try:
            with self._inference:
                return self.detector.examine(picture, with_map=self._hub.judgements_are_heard)
        except BackendError as error:
            self._board.report(ComponentHealth(INFERENCE_COMPONENT, "failed", str(error)))
            return None

    def _examined_once_it_works(
        self, picture: Picture, frame: Frame, while_waiting: Callable[[], None]
    ) -> Examination | None:
        """Load the model anew until it works, and run it.

        None at the end of the watch, or when a model that works fails again and again with this frame.
        """
        examination = None
        for _ in range(_TRIES_A_FRAME - 1):
            if not self._renewed(while_waiting):
                return None
            examination = self._examined(picture)
            if examination is not None:
                break
        self._model_back_off.reset()
        self._board.report(ComponentHealth(INFERENCE_COMPONENT, "ok", "Inference works again."))
        if examination is None:
            self._fail(frame, "the model judges a test picture, but not this one.")
        return examination

    def _renewed(self, while_waiting: Callable[[], None]) -> bool:
        """Wait and load the model again until it judges a picture; False at the end of the watch."""
        while True:
            again_seconds = monotonic() + self._model_back_off.next_seconds()
            while (left_seconds := again_seconds - monotonic()) > 0:
                if self._stop.wait(min(left_seconds, _WAIT_SECONDS)):
                    return False
                while_waiting()
            if self.renew_model():
                return True

    def _report_view(self, problem: str) -> None:
        self._view_problem = problem
        self._board.report(ComponentHealth(VIEW_COMPONENT, "failed" if problem else "ok", problem))

    def _report_drift(self, found: DriftTest) -> None:
        window_frames = self._drift.window_frames
        self._scene = SceneChanged(utc_now(), found.changed, found.statistic, found.limit, window_frames, found.message)
        self._hub.publish(self._scene)

    def _report(
        self,
        frame: Frame,
        picture: Picture,
        examination: Examination,
        is_blind: bool,
        transition: Transition | None,
    ) -> None:
        judgement = Judgement(
            time=utc_now(),
            sequence=self.statistics.judged,
            source=self._source_name,
            frame=frame.name,
            score=examination.score,
            normalised_score=examination.normalised_score,
            threshold=examination.threshold,
            is_anomaly=examination.is_anomaly,
            is_blind=is_blind,
            alarm=self._decider.state,
            scene_changed=self._drift.changed,
            timings=examination.timings,
            model_sha256=self.model_sha256,
        )
        is_heard = self._hub.judgements_are_heard
        evidence = _evidence(picture, examination, self.detector) if is_heard else None
        self._hub.publish(judgement, evidence)
        if transition is not None:
            self._report_alarm(transition, judgement, evidence)

    def _report_alarm(self, transition: Transition, judgement: Judgement, evidence: Evidence | None) -> None:
        decider, rule = self._decider, self._decider.rule
        reason = _reason(transition, decider)
        if transition == "raised":
            self.statistics.alarms += 1
            if judgement.scene_changed:
                reason += "; the scene has changed, so this may be no defect"
        event = AlarmChanged(
            time=judgement.time,
            alarm=decider.state,
            number=decider.raised,
            anomalous_frames=decider.anomalous_frames,
            window_frames=rule.window_frames,
            reason=reason,
            judgement=judgement,
        )
        self._hub.publish(event, evidence)

    def _report_unreadable(self, frame: Frame, reason: str) -> None:
        self.statistics.unreadable += 1
        self._note_unjudged(reason)
        if isinstance(frame.content, np.ndarray):  # a camera: what is wrong with one frame is wrong with all
            now_seconds, without_name = monotonic(), reason.replace(frame.name, "")
            if without_name == self._unreadable_reason and now_seconds < self._unreadable_again_seconds:
                return
            self._unreadable_reason = without_name
            self._unreadable_again_seconds = now_seconds + _SAME_REASON_EVERY_SECONDS
        self._hub.publish(FrameUnreadable(utc_now(), self._source_name, frame.name, reason))

    def _fail(self, frame: Frame, reason: str) -> None:
        self.statistics.failed += 1
        self._note_unjudged(reason)
        without_name = reason.replace(frame.name, "")
        if self._unjudged_in_a_row < _UNJUDGED_IS_FAILED and without_name != self._frames_problem:
            self._frames_problem = without_name
            message = f"Frame '{frame.name}' could not be judged: {reason}"
            self._board.report(ComponentHealth(FRAMES_COMPONENT, "degraded", message))

    def _note_unjudged(self, reason: str) -> None:
        self._unjudged_in_a_row += 1
        if self._unjudged_in_a_row == _UNJUDGED_IS_FAILED:
            self._frames_problem = f"None of the latest {_UNJUDGED_IS_FAILED} frames could be judged: {reason}"
            self._board.report(ComponentHealth(FRAMES_COMPONENT, "failed", self._frames_problem))

    def _report_frames_judged(self) -> None:
        self._unjudged_in_a_row = 0
        if self._frames_problem:
            self._frames_problem = ""
            self._board.report(ComponentHealth(FRAMES_COMPONENT, "ok", "Frames are judged again."))


def _reason(transition: Transition, decider: AlarmDecider) -> str:
    """Why the alarm has changed, for people."""
    rule, count = decider.rule, decider.anomalous_frames
    if transition == "cleared":
        return "a calm frame" if rule.clear_frames == 1 else f"{rule.clear_frames} calm frames in a row"
    if rule.window_frames == 1:
        return "the frame is anomalous"
    return f"{count} of the latest {rule.window_frames} frames {'is' if count == 1 else 'are'} anomalous"


def _evidence(picture: Picture, examination: Examination, detector: AnomalyDetector) -> Evidence:
    preprocessing, calibration = detector.preprocessing, detector.calibration
    return Evidence(
        picture, lambda shown: heatmap_overlay(shown, examination.anomaly_map(), preprocessing, calibration)
    )
