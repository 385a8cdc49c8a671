"""Notices what does not go on: an inference in a stuck driver, a loop whose source does not answer."""

from __future__ import annotations

import threading
from time import monotonic
from types import TracebackType
from typing import Literal

from edge_runtime.errors import BackendError
from edge_runtime.watching.events import ComponentHealth
from edge_runtime.watching.health_board import HealthBoard

INFERENCE_COMPONENT = "inference"
LOOP_COMPONENT = "loop"
_LOOP_LIMIT_SECONDS = 30.0  # its chores come about once a second
Judged = Literal["frames", "uploads"]  # frames by the loop, uploads by an interpreter of their own


class Inference:
    """One interpreter's inferences, each watched over from entering to leaving; what is raised is for its owner to say.

    A frame on a small model takes a sixth of a millisecond: where nothing is wrong, no lock is taken here.

    Args:
        watchdog: Looks at it.
        judged: What is judged, which says by which interpreter.

    Attributes:
        began_seconds: Since when one is running; None: none is.
        ended_seconds: When the latest ended; None: none has.
    """

    __slots__ = ("_judged", "_watchdog", "began_seconds", "ended_seconds")

    def __init__(self, watchdog: HangWatchdog, judged: Judged) -> None:
        self._watchdog = watchdog
        self._judged: Judged = judged
        self.began_seconds: float | None = None
        self.ended_seconds: float | None = None

    def __enter__(self) -> None:
        self.began_seconds = monotonic()

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.ended_seconds = monotonic()
        self.began_seconds = None
        if error_class is not None or self._watchdog.unwell:
            self._watchdog.inference_ended(self._judged, error)


class HangWatchdog:
    """A thread that looks how long the present inferences have been running, and when the loop was last alive.

    It cannot end what is stuck; it says so, while who is stuck cannot. An inference that has ended is well again only
    when it succeeded: one that ended with an error is no more use than one that hangs. With two interpreters, both have
    to be well.

    Args:
        board: Hears of it.
        inference_limit_seconds: How long an inference may take.

    Attributes:
        unwell: Whose inferences are late or failed, and without success since then.
    """

    def __init__(self, board: HealthBoard, inference_limit_seconds: float) -> None:
        self._board = board
        self._inference_limit_seconds = inference_limit_seconds
        self.unwell: set[Judged] = set()
        self._inferences: dict[Judged, Inference] = {
            "frames": Inference(self, "frames"),
            "uploads": Inference(self, "uploads"),
        }
        self._has_reported = False
        self._loop_alive_seconds: float | None = None  # None: not running yet
        self._loop_hangs = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hang watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def inference(self, judged: Judged) -> Inference:
        """Return what watches over an inference while it is entered; one at a time.

        Args:
            judged: What is judged, which says by which interpreter.
        """
        return self._inferences[judged]

    def inference_ended(self, judged: Judged, error: BaseException | None) -> None:
        """An inference has ended, with a score or with an error; one that is no BackendError says nothing of it."""
        with self._lock:
            if isinstance(error, BackendError):
                self.unwell.add(judged)
            elif error is None:
                self.unwell.discard(judged)
                if self._has_reported and not self.unwell:
                    self._has_reported = False
                    self._board.report(ComponentHealth(INFERENCE_COMPONENT, "ok", "Inference works again."))

    def interpreters_are_new(self) -> None:
        """They have been loaded again and work, which whoever saw to it reports."""
        with self._lock:
            self.unwell = {name for name in self.unwell if self._inferences[name].began_seconds is not None}

    def loop_is_alive(self) -> None:
        """The loop goes on; told about once a second."""
        with self._lock:
            self._loop_alive_seconds = monotonic()
            if self._loop_hangs:
                self._loop_hangs = False
                self._board.report(ComponentHealth(LOOP_COMPONENT, "ok", "The loop goes on."))

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(min(self._inference_limit_seconds, _LOOP_LIMIT_SECONDS) / 4):
            with self._lock:
                self._look(monotonic())

    def _look(self, now_seconds: float) -> None:
        for judged, inference in self._inferences.items():
            began_seconds = inference.began_seconds
            if began_seconds is not None and now_seconds - began_seconds > self._inference_limit_seconds:
                self._inference_is_late(judged, inference, began_seconds)
        frames = self._inferences["frames"]
        signs_of_life = [at for at in (self._loop_alive_seconds, frames.ended_seconds) if at is not None]
        if self._loop_hangs or frames.began_seconds is not None or not signs_of_life:
            return
        if now_seconds - max(signs_of_life) > _LOOP_LIMIT_SECONDS:
            self._loop_hangs = True
            self._board.report(
                ComponentHealth(
                    LOOP_COMPONENT,
                    "failed",
                    f"The loop has not gone on for {_LOOP_LIMIT_SECONDS:g} s, so nothing is judged. Look whether the "
                    "source answers, such as a network drive; restart the service if it does not go on.",
                )
            )

    def _inference_is_late(self, judged: Judged, inference: Inference, began_seconds: float) -> None:
        self.unwell.add(judged)
        if inference.began_seconds != began_seconds:  # it has ended meanwhile, perhaps before it could see that
            self.unwell.discard(judged)
            return
        self._has_reported = True
        self._board.report(
            ComponentHealth(
                INFERENCE_COMPONENT,
                "failed",
                f"An inference takes longer than {self._inference_limit_seconds:g} s and has not ended. If it does not "
                "end, restart the service; with an accelerator, unplug and plug it.",
            )
        )
