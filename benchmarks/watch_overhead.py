"""What the watch loop costs over the bare interpreter, measured in one run, in turns.

    python benchmarks/watch_overhead.py parts.tflite [--json FILE]

Four things are timed on the same frames, uint8 arrays of the model's input size in memory:

- bare interpreter: set_tensor with the int8 input, invoke, get_tensor of all outputs; nothing else.
- detector: `AnomalyDetector.examine`: from the array to score and verdict, without a map.
- loop: what `WatchLoop.run` does from one frame to the next: checks of the camera, detector, alarm, drift; no sink but
  the log.
- loop with a sink: the same with a sink that takes every judgement and does nothing with it; no map.

The loop's source does the timing: after each 50 frames it lets bare interpreter and detector do 50 of their own, so
that all see the same machine. What is read is the thread's own processor time: what else the machine does is not
counted, though it is felt in the caches. Medians of these blocks. The frames are noise, and a copy of the model is
calibrated on such noise, so that nearly all of them are good ones.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import thread_time

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from figures_file import figures_file
from machine import describe_machine

from edge_runtime.calibrating.recalibration import CalibrationWish, calibrate_artefact
from edge_runtime.detector import AnomalyDetector
from edge_runtime.interpreter import Backend, BackendLoader, InterpreterBackend, load_backend
from edge_runtime.quantization import PixelLevels
from edge_runtime.sinks.sink import Evidence, SinkCounts
from edge_runtime.sources.source import SOURCE_COMPONENT, Frame
from edge_runtime.watching.events import ComponentHealth, Event
from edge_runtime.watching.options import WatchOptions
from edge_runtime.watching.session import SinkOpener, WatchSession

_BLOCK_FRAMES = 50
_WARM_UP_BLOCKS = 10


class TimingSource:
    """Gives arrays again and again, and times what is done with them and what else it is told to do.

    Args:
        pictures: uint8 (H, W, C) each.
        blocks: How many times `_BLOCK_FRAMES` frames to give.
        others: What to do between two blocks, as often, by name; gets the number of a picture.

    Attributes:
        times_us: A frame, the mean of each block, by name; under "loop" from giving a frame to giving the next.
    """

    name = "memory"
    dropped = 0

    def __init__(self, pictures: list[np.ndarray], blocks: int, others: dict[str, Callable[[int], object]]) -> None:
        self._frames = [Frame(f"frame {index}", picture) for index, picture in enumerate(pictures)]
        self._blocks = blocks
        self._others = others
        self._left = 0
        self._began = 0.0
        self.exhausted = False
        self.times_us: dict[str, list[float]] = {name: [] for name in (*others, "loop")}

    def start(self) -> None:
        """Nothing to open."""

    def next_frame(self, timeout_seconds: float) -> Frame | None:
        """The next array."""
        if not self._left and not self._begin_block():
            return None
        self._left -= 1
        return self._frames[self._left % len(self._frames)]

    def _begin_block(self) -> bool:
        """End the loop's block, do and time the others', begin the loop's next; False when there is none."""
        if self._began:
            self._note("loop", self._began)
        if len(self.times_us["loop"]) == self._blocks:
            self.exhausted = True
            return False
        for name, do in self._others.items():
            began = thread_time()
            for number in range(_BLOCK_FRAMES):
                do(number % len(self._frames))
            self._note(name, began)
        self._left = _BLOCK_FRAMES
        self._began = thread_time()
        return True

    def _note(self, name: str, began: float) -> None:
        self.times_us[name].append(1e6 * (thread_time() - began) / _BLOCK_FRAMES)

    def give_back(self) -> None:
        """Nothing: the arrays stay."""

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
    parser.add_argument("--blocks", type=int, default=200, help=f"blocks of {_BLOCK_FRAMES} frames of each kind")
    parser.add_argument("--no-xnnpack", action="store_true", help="use the interpreter's own, slower kernels")
    parser.add_argument("--json", type=figures_file)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / arguments.model.name
        shutil.copy(arguments.model, model)
        record = _measure(model, arguments.blocks, _load_without_xnnpack if arguments.no_xnnpack else load_backend)
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _load_without_xnnpack(flatbuffer: bytes, num_threads: int) -> Backend:
    plain = partial(Interpreter, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    return InterpreterBackend(flatbuffer, num_threads, "LiteRT without XNNPACK", plain)


def _measure(model: Path, blocks: int, load: BackendLoader) -> dict[str, object]:
    shape = AnomalyDetector(model).preprocessing.input_shape
    noise = np.random.default_rng(0)
    calibrate_artefact(model, [noise.integers(0, 256, shape, np.uint8) for _ in range(400)], CalibrationWish(0.01))
    detector = AnomalyDetector(model, backend_loader=load)
    pictures = [noise.integers(0, 256, shape, np.uint8) for _ in range(64)]
    others = {
        "bare interpreter": _bare(detector, pictures),
        "detector": lambda number: detector.examine(pictures[number], with_map=False),
    }
    runs: dict[str, dict[str, float]] = {}
    sinks: dict[str, list[SinkOpener]] = {"no sink": [], "a sink": [lambda controls: CountingSink()]}
    for title, openers in sinks.items():
        times_us = _times_of_a_watch(detector, pictures, blocks, others, openers)
        runs[title] = {name: float(np.median(values)) for name, values in times_us.items()}
        bare = runs[title]["bare interpreter"]
        print(title)
        for name, value in runs[title].items():
            print(f"  {name:18} {value:8.1f} us a frame  {value - bare:+7.1f} us  {value / bare - 1:+7.1%}")
    return {
        "model": model.name,
        "backend": detector.backend_name,
        "input": list(shape),
        "frames": blocks * _BLOCK_FRAMES,
        "median_us_a_frame": {
            title: {name: round(value, 1) for name, value in figures.items()} for title, figures in runs.items()
        },
        "overhead_over_bare": {
            title: {name: round(value / figures["bare interpreter"] - 1, 3) for name, value in figures.items()}
            for title, figures in runs.items()
        },
        "machine": describe_machine(),
    }


def _bare(detector: AnomalyDetector, pictures: list[np.ndarray]) -> Callable[[int], object]:
    backend = detector._backend
    assert isinstance(backend, InterpreterBackend)
    interpreter = backend._interpreter
    (input_index,) = (tensor["index"] for tensor in interpreter.get_input_details())
    output_indices = [tensor["index"] for tensor in interpreter.get_output_details()]
    inputs = [interpreter.get_tensor(input_index) for _ in pictures]
    for picture, content in zip(pictures, inputs, strict=True):
        PixelLevels(backend.input_details, content).write(picture)

    def run(number: int) -> None:
        interpreter.set_tensor(input_index, inputs[number])
        interpreter.invoke()
        for output in output_indices:
            interpreter.get_tensor(output)

    return run


def _times_of_a_watch(
    detector: AnomalyDetector,
    pictures: list[np.ndarray],
    blocks: int,
    others: dict[str, Callable[[int], object]],
    sinks: list[SinkOpener],
) -> dict[str, list[float]]:
    source = TimingSource(pictures, _WARM_UP_BLOCKS + blocks, others)
    # The same detector for all: the weights of a second one would drive those of the first out of the cache.
    WatchSession(detector.path, source, WatchOptions(summary_seconds=0), lambda path: detector, sinks).run()
    return {name: values[_WARM_UP_BLOCKS:] for name, values in source.times_us.items()}


if __name__ == "__main__":
    main()
