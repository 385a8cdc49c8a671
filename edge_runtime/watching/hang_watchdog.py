"""Notices what does not go on: an inference in a stuck driver, a loop whose source does not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Literal

from edge_runtime.errors import BackendError
from edge_runtime.watching.events import ComponentHealth
from edge_runtime.watching.health_board import HealthBoard

INFERENCE_COMPONENT = "inference"
LOOP_COMPONENT = "loop"
_LOOP_LIMIT_SECONDS = 30.0  # its chores come about once a second
Judged = Literal["frames", "uploads"]  # frames by the loop, uploads by an interpreter of their own


class HangWatchdog:
    """A thread that looks how long the present inferences have been running, and when the loop was last alive.

    It cannot end what is stuck; it says so, while who is stuck cannot. An inference that has ended is well again only
    when it succeeded: one that ended with an error is no more use than one that hangs. With two interpreters, both have
    to be well.

    Args:
        board: Hears of it.
        inference_limit_seconds: How long an inference may take.
    """

    def __init__(self, board: HealthBoard, inference_limit_seconds: float) -> None:
        self._board = board
        self._inference_limit_seconds = inference_limit_seconds
        self._running: dict[Judged, float] = {}  # since when
        self._unwell: set[Judged] = set()  # late or failed, and without success since then
        self._has_reported = False
        self._loop_alive_seconds: float | None = None  # None: not running yet
        self._loop_hangs = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hang watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    @contextmanager
    def inference(self, judged: Judged) -> Iterator[None]:
        """Watch over one inference. What it raises is for whoever runs it to report.

        Args:
            judged: What is judged, which says by which interpreter.
        """
        with self._lock:
            self._running[judged] = monotonic()
        is_well: bool | None = None  # what is no BackendError says nothing of the interpreter
        try:
            yield
            is_well = True
        except BackendError:
            is_well = False
            raise
        finally:
            self._inference_ended(judged, is_well)

    def interpreters_are_new(self) -> None:
        """They have been loaded again and work, which whoever saw to it reports."""
        with self._lock:
            self._unwell.intersection_update(self._running)

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

    def _inference_ended(self, judged: Judged, is_well: bool | None) -> None:
        with self._lock:
            del self._running[judged]
            if judged == "frames":
                self._loop_alive_seconds = monotonic()
            if is_well is False:
                self._unwell.add(judged)
            elif is_well:
                self._unwell.discard(judged)
                if self._has_reported and not self._unwell:
                    self._has_reported = False
                    self._board.report(ComponentHealth(INFERENCE_COMPONENT, "ok", "Inference works again."))

    def _watch(self) -> None:
        while not self._stop.wait(min(self._inference_limit_seconds, _LOOP_LIMIT_SECONDS) / 4):
            with self._lock:
                self._look(monotonic())

    def _look(self, now_seconds: float) -> None:
        for judged, began_seconds in self._running.items():
            if now_seconds - began_seconds > self._inference_limit_seconds:
                self._unwell.add(judged)
                self._has_reported = True
                self._board.report(
                    ComponentHealth(
                        INFERENCE_COMPONENT,
                        "failed",
                        f"An inference takes longer than {self._inference_limit_seconds:g} s and has not ended. If it "
                        "does not end, restart the service; with an accelerator, unplug and plug it.",
                    )
                )
        alive_seconds = None if "frames" in self._running else self._loop_alive_seconds
        if alive_seconds is not None and not self._loop_hangs and now_seconds - alive_seconds > _LOOP_LIMIT_SECONDS:
            self._loop_hangs = True
            self._board.report(
                ComponentHealth(
                    LOOP_COMPONENT,
                    "failed",
                    f"The loop has not gone on for {_LOOP_LIMIT_SECONDS:g} s, so nothing is judged. Look whether the "
                    "source answers, such as a network drive; restart the service if it does not go on.",
                )
            )
