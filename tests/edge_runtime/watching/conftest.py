"""Pictures of a part, an interpreter in trouble, and a whole watch on a fake source."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import BackendError
from edge_runtime.watching.options import WatchOptions
from edge_runtime.watching.session import WatchSession
from tests.edge_runtime.conftest import FakeBackend
from tests.edge_runtime.watching.fakes import ListSink, ListSource

DIRT = np.random.default_rng(13).integers(0, 2, (22, 32)) * 255


def good(random: np.random.Generator | None = None) -> np.ndarray:
    """A smooth part with the generator's next noise; without one it is the same picture each time."""
    noise = (random or np.random.default_rng(0)).normal(0, 2, (30, 40))
    return (np.tile(np.linspace(60, 180, 40), (30, 1)) + noise).astype(np.uint8)


def bad(random: np.random.Generator | None = None) -> np.ndarray:
    marked = good(random)
    marked[4:26, 4:36] = DIRT
    return marked


@pytest.fixture
def random() -> np.random.Generator:
    """The noise of a test's pictures, whatever other tests ran before."""
    return np.random.default_rng(0)


class Interpreter(FakeBackend):
    """Fails or waits when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.refused_value = -1
        self.wait_seconds = 0.0

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        time.sleep(self.wait_seconds)
        if pixels.max() == self.refused_value:
            raise BackendError("not this picture")
        if self.failures:
            self.failures -= 1
            raise BackendError("the accelerator has gone")
        return super().run(pixels)


def with_interpreter(interpreter: Interpreter) -> Callable[[Path], AnomalyDetector]:
    return lambda path: AnomalyDetector(path, backend_loader=lambda flatbuffer, threads: interpreter)


Watch = Callable[..., tuple[WatchSession, ListSink]]


@pytest.fixture
def watch(artefact_path: Path) -> Watch:
    """A function that puts a watch together whose threshold lies between good and bad."""

    def make(
        source: ListSource, loader: Callable[[Path], AnomalyDetector] = AnomalyDetector, **options: object
    ) -> tuple[WatchSession, ListSink]:
        sink = ListSink()
        values: dict[str, object] = {"threshold": 0.2, "summary_seconds": 0.0, "drift_window": 0, **options}
        session = WatchSession(artefact_path, source, WatchOptions(**values), loader, [lambda controls: sink])
        return session, sink

    return make
