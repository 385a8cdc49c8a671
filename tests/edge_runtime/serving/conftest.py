from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_runtime.detector import AnomalyDetector
from edge_runtime.serving.options import ServeOptions
from edge_runtime.serving.service import NoSource, Service
from edge_runtime.watching.model_slot import DetectorLoader
from edge_runtime.watching.options import WatchOptions
from edge_runtime.watching.session import WatchSession
from tests.edge_runtime.watching.fakes import ListSource, in_background, wait_for

pytest.importorskip("waitress", reason="the serve extra is not installed")


@pytest.fixture
def start_service(artefact_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Service]]:
    """A function that starts a service on the loopback, on a free port unless told; all are stopped afterwards."""
    monkeypatch.delenv("TFGANOMALY_TOKEN", raising=False)
    running = []

    def start(
        source: ListSource | None = None,
        *,
        load_detector: DetectorLoader = AnomalyDetector,
        watch: dict[str, object] | None = None,
        **options: object,
    ) -> Service:
        values: dict[str, object] = {"summary_seconds": 0.0, "threshold": 0.2, "drift_window": 0, **(watch or {})}
        session = WatchSession(
            artefact_path, source or NoSource(), WatchOptions(**values), load_detector, outlives_source=True
        )
        service = Service(session, ServeOptions(**{"port": 0, **options}), load_detector)
        thread = in_background(service.run)
        running.append((service, thread))
        wait_for(lambda: session.board.components())
        return service

    yield start
    for service, thread in running:
        service.session.loop.stop("the test is over")
        thread.join(15)
        assert not thread.is_alive()
