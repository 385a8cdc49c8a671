"""Options of a watch: declared once, here; `watch` and `serve` make their flags from them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.option_declaration import option
from edge_runtime.sources.options import FrameOptions


@dataclass(frozen=True)
class WatchOptions(FrameOptions):
    """What decides which frames are judged, when there is an alarm, and what is watched over."""

    once: bool = option(False, "End when all images of a folder were judged, instead of waiting for more.")
    existing: bool = option(True, "Judge the images that are in a folder at the start too.")
    state: str | None = option(
        None,
        "Of a folder: a file that keeps what was judged, so that a restart judges what has come meanwhile, and nothing "
        "twice.",
        value_type=str,
    )
    settle_seconds: float = option(
        1.0,
        "A file that nobody reported as closed, or that cannot be read, is complete when it has not changed for so "
        "long.",
        minimum=0.05,
        maximum=3600,
    )
    threshold: float | None = option(
        None, "Judge by this raw score until another model is taken over.  [default: the model's]", value_type=float
    )
    alarm_frames: int = option(3, "So many anomalous frames raise an alarm ...", minimum=1, maximum=10_000)
    alarm_window: int = option(5, "... among so many of the latest frames.", minimum=1, maximum=10_000)
    clear_frames: int = option(5, "So many calm frames in a row clear it.", minimum=1, maximum=10_000)
    clear_ratio: float = option(
        0.9, "A frame is calm up to this share of the threshold (hysteresis).", minimum=0.01, maximum=1
    )
    cooldown_seconds: float = option(
        0.0, "No new alarm for so long after one was cleared.", minimum=0, maximum=7 * 24 * 3600
    )
    drift_window: int = option(
        200,
        "Compare the scores of so many of the latest frames with the calibration, to tell a changed scene; 0: never.",
        minimum=0,
        maximum=100_000,
    )
    inference_limit_seconds: float = option(
        10.0, "An inference that takes longer is reported as stuck.", minimum=0.05, maximum=3600
    )
    summary_seconds: float = option(
        60.0, "Time between two summary lines in the log; 0: none.", minimum=0, maximum=7 * 24 * 3600
    )
