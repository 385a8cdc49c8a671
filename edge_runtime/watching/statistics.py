"""Counts what a watch did; its memory does not grow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_LATENCIES_KEPT = 2000


@dataclass
class WatchStatistics:
    """Figures since the start.

    Attributes:
        judged: Frames judged.
        anomalous: How many of them were anomalous.
        alarms: Alarms raised.
        unreadable: Frames that were no pictures.
        dropped: Frames that a live source gave while the loop was busy.
        failed: Frames that could not be judged because the interpreter failed.
        last_score: Raw score of the latest frame; None before the first.
        latencies_ms: From picture to verdict, of the latest frames.
    """

    judged: int = 0
    anomalous: int = 0
    alarms: int = 0
    unreadable: int = 0
    dropped: int = 0
    failed: int = 0
    last_score: float | None = None
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES_KEPT))

    def latency_ms(self, share: float) -> float | None:
        """Return the quantile of the latest latencies in milliseconds; None before the first frame."""
        rising = sorted(self.latencies_ms.copy())  # a copy, as the loop may append meanwhile
        return rising[min(len(rising) - 1, int(share * len(rising)))] if rising else None

    def summary(self) -> str:
        """One line for people."""
        alarms = "1 alarm" if self.alarms == 1 else f"{self.alarms} alarms"
        text = (
            f"{self.judged} judged, {self.anomalous} anomalous, {alarms}, {self.unreadable} unreadable, "
            f"{self.dropped} dropped"
        )
        if self.failed:
            text += f", {self.failed} failed"
        median, p95 = self.latency_ms(0.5), self.latency_ms(0.95)
        return text if median is None or p95 is None else f"{text}; {median:.2f} ms a frame, p95 {p95:.2f}"
