"""Notices what does not go on: an inference in a stuck driver, a loop whose source does not answer."""

from __future__ import annotations

import threading
from time import monotonic

from edge_runtime.watching.events import ComponentHealth
from edge_runtime.watching.health_board import HealthBoard

INFERENCE_COMPONENT = "inference"
LOOP_COMPONENT = "loop"
_LOOP_LIMIT_SECONDS = 30.0  # its chores come about once a second


class HangWatchdog:
    """A thread that looks how long the present inference has been running, and when the loop was last alive.

    It cannot end what is stuck; it says so, while the loop that is stuck cannot. An inference that has ended is well
    again only when it succeeded: one that ended with an error is no more use than one that hangs.

    Args:
        board: Hears of it.
        inference_limit_seconds: How long an inference may take.
    """

    def __init__(self, board: HealthBoard, inference_limit_seconds: float) -> None:
        self._board = board
        self._inference_limit_seconds = inference_limit_seconds
        self._inference_began_seconds: float | None = None
        self._late_inference_began_seconds: float | None = None  # the latest reported; None after a success
        self._loop_alive_seconds: float | None = None  # None: not running yet
        self._loop_hangs = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hang watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def inference_begins(self) -> None:
        """An inference begins now."""
        with self._lock:
            self._inference_began_seconds = monotonic()

    def inference_ends(self, *, succeeded: bool) -> None:
        """It has ended, with a score or with an error, which whoever ran it reports."""
        with self._lock:
            self._inference_began_seconds = None
            self._loop_alive_seconds = monotonic()
            if succeeded and self._late_inference_began_seconds is not None:
                self._late_inference_began_seconds = None
                self._board.report(ComponentHealth(INFERENCE_COMPONENT, "ok", "Inference works again."))

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
        began_seconds, alive_seconds = self._inference_began_seconds, self._loop_alive_seconds
        if began_seconds is not None:
            is_late = now_seconds - began_seconds > self._inference_limit_seconds
            if is_late and began_seconds != self._late_inference_began_seconds:
                self._late_inference_began_seconds = began_seconds
                self._board.report(
                    ComponentHealth(
                        INFERENCE_COMPONENT,
                        "failed",
                        f"An inference takes longer than {self._inference_limit_seconds:g} s and has not ended. If it "
                        "does not end, restart the service; with an accelerator, unplug and plug it.",
                    )
                )
        elif alive_seconds is not None and not self._loop_hangs and now_seconds - alive_seconds > _LOOP_LIMIT_SECONDS:
            self._loop_hangs = True
            self._board.report(
                ComponentHealth(
                    LOOP_COMPONENT,
                    "failed",
                    f"The loop has not gone on for {_LOOP_LIMIT_SECONDS:g} s, so nothing is judged. Look whether the "
                    "source answers, such as a network drive; restart the service if it does not go on.",
                )
            )
