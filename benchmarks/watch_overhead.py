"""What the watch loop costs over the bare interpreter, measured in one run, alternating, medians.

    python benchmarks/watch_overhead.py parts.tflite [--json FILE]

Three things are timed on the same frames, uint8 arrays of the model's input size in memory:

- bare interpreter: set_tensor with the int8 input, invoke, get_tensor of all outputs; nothing else.
- detector: `AnomalyDetector.examine`: from the array to score and verdict, without a map.
- loop: `WatchLoop.run` on a source that gives the arrays: frame checks, detector, alarm, drift, events; no sink but the
  log, no map.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
from machine import describe_machine

from edge_runtime.detector import AnomalyDetector
from edge_runtime.preprocessing import scale_pixels
from edge_runtime.quantization import quantize
from edge_runtime.sources.source import SOURCE_COMPONENT, Frame
from edge_runtime.watching.events import ComponentHealth
from edge_runtime.watching.options import WatchOptions
from edge_runtime.watching.session import WatchSession


class MemorySource:
    """Gives arrays again and again, `count` frames a turn."""

    name = "memory"
    dropped = 0

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self._frames = [Frame(f"frame {index}", picture) for index, picture in enumerate(pictures)]
        self.exhausted = False
        self.left = 0

    def start(self) -> None:
        """Nothing to open."""

    def next_frame(self, timeout_seconds: float) -> Frame | None:
        """The next array."""
        if not self.left:
            self.exhausted = True
            return None
        self.left -= 1
        return self._frames[self.left % len(self._frames)]

    def health(self) -> ComponentHealth:
        """Always well."""
        return ComponentHealth(SOURCE_COMPONENT, "ok")

    def close(self) -> None:
        """Nothing to release."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--frames", type=int, default=100, help="frames a round of each kind")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    detector = AnomalyDetector(arguments.model)
    shape = detector.preprocessing.input_shape
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 256, shape, np.uint8) for _ in range(64)]
    kinds = {
        "bare interpreter": _bare(detector, pictures),
        "detector": lambda count: [detector.examine(pictures[index % 64]) for index in range(count)],
        "loop": _loop(arguments.model, pictures),
    }
    times_us: dict[str, list[float]] = {name: [] for name in kinds}
    for round_number in range(arguments.rounds + 3):
        for name, run in kinds.items():
            start = perf_counter()
            run(arguments.frames)
            if round_number >= 3:  # the first rounds warm up
                times_us[name].append(1e6 * (perf_counter() - start) / arguments.frames)
    medians = {name: statistics.median(values) for name, values in times_us.items()}
    bare = medians["bare interpreter"]
    record = {
        "model": arguments.model.name,
        "input": list(shape),
        "rounds": arguments.rounds,
        "frames_a_round": arguments.frames,
        "median_us_a_frame": {name: round(value, 1) for name, value in medians.items()},
        "overhead_over_bare": {name: round(value / bare - 1, 3) for name, value in medians.items()},
        "machine": describe_machine(),
    }
    for name, value in medians.items():
        print(f"{name:18} {value:8.1f} us a frame  {value / bare - 1:+7.1%}")
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _bare(detector: AnomalyDetector, pictures: list[np.ndarray]) -> Callable[[int], object]:
    backend = detector._backend
    interpreter = backend._interpreter
    inputs = [quantize(scale_pixels(picture), backend.input_details)[np.newaxis] for picture in pictures]

    def run(count: int) -> None:
        for index in range(count):
            interpreter.set_tensor(backend._input_index, inputs[index % len(inputs)])
            interpreter.invoke()
            for output in backend._output_indices:
                interpreter.get_tensor(output)

    return run


def _loop(model: Path, pictures: list[np.ndarray]) -> Callable[[int], object]:
    source = MemorySource(pictures)
    session = WatchSession(model, source, WatchOptions(summary_seconds=0, drift_window=200), AnomalyDetector)
    loop = session.loop

    def run(count: int) -> None:
        source.left, source.exhausted = count, False
        loop._stop.clear()
        loop.run()

    return run


if __name__ == "__main__":
    main()
