"""The soak of `benchmarks/watch_soak.py`, shortened: the real program, a real broker, and everything going wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.edge_runtime.sinks.broker import needs_mosquitto

ROOT = Path(__file__).resolve().parents[3]


@needs_mosquitto
def test_every_image_is_judged_once_and_every_alarm_arrives_whatever_goes_wrong(
    artefact_path: Path, tmp_path: Path
) -> None:
    pytest.importorskip("paho.mqtt", reason="the mqtt extra is not installed")
    figures_file = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/watch_soak.py", artefact_path, "--images", "1200", "--json", figures_file],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert figures_file.exists(), done.stderr
    figures = json.loads(figures_file.read_text())
    assert (figures["judged"], figures["judged_twice"], figures["not_judged"]) == (1188, 0, 0), figures
    assert figures["corrupt_reported"] == figures["corrupt_images"] == 12
    assert figures["alarms_arrived"] == figures["alarms"] >= 58
    assert figures["rss_growth"] < 0.1
    assert figures["exit_code"] == 0
    assert 0 < figures["judged_before_restart"] < 1188
    assert figures["summary"].startswith(f"stopped by SIGTERM: {1188 - figures['judged_before_restart']} judged")
