"""The whole way on real images in one command: train, evaluate, export, inspect on the device's runtime, report.

Each step is the command that a user would type, run in a process of its own and printed before it runs.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge_runtime.atomic_files import atomic_path
from edge_runtime.contact_sheet import SheetTile, contact_sheet
from edge_runtime.errors import TfganomalyError
from tfganomaly.data.items import ImageItem
from tfganomaly.data.sources import open_dataset
from tfganomaly.evaluation.advice import calibrate_command
from tfganomaly.evaluation.metrics import image_auroc
from tfganomaly.evaluation.wording import percent

DATA = "elpv"
# A third of the recipe's epochs: a demo is watched to its end.
TRAINING_FLAGS = ("--epochs=10", "--seed=0")
TILES_A_ROW = 6
ROWS_A_GROUP = 2
# A None in sys.modules makes the import fail: what runs here runs on a device that never had TensorFlow.
WITHOUT_TENSORFLOW = (
    "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras', 'tf_keras'))); "
    "from tfganomaly.__main__ import main; main()"
)


@dataclass(frozen=True)
class DemoFiles:
    """What the demo writes into its folder."""

    folder: Path

    @property
    def run(self) -> Path:
        """The run folder of the training."""
        return self.folder / "run"

    @property
    def model(self) -> Path:
        """The exported model."""
        return self.folder / "elpv.tflite"

    @property
    def float_metrics(self) -> Path:
        """Figures of the float run."""
        return self.folder / "float.json"

    @property
    def int8_metrics(self) -> Path:
        """Figures of the exported model."""
        return self.folder / "int8.json"

    @property
    def benchmark(self) -> Path:
        """Latency and memory."""
        return self.folder / "benchmark.json"

    @property
    def report(self) -> Path:
        """Folder of the HTML report."""
        return self.folder / "report"

    @property
    def heatmaps(self) -> Path:
        """Folder of the heatmaps, one a test image."""
        return self.folder / "heatmaps"

    @property
    def sheet(self) -> Path:
        """The heatmaps of the most unusual and the calmest test images, and of the defects that were nearly found."""
        return self.folder / "heatmaps.png"


def run_demo(folder: Path, tell: Callable[[str], None]) -> str:
    """Runs every step and returns the closing table.

    A demo that was stopped goes on where its training stood.

    Args:
        folder: Where everything is written; made if it does not exist.
        tell: Called with each line that a person should read on the way.

    Raises:
        TfganomalyError: A step failed; its own message has been shown.
    """
    files, started = DemoFiles(folder), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    test_items = open_dataset(DATA).test
    resume = ["--resume"] if (files.run / "config.json").is_file() else []
    tell("1/5  train on images of good solar cells only")
    _run(tell, "train", DATA, "--run", files.run, *TRAINING_FLAGS, *resume)
    tell("2/5  evaluate the float model")
    _run(tell, "evaluate", files.run, DATA, "--json", files.float_metrics)
    tell("3/5  export to int8 by quantization-aware training")
    _run(tell, "export", files.run, "--output", files.model)
    tell("4/5  judge every test cell as a device does: in a process in which TensorFlow cannot be imported")
    records = _inspect_without_tensorflow(tell, files, test_items)
    tell("5/5  report, heatmaps and latency of the int8 model")
    _run(tell, "evaluate", files.model, DATA, "--json", files.int8_metrics, "--report", files.report)
    _run(tell, "benchmark", files.model, "--json", files.benchmark)
    _write_sheet(files, test_items, records)
    return _closing_table(files, test_items, records, time.monotonic() - started)


def _run(tell: Callable[[str], None], *arguments: str | Path) -> None:
    words = [str(argument) for argument in arguments]
    tell(f"     $ tfganomaly {shlex.join(words)}")
    _check(subprocess.run([sys.executable, "-m", "tfganomaly", *words], stdout=sys.stderr, check=False), words[0])


def _inspect_without_tensorflow(
    tell: Callable[[str], None], files: DemoFiles, items: Sequence[ImageItem]
) -> list[dict[str, Any]]:
    tell(f"     $ tfganomaly inspect {files.model} ... --format json --heatmaps {files.heatmaps}  ({len(items)} cells)")
    command = ["inspect", str(files.model), *(str(item.source) for item in items)]
    command += ["--format", "json", "--heatmaps", str(files.heatmaps)]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *command], stdout=subprocess.PIPE, text=True, check=False
    )
    _check(done, "inspect")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _check(done: subprocess.CompletedProcess[Any], step: str) -> None:
    if done.returncode != 0:
        raise TfganomalyError(
            f"the step '{step}' of the demo ended with exit code {done.returncode}; see its message above."
        )


def _write_sheet(files: DemoFiles, items: Sequence[ImageItem], records: Sequence[dict[str, Any]]) -> None:
    """Draws the most unusual and the calmest test cells and the nearest misses, with score and truth."""
    truth = {str(item.source): item for item in items}
    falling = sorted((record for record in records if "score" in record), key=lambda record: -record["score"])
    shown = TILES_A_ROW * ROWS_A_GROUP
    misses = [record for record in falling if truth[record["path"]].is_anomalous and not record["is_anomaly"]]
    nearest = misses[:TILES_A_ROW]
    groups = [
        (f"The {shown} highest scores. A red frame is a wrong verdict.", falling[:shown]),
        (f"Just below the threshold: {len(nearest)} of {len(misses)} missed defects.", nearest),
        (f"The {shown} lowest scores.", falling[-shown:]),
    ]
    sheets = [
        contact_sheet(
            [_tile(files, record, truth[record["path"]]) for record in group], columns=TILES_A_ROW, title=title
        )
        for title, group in groups
        if group
    ]
    with atomic_path(files.sheet) as temporary:
        _stacked(sheets).save(temporary)


def _tile(files: DemoFiles, record: dict[str, Any], item: ImageItem) -> SheetTile:
    with Image.open(files.heatmaps / f"{Path(record['path']).stem}_heatmap.jpg") as heatmap:
        return SheetTile(
            heatmap.convert("RGB"),
            caption=f"{record['normalised_score']:.2f} {'anomalous' if record['is_anomaly'] else 'good'}",
            note=f"truth: {item.defect}",
            is_marked=record["is_anomaly"] != item.is_anomalous,
        )


def _stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Returns the sheets one below the other; a narrow one stands left, on the sheets' own background."""
    size = (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets))
    stacked = Image.new("RGB", size, sheets[0].getpixel((0, 0)))
    top = 0
    for sheet in sheets:
        stacked.paste(sheet, (0, top))
        top += sheet.height
    return stacked


def _closing_table(
    files: DemoFiles, items: Sequence[ImageItem], records: Sequence[dict[str, Any]], seconds: float
) -> str:
    float_figures = json.loads(files.float_metrics.read_text("utf-8"))
    int8_figures = json.loads(files.int8_metrics.read_text("utf-8"))
    benchmark = json.loads(files.benchmark.read_text("utf-8"))
    scores = {record["path"]: record["score"] for record in records if "score" in record}
    judged = [item for item in items if str(item.source) in scores]
    device_auroc = image_auroc(
        np.array([item.is_anomalous for item in judged]), np.array([scores[str(item.source)] for item in judged])
    )
    shortcut, shortcut_auroc = max(float_figures["shortcut_baselines"].items(), key=lambda entry: entry[1] or 0)
    latency = benchmark["latency_ms"]
    rows = [
        ("test cells", f"{float_figures['num_normal']} good, {float_figures['num_anomalous']} defective"),
        ("AUROC, float", f"{float_figures['image_auroc']:.3f}"),
        ("AUROC, int8 without TensorFlow", f"{device_auroc:.3f}"),
        *_verdict_rows(int8_figures),
        ("best shortcut baseline", f"{shortcut_auroc:.3f}  ({shortcut.replace('_', ' ')} alone)"),
        ("model size", f"{files.model.stat().st_size / 1e6:.2f} MB"),
        ("latency, one thread", f"{latency['p50']:.2f} ms p50, {latency['p95']:.2f} ms p95"),
        ("cold start, memory", f"{benchmark['cold_start_ms']:.0f} ms, {benchmark['peak_rss_mb']:.0f} MB"),
        ("time", f"{seconds / 60:.1f} minutes"),
    ]
    if device_auroc is not None and shortcut_auroc is not None and shortcut_auroc >= device_auroc:
        rows.append(("note", "a shortcut beats the model here: darkness alone says more about these cells"))
    rows += [
        ("look at", f"{files.report / 'report.html'}  and  {files.sheet}"),
        ("a threshold for 5% of them", calibrate_command(_program(), str(files.model))),
        ("go on with", f"{shlex.quote(_program())} train YOUR_FOLDER_OF_GOOD_PHOTOGRAPHS --run runs/parts"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def _verdict_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns what the stored threshold and others find, out of the figures that `evaluate --json` wrote."""
    defects, good = figures["num_anomalous"], figures["num_normal"]
    found, alarms = defects - figures["num_misses"], figures["num_false_alarms"]
    rows = [
        ("defects found, int8", f"{found} of {defects} ({percent(found / defects)})"),
        ("false alarms, int8", f"{alarms} of {good} ({percent(alarms / good)})"),
    ]
    points = figures["operating_points"]
    if points:
        found_at = (
            f"{percent(point['found_rate'])} at {percent(point['accepted_false_alarm_rate'])}" for point in points
        )
        rows.append(("what more false alarms find", ", ".join(found_at) + "; read off the test cells"))
    return rows


def _program() -> str:
    """Returns the program's path in the environment that runs it, activated or not, or its name."""
    return shutil.which("tfganomaly", path=str(Path(sys.executable).parent)) or "tfganomaly"
