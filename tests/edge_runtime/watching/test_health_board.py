from __future__ import annotations

import pytest

from edge_runtime.sources.source import SOURCE_COMPONENT
from edge_runtime.watching.event_hub import EventHub
from edge_runtime.watching.events import ComponentHealth
from edge_runtime.watching.frame_judge import FRAMES_COMPONENT, VIEW_COMPONENT
from edge_runtime.watching.hang_watchdog import INFERENCE_COMPONENT, LOOP_COMPONENT
from edge_runtime.watching.health_board import HealthBoard
from edge_runtime.watching.loop import MODEL_COMPONENT

JUDGING = [
    SOURCE_COMPONENT, INFERENCE_COMPONENT, MODEL_COMPONENT, VIEW_COMPONENT, FRAMES_COMPONENT, LOOP_COMPONENT
]  # fmt: skip


def test_of_equally_bad_parts_those_that_judging_needs_come_before_the_sinks() -> None:
    board = HealthBoard(EventHub())
    for component in sorted(["evidence pictures", "a sink", *JUDGING]):
        board.report(ComponentHealth(component, "failed", "gone"))
    board.report(ComponentHealth("a better sink", "degraded", "slow"))
    names = [health.component for health in board.components()]
    assert names == [*JUDGING, "a sink", "evidence pictures", "a better sink"]


@pytest.mark.parametrize("component", JUDGING)
def test_nothing_can_be_judged_while_a_part_on_the_way_to_the_verdict_has_failed(component: str) -> None:
    board = HealthBoard(EventHub())
    assert board.can_judge()
    board.report(ComponentHealth("evidence pictures", "failed", "the disk is full"))
    board.report(ComponentHealth(component, "degraded", "it will come"))
    assert board.can_judge()
    board.report(ComponentHealth(component, "failed", "gone"))
    assert not board.can_judge()
    board.report(ComponentHealth(component, "ok"))
    assert board.can_judge()
