"""The figures of a watch in Prometheus's text format: the one place that knows `prometheus_client`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edge_runtime.extras import needs_extra
from edge_runtime.version import __version__
from edge_runtime.watching.session import WatchSession

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HEALTH_VALUE = {"ok": 0, "degraded": 1, "failed": 2}


class Metrics:
    """Reads the figures when they are asked for, so that counting costs the loop nothing.

    Args:
        session: The watch.
        uploads: Gives how many uploads were judged and how many refused.

    Raises:
        MissingExtraError: prometheus_client is not installed.
    """

    def __init__(self, session: WatchSession, uploads: Callable[[], tuple[int, int]]) -> None:
        with needs_extra("serve", "prometheus_client"):
            from prometheus_client import CollectorRegistry, core, generate_latest
        self._session = session
        self._uploads = uploads
        self._families = core
        self._generate = generate_latest
        self._registry = CollectorRegistry()
        self._registry.register(self)  # type: ignore[arg-type]

    def text(self) -> bytes:
        """Return all figures."""
        return bytes(self._generate(self._registry))

    def collect(self) -> Iterator[Any]:
        """Yield the metric families; called by prometheus_client."""
        families, session = self._families, self._session
        loop, done = session.loop, session.loop.statistics
        judged_uploads, refused_uploads = self._uploads()

        def counter(name: str, text: str, value: float) -> Any:
            return families.CounterMetricFamily(f"tfganomaly_{name}", text, value=value)

        def gauge(name: str, text: str, value: float) -> Any:
            return families.GaugeMetricFamily(f"tfganomaly_{name}", text, value=value)

        yield counter("frames_judged", "Frames judged.", done.judged)
        yield counter("frames_anomalous", "Frames judged anomalous.", done.anomalous)
        yield counter("frames_unreadable", "Frames that were no pictures.", done.unreadable)
        yield counter("frames_dropped", "Frames of a live source that came while the loop was busy.", done.dropped)
        yield counter("frames_failed", "Frames that could not be judged.", done.failed)
        yield counter("alarms", "Alarms raised.", done.alarms)
        yield counter("uploads_judged", "Uploaded images judged.", judged_uploads)
        yield counter("uploads_refused", "Uploads that were no pictures.", refused_uploads)
        yield gauge("alarm", "1 while there is an alarm.", loop.alarm == "on")
        yield gauge("scene_changed", "1 while the scores as a whole differ from the calibration.", loop.scene_changed)
        yield gauge("threshold", "Raw score above which a frame is anomalous.", loop.threshold)
        if done.last_score is not None:
            yield gauge("last_score", "Raw score of the latest frame.", done.last_score)
        # The label "quantile" is for summaries, which have a sum and a count of all frames; these are the latest ones.
        latency = families.GaugeMetricFamily(
            "tfganomaly_latency_seconds", "From picture to verdict, of the latest frames.", labels=["percentile"]
        )
        for percentile in (50, 95, 99):
            value_ms = done.latency_ms(percentile / 100)
            if value_ms is not None:
                latency.add_metric([str(percentile)], value_ms / 1000)
        yield latency
        health = families.GaugeMetricFamily("tfganomaly_health", "0 ok, 1 degraded, 2 failed.", labels=["component"])
        for component in session.board.components():
            health.add_metric([component.component], _HEALTH_VALUE[component.state])
        yield health
        yield from self._sink_counts()
        model = families.GaugeMetricFamily("tfganomaly_model", "What judges.", labels=["sha256", "version"])
        model.add_metric([loop.model_sha256, __version__], 1)
        yield model

    def _sink_counts(self) -> Iterator[Any]:
        families = self._families
        delivered = families.CounterMetricFamily("tfganomaly_sink_delivered", "Events delivered.", labels=["sink"])
        dropped = families.CounterMetricFamily("tfganomaly_sink_dropped", "Events lost.", labels=["sink"])
        waiting = families.GaugeMetricFamily("tfganomaly_sink_waiting", "Events that wait.", labels=["sink"])
        for sink in self._session.hub.sinks:
            counts = sink.counts()
            delivered.add_metric([sink.name], counts.delivered)
            dropped.add_metric([sink.name], counts.dropped)
            waiting.add_metric([sink.name], counts.waiting)
        yield from (delivered, dropped, waiting)
