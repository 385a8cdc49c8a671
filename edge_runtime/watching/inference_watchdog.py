"""Notices an inference that does not end: a stuck driver, a device that went away."""

from __future__ import annotations

import threading
from time import monotonic

from edge_runtime.watching.events import ComponentHealth
from edge_runtime.watching.health_board import HealthBoard

INFERENCE_COMPONENT = "inference"


class InferenceWatchdog:
    """A thread that looks how long the present inference has been running.

    It cannot end a stuck inference; it says so, while the loop that is stuck cannot.

    Args:
        board: Hears of it.
        limit_seconds: How long an inference may take.
    """

    def __init__(self, board: HealthBoard, limit_seconds: float) -> None:
        self._board = board
        self._limit_seconds = limit_seconds
        self._started_seconds = 0.0  # 0: no inference is running
        self._is_late = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="inference watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def begin(self) -> None:
        """An inference begins now."""
        self._started_seconds = monotonic()

    def end(self) -> None:
        """It has ended."""
        self._started_seconds = 0.0
        if self._is_late:
            self._is_late = False
            self._board.report(ComponentHealth(INFERENCE_COMPONENT, "ok", "Inference works again."))

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._limit_seconds / 4):
            started_seconds = self._started_seconds
            if started_seconds and not self._is_late and monotonic() - started_seconds > self._limit_seconds:
                self._is_late = True
                self._board.report(
                    ComponentHealth(
                        INFERENCE_COMPONENT,
                        "failed",
                        f"An inference takes longer than {self._limit_seconds:g} s and has not ended. If it does not "
                        "end, restart the service; with an accelerator, unplug and plug it.",
                    )
                )
