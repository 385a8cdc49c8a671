from __future__ import annotations

import json
from pathlib import Path
from time import monotonic

import pytest

from edge_runtime.benchmark import measure
from edge_runtime.errors import ArtefactError, BackendError
from edge_runtime.text_output import benchmark_text


def test_a_benchmark_has_the_names_that_other_tools_rely_on(artefact_path: Path) -> None:
    calls: list[int] = []
    held = bytearray(b"x") * 200_000_000  # the child's own peak must not include what this process holds
    held_mb = len(held) / 1e6
    start_seconds = monotonic()
    result = measure(artefact_path, num_threads=2, runs=30, warm_up_runs=3, progress=lambda done, _: calls.append(done))
    elapsed_ms = 1000 * (monotonic() - start_seconds)
    figures = result.to_dict()
    names = "latency_ms cold_start_ms peak_rss_mb images_per_second threads backend model_bytes file_bytes"
    assert set(figures) >= set(names.split())
    assert set(result.latency_ms) == {"p50", "p95", "p99", "mean"}
    assert 0 < result.latency_ms["p50"] <= result.latency_ms["p95"] <= result.latency_ms["p99"]
    assert result.inference_ms["p50"] < result.latency_ms["p50"]
    assert result.images_per_second == pytest.approx(1000 / result.latency_ms["mean"], rel=0.01)
    assert (result.threads, result.runs) == (2, 30)
    assert calls == list(range(1, 31))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert result.file_bytes == artefact_path.stat().st_size > result.model_bytes
    sizes = f"file {result.file_bytes / 1e6:.2f} MB, network {result.model_bytes / 1e6:.2f} MB"
    assert f"size         {sizes}" in benchmark_text(result).splitlines()
    assert 20 < result.peak_rss_mb < held_mb
    # The median of three cold starts, each of them an interpreter's start and an image more.
    assert result.latency_ms["p50"] < result.cold_start_ms < elapsed_ms / 2


def test_modules_in_the_working_directory_are_not_taken_for_our_own_or_python_s(
    artefact_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "foreign"
    (foreign / "edge_runtime").mkdir(parents=True)
    for name in ("random.py", "numpy.py", "edge_runtime/__init__.py"):
        (foreign / name).write_text("raise SystemExit('a foreign module was run')\n")
    monkeypatch.chdir(foreign)
    assert measure(artefact_path, runs=1, warm_up_runs=0).cold_start_ms > 0


def test_impossible_benchmarks_are_refused(artefact_path: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="1 or more"):
        measure(artefact_path, runs=0)
    with pytest.raises(ArtefactError, match="does not exist"):
        measure(tmp_path / "none.tflite")


def test_a_child_process_that_fails_is_one_clear_line(artefact_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(artefact_path.parent / "no-python"))
    with pytest.raises(BackendError, match="fresh process that measures the cold start failed") as caught:
        measure(artefact_path, runs=1, warm_up_runs=0)
    assert "\n" not in str(caught.value)
