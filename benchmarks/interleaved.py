"""Times models against one another in turns, so that whatever else the machine does hits all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from time import perf_counter, process_time, sleep
from typing import NamedTuple

import numpy as np
from int8_runtimes import ModelFile, Run

from edge_runtime.interpreter import native_notes_hidden

_IMAGES_A_TURN = 5
_WARM_UP_IMAGES = 10
# Who has slept is not interrupted at once by what else the machine runs; the first image after it is not timed.
_PAUSE_SECONDS = 0.004
_FIRST_SCORES = 5


def figures_of_files(
    files: Mapping[str, ModelFile], image: np.ndarray, rounds: int, core: int
) -> dict[str, dict[str, float]]:
    """Size, latency with one and two threads, and the cost of the first score of each model.

    "CPU ms" is the processor time that an image takes with one thread. On an idle machine it is the latency; where
    other processes take the cores away it still compares, and the latency does not.

    Args:
        files: The models by name.
        image: float32 (H, W, C) in [-1, 1].
        rounds: Turns of each model.
        core: Where the process is held for one thread.
    """
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # threads that a runtime starts inherit it
    try:
        one_thread = _interleaved(_load(files, threads=1), image, rounds)
    finally:
        os.sched_setaffinity(0, usual)
    two_threads = _interleaved(_load(files, threads=2), image, rounds)
    first_scores: dict[str, list[tuple[float, float]]] = {name: [] for name in files}
    for _ in range(_FIRST_SCORES):
        for name, file in files.items():
            first_scores[name].append(file.first_score(core))
    return {
        name: {
            "kB": round(file.size_bytes / 1000),
            "ms, 1 thread": round(one_thread[name].latency_ms, 4),
            "CPU ms": round(one_thread[name].processor_ms, 4),
            "ms, 2 threads": round(two_threads[name].latency_ms, 4),
            "first score, s": round(float(np.median([seconds for seconds, _ in first_scores[name]])), 3),
            "peak MB": round(max(peak for _, peak in first_scores[name]), 1),
        }
        for name, file in files.items()
    }


def _load(files: Mapping[str, ModelFile], threads: int) -> dict[str, Run]:
    with native_notes_hidden():
        return {name: file.load(threads) for name, file in files.items()}


class _Medians(NamedTuple):
    """What an image takes from the input to the outputs, in milliseconds."""

    latency_ms: float
    processor_ms: float


def _interleaved(runs: Mapping[str, Run], image: np.ndarray, rounds: int) -> dict[str, _Medians]:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for run in runs.values():
        for _ in range(_WARM_UP_IMAGES):
            run(image)
    for _ in range(rounds):
        for name, run in runs.items():
            sleep(_PAUSE_SECONDS)
            run(image)
            for _ in range(_IMAGES_A_TURN):
                started, processor_started = perf_counter(), process_time()
                run(image)
                seconds[name].append((perf_counter() - started, process_time() - processor_started))
    return {name: _Medians(*(1000 * np.median(values, axis=0)).tolist()) for name, values in seconds.items()}
