"""Trains or takes a run for each network, exports it in every quantization, and measures quality, size and latency."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from int8_runtimes import ModelFile, Run, peer_files
from interleaved import figures_of_files

from edge_runtime.detector import AnomalyDetector
from edge_runtime.preprocessing import Preprocessing, scale_pixels
from edge_runtime.scoring import ModelOutputs, ScoreRule
from export.building import draw_calibration_images
from export.images import load_export_images
from export.lowering import LoweredGraph, lower_graph
from export.options import ExportOptions
from export.pipeline import export_run
from tfganomaly.data.sources import canonical_source
from tfganomaly.errors import RunError, TfganomalyError
from tfganomaly.evaluation.evaluate import evaluate
from tfganomaly.evaluation.metrics import image_auroc
from tfganomaly.evaluation.scorer import score_items
from tfganomaly.training.run import TrainedRun, load_run
from tfganomaly.training.run_folder import RunFolder
from tfganomaly.training.trainer import train

_OURS: Mapping[str, Mapping[str, Any]] = {
    "LiteRT float32": {"quantization": "float32"},
    "LiteRT int8 (ptq)": {"quantization": "ptq"},
    "LiteRT int8 (qat)": {"quantization": "qat"},
    "LiteRT int8 (qat), Edge TPU's form": {"quantization": "qat", "target": "edgetpu", "edgetpu_compiler": "none"},
}


def quality_tables(
    arguments: argparse.Namespace, peers: Sequence[str], folder: Path
) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Yields a title and rows for each network, widest first; the files of a run are timed in turns."""
    runs_folder = arguments.runs_folder or folder
    widths = sorted(arguments.widths, reverse=True)
    for slope, latent_size, width in product(arguments.leaky_relu_slopes, arguments.latent_sizes, widths):
        activation = f"LeakyReLU {slope:g}" if slope else "ReLU"
        name = f"width {width}, latent size {latent_size}, {activation}"
        run_folder = runs_folder / f"{name}, seed {arguments.seed}".replace(", ", "-").replace(" ", "")
        run = _trained_run(arguments, run_folder, width, latent_size, slope)
        place = folder / f"files of {name}"
        place.mkdir()
        yield name, _rows_of_run(run, peers, place, arguments)


def _rows_of_run(
    run: TrainedRun, peers: Sequence[str], place: Path, arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    dataset = run.config.open_dataset()
    aurocs = {"run": evaluate(run, dataset).image_auroc}
    files: dict[str, ModelFile] = {}
    for name, wishes in _OURS.items():
        path = place / f"{len(files)}.tflite"
        export_run(run, path, ExportOptions(**wishes, max_auroc_drop=1.0, max_verdict_flips=1.0))
        aurocs[name] = evaluate(AnomalyDetector(path), dataset).image_auroc
        files[name] = ModelFile("litert", path, run.preprocessing.input_shape)
    graph = lower_graph(run.model.inference_graph())
    options = ExportOptions()
    images = load_export_images(run.config, options, None, lambda *stage: None)
    of_peers = peer_files(peers, graph, scale_pixels(draw_calibration_images(images.train, options)), place / "peers")
    for name, file in of_peers.items():
        scored = score_items(_PeerScorer(name, run, graph, file.load(threads=1)), dataset.test, keep_maps=False)
        aurocs[name] = image_auroc(scored.labels, scored.scores)
    figures = figures_of_files(
        {**files, **of_peers}, scale_pixels(images.train[:1])[0], arguments.rounds, arguments.core
    )
    return {
        name: {"AUROC": None if auroc is None else round(auroc, 4), **figures.get(name, {})}
        for name, auroc in aurocs.items()
    }


@dataclass(frozen=True)
class _PeerScorer:
    """Lets the project's evaluation score with another runtime; outputs are in the lowered graph's order."""

    description: str
    run: TrainedRun
    graph: LoweredGraph
    infer: Run

    @property
    def preprocessing(self) -> Preprocessing:
        """The run's."""
        return self.run.preprocessing

    @property
    def score_rule(self) -> ScoreRule:
        """The run's."""
        return self.run.score_rule

    def model_outputs(self, pixels: np.ndarray) -> ModelOutputs:
        """Runs uint8 (B, H, W, C) images one after the other."""
        outputs = zip(*(self.infer(image) for image in scale_pixels(pixels)), strict=True)
        named = zip(self.graph.output_names, outputs, strict=True)
        return ModelOutputs(**{name: np.concatenate(values) for name, values in named})


def _trained_run(
    arguments: argparse.Namespace, path: Path, width: int, latent_size: int, leaky_relu_slope: float
) -> TrainedRun:
    options = {
        "image_size": arguments.image_size,
        "generator_width": width,
        "discriminator_width": width,
        "latent_size": latent_size,
        "leaky_relu_slope": leaky_relu_slope,
        "epochs": arguments.epochs,
        "max_train_images": arguments.max_train_images,
        "seed": arguments.seed,
    }
    folder = RunFolder(path)
    if not _is_finished(folder):
        is_begun = folder.config_path.is_file()
        try:
            train(arguments.data, path, "paper", options, archive=arguments.archive, resume=is_begun)
        except TfganomalyError as error:
            raise SystemExit(str(error)) from error
    run = load_run(path)
    recorded = {**dataclasses.asdict(run.config.training), **dataclasses.asdict(run.config.model)}
    other = [name for name, value in options.items() if recorded[name] != value]
    if other or run.config.data_source != canonical_source(arguments.data):
        what = f"other {', '.join(other)}" if other else f"the data {run.config.data_source}"
        raise SystemExit(f"The run in '{path}' was trained with {what}; name another --runs-folder.")
    return run


def _is_finished(folder: RunFolder) -> bool:
    try:
        folder.require_finished()
    except RunError:
        return False
    return True
