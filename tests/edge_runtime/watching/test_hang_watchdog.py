"""Two interpreters, for frames and for uploads: health is well when both are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge_runtime.errors import BackendError
from edge_runtime.watching.event_hub import EventHub
from edge_runtime.watching.hang_watchdog import HangWatchdog, Judged
from edge_runtime.watching.health_board import HealthBoard
from tests.edge_runtime.watching.fakes import wait_for


@pytest.fixture
def board() -> HealthBoard:
    return HealthBoard(EventHub())


@pytest.fixture
def watchdog(board: HealthBoard) -> Iterator[HangWatchdog]:
    watchdog = HangWatchdog(board, 0.05)
    watchdog.start()
    yield watchdog
    watchdog.close()


def hang(watchdog: HangWatchdog, board: HealthBoard, judged: Judged) -> None:
    """An inference that goes on until health says so, then ends well."""
    with watchdog.inference(judged):
        wait_for(lambda: board.overall() == "failed")


def succeed(watchdog: HangWatchdog, judged: Judged) -> None:
    with watchdog.inference(judged):
        pass


@pytest.mark.parametrize("judged", ["frames", "uploads"])
def test_an_inference_that_hangs_is_said_until_it_ends_well(
    watchdog: HangWatchdog, board: HealthBoard, judged: Judged
) -> None:
    hang(watchdog, board, judged)
    assert [(health.component, health.state) for health in board.components()] == [("inference", "ok")]


def test_frames_that_are_judged_do_not_hide_an_upload_that_hangs(watchdog: HangWatchdog, board: HealthBoard) -> None:
    with watchdog.inference("uploads"):
        hang(watchdog, board, "frames")
        succeed(watchdog, "frames")
        assert board.overall() == "failed"
    assert board.overall() == "ok"


def test_a_late_upload_that_ends_well_does_not_hide_that_frames_fail(
    watchdog: HangWatchdog, board: HealthBoard
) -> None:
    with pytest.raises(BackendError), watchdog.inference("frames"):
        raise BackendError("the accelerator has gone")
    hang(watchdog, board, "uploads")
    assert board.overall() == "failed"
    succeed(watchdog, "frames")
    assert board.overall() == "ok"


def test_what_failed_before_the_model_was_loaded_again_no_longer_counts(
    watchdog: HangWatchdog, board: HealthBoard
) -> None:
    with pytest.raises(BackendError), watchdog.inference("uploads"):
        raise BackendError("the accelerator has gone")
    watchdog.interpreters_are_new()
    hang(watchdog, board, "frames")
    assert board.overall() == "ok"
