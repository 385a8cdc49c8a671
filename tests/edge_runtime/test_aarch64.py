"""The runtime on a 64-bit Arm processor, as a Raspberry Pi has it: emulated, with the packages that a Pi installs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_runtime.artefact import read_artefact
from edge_runtime.image_statistics import ImageStatistics
from edge_runtime.scoring import ScoreRule
from tests.edge_runtime import aarch64_commands
from tests.edge_runtime.aarch64_machine import Aarch64Machine, set_up_aarch64_machine
from tests.edge_runtime.textures import textures_of
from tests.edge_runtime.tiny_model import tiny_flatbuffer, tiny_metadata

BASE = {"ai-edge-litert", "click", "numpy", "pillow"}
ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("inspect", "calibrate", "inspect_again", "inspect_with_statistics", "watch", "benchmark")
WITH_STATISTICS = "statistics.tflite"


@dataclass(frozen=True)
class CommandResult:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def machine() -> Aarch64Machine:
    return set_up_aarch64_machine()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey, RGB, 16 bit, PNG and JPEG, of several sizes; one cannot be read."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(3)
    for index in range(16):
        shape = (30 + 7 * index, 40 + 5 * index, 3)[: 3 if index % 2 else 2]
        pixels = np.clip(random.normal(120, 10 + 3 * index, shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"part{index:02}.{'jpg' if index % 3 == 0 else 'png'}")
    Image.fromarray(random.integers(0, 65536, (50, 50), np.uint16)).save(folder / "part90.png")
    (folder / "part99.png").write_bytes(b"broken")
    return folder


def run_commands(folder: Path, photographs: Path, model: Path, run: Callable[[list[str]], None]) -> dict[str, Any]:
    arguments = {
        "inspect": ["inspect", model, photographs, "--format", "json"],
        "calibrate": ["calibrate", model, photographs],
        "inspect_again": ["inspect", model, photographs, "--format", "json", "--threads", "2"],
        "inspect_with_statistics": ["inspect", model.with_name(WITH_STATISTICS), photographs, "--format", "json"],
        "watch": ["watch", model, photographs, "--once", "--sink", f"jsonl:{folder / 'watch.jsonl'}"],
        "benchmark": ["benchmark", model, "--runs", "5", "--json", folder / "benchmark.json"],
    }
    for name in COMMANDS:
        (folder / name).write_text("\n".join(map(str, arguments[name])))
    run([str(folder), *(str(folder / name) for name in COMMANDS)])
    (folder / "watch.jsonl").rename(folder / "watch.out")
    texts = {name: [(folder / f"{name}.{part}").read_text() for part in ("code", "out", "err")] for name in COMMANDS}
    return {name: CommandResult(int(code), out, err) for name, (code, out, err) in texts.items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from edge_runtime.artefact import write_artefact

    good = np.random.default_rng(0).integers(90, 166, (20, 32, 32, 1), np.uint8)
    statistics = ImageStatistics.of_images(good, textures_of(good))
    paths = {}
    for name in ("arm", "here"):
        folder = tmp_path_factory.mktemp(name)
        write_artefact(folder / "tiny.tflite", tiny_flatbuffer(), tiny_metadata())
        rule = ScoreRule(statistics=statistics)
        write_artefact(folder / WITH_STATISTICS, tiny_flatbuffer(), tiny_metadata(score_rule=rule))
        paths[name] = folder / "tiny.tflite"
    return paths


@pytest.fixture(scope="module")
def on_arm(
    machine: Aarch64Machine, models: dict[str, Path], photographs: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, CommandResult]:
    def run(arguments: list[str]) -> None:
        done = machine.run([aarch64_commands.__file__, str(machine.python), *arguments])
        assert done.returncode == 0, done.stderr

    return run_commands(tmp_path_factory.mktemp("arm_results"), photographs, models["arm"], run)


@pytest.fixture(scope="module")
def on_this_machine(
    models: dict[str, Path], photographs: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, CommandResult]:
    def run(arguments: list[str]) -> None:
        command = [sys.executable, aarch64_commands.__file__, sys.executable, *arguments]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=120)

    return run_commands(tmp_path_factory.mktemp("results"), photographs, models["here"], run)


def records(result: CommandResult) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in result.out.splitlines()]
    for line in lines:
        line.pop("latency_ms", None)
    return lines


def test_the_base_install_is_the_runtime_and_nothing_else(machine: Aarch64Machine) -> None:
    needs = {
        normalised(distribution.metadata["Name"]): {
            normalised(need) for need in distribution.requires or [] if "extra ==" not in need
        }
        for distribution in distributions(path=[str(machine.site)])
    }
    expected, to_do = set[str](), set(BASE)
    while to_do:
        expected |= to_do
        to_do = set().union(*(needs[name] for name in to_do if name in needs)) - expected
    assert BASE <= set(needs) <= expected
    assert not set(needs) & {"tensorflow", "keras", "scikit-learn", "matplotlib", "paho-mqtt", "opencv-python-headless"}


def normalised(requirement: str) -> str:
    """The name in a requirement as package indexes compare it (PEP 503)."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_scores_are_those_of_x86_64_to_the_bit(
    on_arm: dict[str, CommandResult], on_this_machine: dict[str, CommandResult]
) -> None:
    for command in ("inspect", "inspect_again", "inspect_with_statistics"):
        here, there = on_this_machine[command], on_arm[command]
        assert there.code == here.code == 0
        assert len(records(there)) == 18
        assert records(there) == records(here)


def test_a_calibration_gives_the_same_artefact(
    on_arm: dict[str, CommandResult], on_this_machine: dict[str, CommandResult], models: dict[str, Path]
) -> None:
    assert on_arm["calibrate"].code == 0, on_arm["calibrate"].err
    assert "left out: " in on_arm["calibrate"].err
    assert on_arm["calibrate"].out == on_this_machine["calibrate"].out
    assert read_artefact(models["arm"]).metadata.calibration == read_artefact(models["here"]).metadata.calibration


def test_a_watch_judges_every_photograph_once_with_those_scores(on_arm: dict[str, CommandResult]) -> None:
    assert on_arm["watch"].code == 0, on_arm["watch"].err
    events = [json.loads(line) for line in on_arm["watch"].out.splitlines()]
    watched = {event["frame"]: event["score"] for event in events if event["event"] == "judgement"}
    assert watched == {
        record["path"]: record["score"] for record in records(on_arm["inspect_again"]) if "score" in record
    }
    assert [event["event"] for event in events].count("judgement") == len(watched) == 17
    assert [event["event"] for event in events].count("unreadable") == 1


def test_a_benchmark_runs_and_names_its_backend(on_arm: dict[str, CommandResult]) -> None:
    assert on_arm["benchmark"].code == 0, on_arm["benchmark"].err
    assert "LiteRT" in on_arm["benchmark"].out
    assert "(CPU, 1 thread)" in on_arm["benchmark"].out
