"""What a sink promises: the seam between the loop and everything that hears of its events.

Part of tfganomaly. `parsing.open_sink(specification, options, controls)` makes one from `--sink SPECIFICATION`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from PIL import Image

from edge_runtime.image_reading import read_image
from edge_runtime.watching.events import ComponentHealth, Event


class Evidence:
    """The pictures that belong to a judgement, made only when a sink asks for them.

    It may be kept and used in any thread, but a sink with a queue should not keep many: each holds a frame.

    Args:
        picture: The frame as it was judged, after `--roi` and `--rotate`: a Pillow image or an array.
        draw_heatmap: Draws the anomaly map over the frame, or over a smaller copy of it, and returns a new RGB image.
            Pure, callable in any thread.
    """

    def __init__(self, picture: Image.Image | np.ndarray, draw_heatmap: Callable[[Image.Image], Image.Image]) -> None:
        self._picture = picture
        self._draw_heatmap = draw_heatmap

    @cached_property
    def frame(self) -> Image.Image:
        """The frame as it was judged, mode "L" or "RGB". Do not draw on it."""
        return read_image(self._picture)

    @cached_property
    def heatmap(self) -> Image.Image:
        """The frame with its anomaly map drawn over it, RGB."""
        return self._draw_heatmap(self.frame)

    def thumbnails(self, longest_side_px: int) -> tuple[Image.Image, Image.Image]:
        """Return frame and heatmap, scaled down so that no side is longer; cheaper than scaling `heatmap`."""
        small = self.frame.copy() if max(self.frame.size) <= longest_side_px else self._scaled(longest_side_px)
        return small, self._draw_heatmap(small)

    def _scaled(self, longest_side_px: int) -> Image.Image:
        scale = longest_side_px / max(self.frame.size)
        size = (max(1, round(self.frame.width * scale)), max(1, round(self.frame.height * scale)))
        return self.frame.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


class Controls(Protocol):
    """What a sink that can also listen, such as MQTT, may ask of the loop. All of it is safe in any thread."""

    def set_threshold(self, threshold: float, origin: str) -> None:
        """Use another threshold from the next frame on, until the process ends.

        Args:
            threshold: A finite raw score.
            origin: Who asks, such as "mqtt"; the event `ThresholdChanged` carries it.

        Raises:
            CalibrationError: The threshold is not a finite number.
        """

    def clear_alarm(self, origin: str) -> None:
        """Clear a raised alarm by hand; nothing when there is none."""


@dataclass(frozen=True)
class SinkCounts:
    """How many events a sink has dealt with since its start.

    Attributes:
        delivered: Arrived: written, or acknowledged by the other side.
        waiting: Held back until they can be delivered.
        dropped: Lost: the queue overflowed, or the other side refused them for good.
    """

    delivered: int = 0
    waiting: int = 0
    dropped: int = 0


class Sink(Protocol):
    """Somewhere that events go.

    The constructor checks what the user wrote and raises `SinkError`, `OutputError` or `MissingExtraError`;
    from `start` on an outage is a state of `health`, never an exception.
    """

    @property
    def name(self) -> str:
        """Its name in health and log, such as "mqtt broker.local:1883"; no password in it. Unique in a watch."""

    def start(self) -> None:
        """Begin: connect, open. An outage does not raise."""

    def deliver(self, event: Event, evidence: Evidence | None) -> None:
        """Take one event. Never raises, and never blocks the loop for long.

        Called by one thread at a time, in the order of the events, which is not always the same thread. What talks to
        the outside has a thread and a bounded queue of its own.

        Args:
            event: Any event; a sink takes those it is for.
            evidence: The pictures of a `Judgement` or an `AlarmChanged`, else None.
        """

    def health(self) -> ComponentHealth:
        """How it does now; its component is `name`. Asked about once a second, from any thread; must be quick."""

    def counts(self) -> SinkCounts:
        """How many events were delivered, wait and were lost; for `/metrics`. Quick, from any thread.

        They are not in `health`, whose message should change only when something else happens than one event more.
        """

    def close(self, timeout_seconds: float) -> None:
        """Deliver what is queued, then end; give up when nothing has been delivered for so long. Never raises."""
