"""What the watch loop costs over the bare interpreter, measured in one run, in turns.

    python benchmarks/watch_overhead.py parts.tflite [--json FILE]

Four things are timed on the same frames, uint8 arrays of the model's input size in memory:

- bare interpreter: set_tensor with the int8 input, invoke, get_tensor of all outputs; nothing else.
- detector: `AnomalyDetector.examine`: from the array to score and verdict, without a map.
- loop: `WatchLoop.run` on a source that gives the arrays: frame checks, detector, alarm, drift; no sink but the log.
- loop with a sink: the same with a sink that takes every judgement and does nothing with it; no map.

The frames are noise, and a copy of the model is calibrated on such noise, so that nearly all of them are good ones. On a
machine that does other work besides, the medians tell little; the 10 % quantiles are the times of the quiet rounds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
from machine import describe_machine

from edge_runtime.detector import AnomalyDetector
from edge_runtime.quantization import PixelLevels
from edge_runtime.recalibration import calibrate_artefact
from edge_runtime.sinks.sink import Evidence, SinkCounts
from edge_runtime.sources.source import SOURCE_COMPONENT, Frame
from edge_runtime.watching.events import ComponentHealth, Event
from edge_runtime.watching.options import WatchOptions
from edge_runtime.watching.session import SinkOpener, WatchSession


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


class CountingSink:
    """Takes every event, and does nothing with it."""

    name = "count"

    def __init__(self) -> None:
        self.events = 0

    def start(self) -> None:
        """Nothing to open."""

    def deliver(self, event: Event, evidence: Evidence | None) -> None:
        """One more."""
        self.events += 1

    def health(self) -> ComponentHealth:
        """Always well."""
        return ComponentHealth(self.name, "ok")

    def counts(self) -> SinkCounts:
        """How many came."""
        return SinkCounts(delivered=self.events)

    def close(self, timeout_seconds: float) -> None:
        """Nothing is queued."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--frames", type=int, default=500, help="frames a round of each kind")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / arguments.model.name
        shutil.copy(arguments.model, model)
        record = _measure(model, arguments.rounds, arguments.frames)
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _measure(model: Path, rounds: int, frames: int) -> dict[str, object]:
    detector = AnomalyDetector(model)
    shape = detector.preprocessing.input_shape
    noise = np.random.default_rng(0)
    calibrate_artefact(model, [noise.integers(0, 256, shape, np.uint8) for _ in range(400)], 0.01)
    pictures = [noise.integers(0, 256, shape, np.uint8) for _ in range(64)]
    kinds = {
        "bare interpreter": _bare(detector, pictures),
        "detector": lambda count: [detector.examine(pictures[index % 64]) for index in range(count)],
        "loop": _loop(model, pictures, []),
        "loop with a sink": _loop(model, pictures, [lambda controls: CountingSink()]),
    }
    times_us: dict[str, list[float]] = {name: [] for name in kinds}
    for round_number in range(rounds + 3):
        for name, run in kinds.items():
            start = perf_counter()
            run(frames)
            if round_number >= 3:  # the first rounds warm up
                times_us[name].append(1e6 * (perf_counter() - start) / frames)
    record: dict[str, object] = {
        "model": model.name,
        "input": list(shape),
        "rounds": rounds,
        "frames_a_round": frames,
        "machine": describe_machine(),
    }
    for title, share in (("median", 0.5), ("quiet rounds, 10 % quantile", 0.1)):
        figures = {name: float(np.quantile(values, share)) for name, values in times_us.items()}
        bare = figures["bare interpreter"]
        print(title)
        for name, value in figures.items():
            print(f"  {name:18} {value:8.1f} us a frame  {value - bare:+6.1f} us  {value / bare - 1:+7.1%}")
        record[f"us_a_frame, {title}"] = {name: round(value, 1) for name, value in figures.items()}
        record[f"overhead_over_bare, {title}"] = {name: round(value / bare - 1, 3) for name, value in figures.items()}
    return record


def _bare(detector: AnomalyDetector, pictures: list[np.ndarray]) -> Callable[[int], object]:
    backend = detector._backend
    interpreter = backend._interpreter
    levels = PixelLevels(backend.input_details)
    inputs = [levels.of(picture) for picture in pictures]

    def run(count: int) -> None:
        for index in range(count):
            interpreter.set_tensor(backend._input_index, inputs[index % len(inputs)])
            interpreter.invoke()
            for output in backend._output_indices:
                interpreter.get_tensor(output)

    return run


def _loop(model: Path, pictures: list[np.ndarray], sinks: list[SinkOpener]) -> Callable[[int], object]:
    source = MemorySource(pictures)
    session = WatchSession(model, source, WatchOptions(summary_seconds=0), AnomalyDetector, sinks)
    loop = session.loop

    def run(count: int) -> None:
        source.left, source.exhausted = count, False
        loop._stop.clear()
        loop.run()

    return run


if __name__ == "__main__":
    main()
