"""Events and evidence for the tests of sinks."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
from PIL import Image

from edge_runtime.detection import Timings
from edge_runtime.sinks.sink import Evidence
from edge_runtime.watching.events import (
    AlarmChanged,
    AlarmState,
    ComponentHealth,
    HealthChanged,
    HealthState,
    Judgement,
)

START = datetime(2026, 7, 31, 12, 0, 0, 123_000, timezone.utc)


def judgement(sequence: int = 1, score: float = 0.2, *, alarm: AlarmState = "off", is_blind: bool = False) -> Judgement:
    return Judgement(
        time=START + timedelta(milliseconds=40 * sequence),
        sequence=sequence,
        source="parts",
        frame=f"parts/{sequence}.png",
        score=score,
        normalised_score=score / 2,
        threshold=0.5,
        is_anomaly=score > 0.5,
        is_blind=is_blind,
        alarm=alarm,
        scene_changed=False,
        timings=Timings(1.0, 2.0, 0.5),
        model_sha256="0123456789ab",
    )


def alarm_change(number: int, alarm: AlarmState = "on") -> AlarmChanged:
    cause = judgement(number, 0.9, alarm=alarm)
    return AlarmChanged(cause.time, alarm, number, 3, 5, "3 of the last 5 frames", cause)


def health_change(state: HealthState, component: str = "source", message: str = "no frames") -> HealthChanged:
    return HealthChanged(START, ComponentHealth(component, state, message))


def evidence(side_px: int = 48) -> Evidence:
    pixels = np.random.default_rng(0).integers(0, 256, (side_px, side_px), np.uint8)
    return Evidence(Image.fromarray(pixels), lambda frame: frame.convert("RGB"))
