"""Decides when anomalous frames become an alarm: N of M, hysteresis, cool-down. Pure: the clock is an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from edge_runtime.errors import OptionError
from edge_runtime.watching.events import AlarmState

Transition = Literal["raised", "cleared"]


@dataclass(frozen=True)
class AlarmRule:
    """When an alarm is raised, and when it is cleared.

    Attributes:
        alarm_frames: N, so many anomalous frames ...
        window_frames: ... among the latest M raise the alarm, the latest being anomalous itself.
        clear_frames: So many calm frames in a row clear it.
        clear_ratio: In (0, 1]; a frame is calm up to this share of the threshold, so that a score that trembles around
            the threshold does not switch the alarm on and off.
        cooldown_seconds: After an alarm was cleared no new one is raised for so long.

    Raises:
        OptionError: A value is outside its range.
    """

    alarm_frames: int = 3
    window_frames: int = 5
    clear_frames: int = 5
    clear_ratio: float = 0.9
    cooldown_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.alarm_frames <= self.window_frames:
            raise OptionError(
                f"--alarm-frames is {self.alarm_frames} of --alarm-window {self.window_frames}; at least 1 and at most "
                "the window was expected."
            )
        if self.clear_frames < 1 or not 0 < self.clear_ratio <= 1 or not self.cooldown_seconds >= 0:
            raise OptionError(
                f"--clear-frames is {self.clear_frames}, --clear-ratio {self.clear_ratio:g}, --cooldown "
                f"{self.cooldown_seconds:g}; 1 or more, above 0 up to 1, and 0 or more were expected."
            )

    def clear_threshold(self, threshold: float) -> float:
        """The raw score up to which a frame is calm; below a threshold of any sign."""
        return threshold - (1 - self.clear_ratio) * abs(threshold)


class AlarmDecider:
    """The alarm's state, frame after frame.

    Args:
        rule: When it changes.
    """

    def __init__(self, rule: AlarmRule) -> None:
        self.rule = rule
        self.state: AlarmState = "off"
        self.raised = 0
        self._frame = 0
        self._latest_anomalous: deque[int] = deque(maxlen=rule.window_frames)  # the numbers of these frames
        self._calm_frames = 0
        self._quiet_until_seconds = float("-inf")

    @property
    def anomalous_frames(self) -> int:
        """How many of the latest `window_frames` were anomalous."""
        before_window = self._frame - self.rule.window_frames
        return sum(frame > before_window for frame in self._latest_anomalous)

    def update(self, score: float, threshold: float, now_seconds: float) -> Transition | None:
        """Take one more frame.

        Args:
            score: Its raw score.
            threshold: Above it the frame is anomalous.
            now_seconds: A clock that does not go back.

        Returns:
            What this frame did to the alarm, None for nothing.
        """
        self._frame += 1
        is_anomaly = score > threshold
        if is_anomaly:
            self._latest_anomalous.append(self._frame)
        if self.state == "off":
            if not is_anomaly or self.anomalous_frames < self.rule.alarm_frames:
                return None
            if now_seconds < self._quiet_until_seconds:
                return None
            self.state = "on"
            self.raised += 1
            self._calm_frames = 0
            return "raised"
        self._calm_frames = self._calm_frames + 1 if score <= self.rule.clear_threshold(threshold) else 0
        if self._calm_frames < self.rule.clear_frames:
            return None
        self.clear(now_seconds)
        return "cleared"

    def clear(self, now_seconds: float) -> bool:
        """Clear the alarm at once, as a person does; the cool-down begins.

        Returns:
            Whether there was one.
        """
        if self.state == "off":
            return False
        self.state = "off"
        self._latest_anomalous.clear()
        self._quiet_until_seconds = now_seconds + self.rule.cooldown_seconds
        return True
