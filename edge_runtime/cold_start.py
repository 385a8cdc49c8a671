"""Loads an artefact and scores one image in a process of its own, then prints what that took as JSON.

`benchmark` calls `main` there with MODEL.tflite THREADS DEVICE [FALLBACK].
"""

from __future__ import annotations

import sys
from time import monotonic

import numpy as np

from edge_runtime.detector import AnomalyDetector
from edge_runtime.interpreter import BackendLoader, load_backend


def peak_rss_mb() -> float:
    """Return the largest resident memory that this process has had, in megabytes (1e6 bytes).

    Linux's VmHWM counts this program alone, where `getrusage` also counts what the parent held before `exec`.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - Path would be one import more
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass  # not Linux
    import resource

    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes / 1e6


def main(arguments: list[str]) -> None:
    """Score one grey image, then print when it was done and the memory as JSON.

    The time is that of `time.monotonic`, which all processes of a machine share, in seconds.

    Args:
        arguments: Model, number of threads, device and, if there is one, fallback; see `DeviceOptions`.
    """
    model, threads, device, *fallback = arguments
    loader: BackendLoader = load_backend
    if device != "cpu":
        from edge_runtime.device_options import DeviceOptions
        from edge_runtime.edgetpu.delegate import device_backend_loader

        options = DeviceOptions(device, fallback[0] if fallback else None)
        loader = device_backend_loader(options, lambda line: print(line, file=sys.stderr))
    detector = AnomalyDetector(model, num_threads=int(threads), backend_loader=loader)
    shape = detector.preprocessing.input_shape
    detector.detect(np.full(shape, 127, np.uint8))
    sys.stdout.write(f'{{"scored_at_seconds": {monotonic()!r}, "peak_rss_mb": {peak_rss_mb()!r}}}\n')
