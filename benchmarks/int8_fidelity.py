"""How much AUROC an int8 file keeps: the run against float32, PTQ and QAT, each over the whole test part.

    python benchmarks/int8_fidelity.py elpv --image-size 64 --width 16 --epochs 30
    python benchmarks/int8_fidelity.py fashion-mnist:8 --epochs 3 --max-train-images 12800 --json fashion8.json

Trains once (or takes a finished run with --run), exports with every quantization and evaluates each file through the
runtime. Everything is also printed as it falls out, bad results included.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from machine import describe_machine

from edge_runtime.detector import AnomalyDetector
from export.options import ExportOptions
from export.pipeline import export_run
from tfganomaly.evaluation.evaluate import evaluate
from tfganomaly.evaluation.result import EvaluationResult
from tfganomaly.training.run import TrainedRun, load_run
from tfganomaly.training.trainer import train

QUANTIZATIONS = ("float32", "ptq", "qat")


def main() -> None:
    """Trains, exports, evaluates, prints."""
    arguments = _parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        run = _trained_run(arguments, Path(folder))
        dataset = run.config.open_dataset()
        rows = [{"model": "run", **_figures(evaluate(run, dataset))}]
        for quantization in QUANTIZATIONS:
            path = Path(folder) / f"{quantization}.tflite"
            options = ExportOptions(
                quantization=quantization, max_auroc_drop=1.0, max_verdict_flips=1.0, seed=arguments.export_seed
            )
            result = export_run(run, path, options)
            figures = _figures(evaluate(AnomalyDetector(path), dataset))
            rows.append({"model": quantization, "seconds": round(result.seconds), **figures})
    print(f"{arguments.data}, seed {arguments.seed}, {len(dataset.test)} test images")
    for row in rows:
        print(f"{row['model']:8} AUROC {row['image_auroc']:.4f}  false alarms {row['false_alarm_rate']:.4f}")
    record = {"data": arguments.data, "seed": arguments.seed, "machine": describe_machine(), "rows": rows}
    print(json.dumps(record["machine"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--run", type=Path, help="a finished run, instead of training one")
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--max-train-images", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export-seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _trained_run(arguments: argparse.Namespace, folder: Path) -> TrainedRun:
    if arguments.run:
        return load_run(arguments.run)
    options = {
        "image_size": arguments.image_size,
        "generator_width": arguments.width,
        "discriminator_width": arguments.width,
        "epochs": arguments.epochs,
        "max_train_images": arguments.max_train_images,
        "seed": arguments.seed,
    }
    train(arguments.data, folder / "run", "paper", options, archive=arguments.archive)
    return load_run(folder / "run")


def _figures(result: EvaluationResult) -> dict[str, float | None]:
    return {
        "image_auroc": result.image_auroc,
        "false_alarm_rate": result.at_threshold.false_alarm_rate,
        "miss_rate": result.at_threshold.miss_rate,
    }


if __name__ == "__main__":
    main()
