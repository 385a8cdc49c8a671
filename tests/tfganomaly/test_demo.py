import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tfganomaly import demo
from tfganomaly.data.items import ImageItem, InspectionDataset

GOOD, DEFECTIVE = 15, 25
THRESHOLD = 30
EVALUATED = {
    "num_normal": 300,
    "num_anomalous": 715,
    "num_misses": 508,
    "num_false_alarms": 3,
    "image_auroc": 0.85,
    "shortcut_baselines": {"mean_grey": 0.74, "image_width": None},
    "operating_points": [
        {
            "accepted_false_alarm_rate": 0.01,
            "threshold": 2.0,
            "num_false_alarms": 3,
            "num_found": 143,
            "found_rate": 0.2,
        },
        {
            "accepted_false_alarm_rate": 0.05,
            "threshold": 1.0,
            "num_false_alarms": 9,
            "num_found": 286,
            "found_rate": 0.4,
        },
    ],
}
BENCHMARK = {"latency_ms": {"p50": 1.0, "p95": 2.0}, "cold_start_ms": 100, "peak_rss_mb": 50}


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """40 cells, whose scores are their numbers: from 15 on they are defective, above 30 called so."""
    items = tuple(
        ImageItem(f"{number}.png", tmp_path / f"{number}.png", number >= GOOD, "crack" if number >= GOOD else "good")
        for number in range(GOOD + DEFECTIVE)
    )
    monkeypatch.setattr(demo, "open_dataset", lambda data: InspectionDataset(data, data, (), (), items))
    return items


@pytest.fixture
def sheets(monkeypatch):
    """(title, captions, marks) of each sheet that was drawn."""
    drawn, draw = [], demo.contact_sheet

    def remember(tiles, **options):
        drawn.append((options["title"], [tile.caption for tile in tiles], [tile.is_marked for tile in tiles]))
        return draw(tiles, **options)

    monkeypatch.setattr(demo, "contact_sheet", remember)
    return drawn


@pytest.fixture
def run_demo(cells, tmp_path, monkeypatch):
    """Runs the demo with steps that only write what the real ones would."""

    def step(command, **_):
        words = command[3:]
        if words[0] == "inspect":
            return subprocess.CompletedProcess(command, 0, stdout=inspect(Path(words[-1])))
        if words[0] == "export":
            Path(words[words.index("--output") + 1]).write_bytes(b"model")
        if "--json" in words:
            figures = BENCHMARK if words[0] == "benchmark" else EVALUATED
            Path(words[words.index("--json") + 1]).write_text(json.dumps(figures), "utf-8")
        return subprocess.CompletedProcess(command, 0)

    def inspect(heatmaps):
        heatmaps.mkdir()
        records = []
        for score, cell in enumerate(cells):
            Image.new("RGB", (8, 8)).save(heatmaps / f"{cell.source.stem}_heatmap.jpg")
            called = score > THRESHOLD
            records.append(
                {"path": str(cell.source), "score": score, "normalised_score": score / 100, "is_anomaly": called}
            )
        return "\n".join(json.dumps(record) for record in records)

    monkeypatch.setattr(demo.subprocess, "run", step)
    return lambda: demo.run_demo(tmp_path / "my demo", lambda line: None)


def test_the_closing_says_what_was_missed_and_what_more_false_alarms_would_find(run_demo):
    closing = run_demo()
    rows = dict(line.split("  ", 1) for line in closing.splitlines())
    rows = {name: text.strip() for name, text in rows.items()}
    assert rows["defects found, int8"] == "207 of 715 (29.0%)"
    assert rows["false alarms, int8"] == "3 of 300 (1.0%)"
    assert rows["what more false alarms find"] == "20.0% at 1.0%, 40.0% at 5.0%; read off the test cells"


def test_the_sheet_shows_the_misses_nearest_to_the_threshold(run_demo, sheets, tmp_path):
    run_demo()
    highest, nearest, lowest = sheets
    assert "12 highest" in highest[0]
    assert "12 lowest" in lowest[0]
    # Of the defective cells 15 .. 39 those up to 30 are missed: a score at the threshold is not above it.
    assert nearest[0] == "Just below the threshold: 6 of 16 missed defects."
    assert nearest[1] == [f"0.{score} good" for score in (30, 29, 28, 27, 26, 25)]
    assert all(nearest[2])
    with Image.open(tmp_path / "my demo" / "heatmaps.png") as sheet:
        assert sheet.height > sheet.width  # five rows of six tiles


def test_without_a_miss_the_sheet_has_no_row_for_it(run_demo, sheets, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "THRESHOLD", GOOD - 1)
    run_demo()
    assert [title[:8] for title, _, _ in sheets] == ["The 12 h", "The 12 l"]


@pytest.mark.parametrize("is_installed", [True, False])
def test_the_commands_to_go_on_with_run_where_the_environment_is_not_activated(
    run_demo, tmp_path, monkeypatch, is_installed
):
    programs = tmp_path / "an environment" / "bin"
    programs.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    if is_installed:
        (programs / "tfganomaly").touch(mode=0o755)
    program = str(programs / "tfganomaly") if is_installed else "tfganomaly"
    _, set_rate, go_on = run_demo().splitlines()[-3:]
    assert f"  {shlex.quote(program)} train " in go_on
    model = tmp_path / "my demo" / "elpv.tflite"
    assert shlex.split(set_rate)[-6:] == [program, "calibrate", str(model), "GOOD_FOLDER", "--false-alarm-rate", "0.05"]
