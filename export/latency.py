"""Times exported files in turns, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from edge_runtime.interpreter import BackendLoader, load_backend

_TURNS = 6
_WARM_UP_RUNS = 2  # of each turn: the other files have had the caches since
_RUNS_A_TURN = 5


def measure_latencies_ms(
    flatbuffers: Sequence[bytes],
    pixels: np.ndarray,
    *,
    backend_loader: BackendLoader = load_backend,
    seconds_now: Callable[[], float] = perf_counter,
) -> list[float]:
    """Returns the median time of the interpreter for one image in milliseconds, of each file with one thread.

    Args:
        flatbuffers: The files' networks.
        pixels: uint8 (H, W, C), the image.
        backend_loader: What makes the interpreters.
        seconds_now: The clock.
    """
    backends = [backend_loader(flatbuffer, 1) for flatbuffer in flatbuffers]
    times_ms: list[list[float]] = [[] for _ in backends]
    for _ in range(_TURNS):
        for backend, of_file in zip(backends, times_ms, strict=True):
            for _ in range(_WARM_UP_RUNS):
                backend.run(pixels)
            for _ in range(_RUNS_A_TURN):
                start = seconds_now()
                backend.run(pixels)
                of_file.append(1000 * (seconds_now() - start))
    return [float(np.median(of_file)) for of_file in times_ms]
