"""Measures what a model costs on this machine: latency, cold start, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from edge_runtime.artefact import read_tflite_file
from edge_runtime.detector import AnomalyDetector
from edge_runtime.device_options import DeviceOptions
from edge_runtime.edgetpu.delegate import device_backend_loader
from edge_runtime.errors import BackendError

_COLD_STARTS = 3
_COLD_START_TIMEOUT_SECONDS = 120
# Not `python -m`, which looks for modules in the working directory first: a file random.py there would be run.
_COLD_START_PROGRAM = (
    "import sys; package_parent = sys.argv.pop(1); sys.path = [package_parent, *filter(None, sys.path)]; "
    "from edge_runtime.cold_start import main; main(sys.argv[1:])"
)


def _say_nothing(line: str) -> None:
    pass


@dataclass(frozen=True)
class BenchmarkResult:
    """What was measured. All latencies run from a picture in memory to its verdict and anomaly map.

    Attributes:
        latency_ms: "p50", "p95", "p99" and "mean" in milliseconds.
        inference_ms: The interpreter's share of it, the same four figures.
        cold_start_ms: From the start of a fresh Python process to its first score, median of three.
        peak_rss_mb: Largest resident memory of that process, in megabytes.
        images_per_second: 1000 / mean latency.
        threads: CPU threads for one inference.
        backend: What ran the model.
        model_bytes: Size of the network alone, the flatbuffer.
        file_bytes: Size of the whole file: the network, and the metadata with the image statistics.
        runs: How many images were timed.
        warm_up_runs: How many were judged before, untimed.
    """

    latency_ms: dict[str, float]
    inference_ms: dict[str, float]
    cold_start_ms: float
    peak_rss_mb: float
    images_per_second: float
    threads: int
    backend: str
    model_bytes: int
    file_bytes: int
    runs: int
    warm_up_runs: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that `benchmark --json` writes."""
        return dict(vars(self))


def measure(
    path: str | os.PathLike[str],
    *,
    num_threads: int = 1,
    runs: int = 200,
    warm_up_runs: int = 20,
    device: DeviceOptions | None = None,
    say: Callable[[str], None] = _say_nothing,
    progress: Callable[[int, int], None] | None = None,
) -> BenchmarkResult:
    """Measure an artefact on this machine.

    The pictures are noise of the model's input size from a fixed seed: the time of a convolution does not
    depend on what it sees. Decoding and resizing of real photographs come on top; `inspect` shows them.

    Args:
        path: The artefact.
        num_threads: CPU threads for one inference.
        runs: How many images to time, 1 or more.
        warm_up_runs: How many to judge before that.
        device: What runs the model; None: the CPU.
        say: Called with what `device_backend_loader` has to say.
        progress: Called with (images done, images in all) after each timed image.

    Raises:
        ArtefactError: The artefact cannot be used.
        BackendError: The interpreter or the fresh process failed, or `runs` is below 1.
    """
    if runs < 1 or warm_up_runs < 0:
        raise BackendError(
            f"{runs} runs after {warm_up_runs} to warm up were asked for; 1 or more after 0 or more are needed."
        )
    device = device or DeviceOptions()
    loader = device_backend_loader(device, say)
    detector = AnomalyDetector(path, num_threads=num_threads, backend_loader=loader)
    noise = np.random.default_rng(0)
    images = noise.integers(0, 256, (16, *detector.preprocessing.input_shape), np.uint8)
    for index in range(warm_up_runs):
        detector.detect(images[index % len(images)])
    latencies_ms: list[float] = []
    inferences_ms: list[float] = []
    for index in range(runs):
        start = perf_counter()
        detection = detector.detect(images[index % len(images)])
        latencies_ms.append(1000 * (perf_counter() - start))
        inferences_ms.append(detection.timings.inference_ms)
        if progress is not None:
            progress(index + 1, runs)
    cold_starts = [_cold_start(path, num_threads, device) for _ in range(_COLD_STARTS)]
    latency = _summary(latencies_ms)
    return BenchmarkResult(
        latency_ms=latency,
        inference_ms=_summary(inferences_ms),
        cold_start_ms=round(float(np.median([elapsed_ms for elapsed_ms, _ in cold_starts])), 1),
        peak_rss_mb=round(max(peak_mb for _, peak_mb in cold_starts), 1),
        images_per_second=round(1000 / latency["mean"], 1),
        threads=num_threads,
        backend=detector.backend_name,
        model_bytes=detector.model_bytes,
        file_bytes=len(read_tflite_file(path)),
        runs=runs,
        warm_up_runs=warm_up_runs,
    )


def _summary(values_ms: list[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(values_ms, [50, 95, 99]).tolist()
    figures = {"p50": p50, "p95": p95, "p99": p99, "mean": float(np.mean(values_ms))}
    return {name: round(value, 4) for name, value in figures.items()}


def _cold_start(path: str | os.PathLike[str], num_threads: int, device: DeviceOptions) -> tuple[float, float]:
    """Return milliseconds from starting a process to its first score, and its peak memory in megabytes."""
    package_parent = str(Path(__file__).resolve().parent.parent)
    arguments = [os.path.abspath(path), str(num_threads), device.device, *filter(None, [device.fallback])]  # noqa: PTH100
    command = [sys.executable, "-c", _COLD_START_PROGRAM, package_parent, *arguments]
    start_seconds = monotonic()
    try:
        child = subprocess.run(
            command,
            capture_output=True,
            check=True,
            timeout=_COLD_START_TIMEOUT_SECONDS,
        )
        report = json.loads(child.stdout)
        return 1000 * (report["scored_at_seconds"] - start_seconds), float(report["peak_rss_mb"])
    except subprocess.CalledProcessError as error:
        last_line = error.stderr.decode("utf-8", errors="replace").strip().rpartition("\n")[2]
        raise BackendError(f"The fresh process that measures the cold start failed: {last_line}") from error
    except (subprocess.TimeoutExpired, OSError, ValueError, KeyError) as error:
        raise BackendError(f"The fresh process that measures the cold start failed: {error}") from error
