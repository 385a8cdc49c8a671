"""Which frames of a source are judged: all, one every so many seconds, or one of so many."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil

from edge_runtime.errors import OptionError


@dataclass
class Pacing:
    """Takes frames at a rate.

    Attributes:
        every_seconds: At least so long between two frames that are judged; 0: no limit.
        every_frames: One of so many frames is judged, beginning with the first.
    """

    every_seconds: float = 0.0
    every_frames: int = 1
    _next_seconds: float = float("-inf")
    _frames: int = 0

    @property
    def takes_all(self) -> bool:
        """Whether every frame is judged as soon as it comes, so that nothing else need be asked."""
        return self.every_seconds == 0 and self.every_frames == 1

    def count_frames(self, frame_rate: float) -> None:
        """Turn seconds into frames, for a recording: its frames come as fast as they are asked for.

        Args:
            frame_rate: Frames in a second of the recording.
        """
        frames = ceil(self.every_seconds * frame_rate - 0.01)  # 60 for 2 s at a rate that is stored as 30.0003
        self.every_seconds, self.every_frames = 0.0, max(1, frames)

    def wait_seconds(self, now_seconds: float) -> float:
        """Return how long no frame is wanted yet, 0 if one is."""
        return max(0.0, self._next_seconds - now_seconds)

    def takes(self, now_seconds: float) -> bool:
        """Return whether the frame that has come now is to be judged."""
        self._frames += 1
        if (self._frames - 1) % self.every_frames:
            return False
        self._next_seconds = now_seconds + self.every_seconds
        return True


def parse_pacing(text: str | None) -> Pacing:
    """Return the rate that "2s", "0.5s", "500ms" or "10" (frames) names; all frames for None.

    Raises:
        OptionError: It is none of these.
    """
    if text is None:
        return Pacing()
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min)\s*", text)
    if match is not None and float(match[1]) > 0:
        return Pacing(every_seconds=float(match[1]) * {"ms": 0.001, "s": 1.0, "min": 60.0}[match[2]])
    if re.fullmatch(r"\s*[1-9]\d{0,8}\s*", text):
        return Pacing(every_frames=int(text))
    raise OptionError(
        f"--every is '{text}'; seconds such as 2s or 500ms, or a number of frames such as 10, was expected."
    )
