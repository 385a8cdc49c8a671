"""Images a second of a training: ours through the real fit loop against the authors' step in PyTorch.

    python benchmarks/training_throughput.py
    python benchmarks/training_throughput.py --rounds 9 --steps 100 --json throughput.json

32 x 32 x 1, batch 64, latent size 100, width 64. One epoch of ours and as many steps of theirs take turns in one
process, so that both meet the same machine; the first turn of each, which compiles, is left out. Ours is
`tfganomaly.training.fitting.fit` with all that a training does: shuffled uint8 pixels, progress, history, checkpoints,
samples, TensorBoard. Two rates of it are given: over the steps, as theirs is, and over whole epochs with validation and
all writing.

A busy machine hurts PyTorch more: its threads wait for each other in every operation. Look at the load before
believing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from figures_file import figures_file
from machine import describe_machine
from pytorch_reference import PytorchGanomaly, channels_first

from edge_runtime.preprocessing import scale_pixels
from edge_runtime.scoring import ScoreRule
from tfganomaly.options import ModelOptions, TrainingOptions
from tfganomaly.quiet_tensorflow import import_quietly
from tfganomaly.training.callbacks import TrainingProgress
from tfganomaly.training.observer import TrainingObserver
from tfganomaly.training.run_folder import RunConfig, RunFolder

BATCH_SIZE = 64
VALIDATION_IMAGES = 256


class Turns(TrainingObserver):
    """Takes the time of our epochs, and lets PyTorch train between them.

    Args:
        pixels: uint8 (N, 32, 32, 1), what both train on.
        options: The model's.
        seed: Of PyTorch's weights and order.
    """

    def __init__(self, pixels: np.ndarray, options: ModelOptions, seed: int) -> None:
        torch.manual_seed(seed)
        self.pixels, self.random = pixels, np.random.default_rng(seed)
        self.reference = PytorchGanomaly(options)
        self.our_steps: list[float] = []
        self.our_epochs: list[float] = []
        self.pytorch_steps: list[float] = []
        self.epoch_began = time.perf_counter()

    def training(self, progress: TrainingProgress) -> None:
        """Notes the rate over the steps of an epoch, as the progress bar shows it."""
        if progress.epoch_done:
            self.our_steps.append(progress.images_per_second)

    def after_epoch(self, model: object) -> dict[str, float]:
        """PyTorch's turn; what happens until the next call is our epoch, writing included."""
        began = time.perf_counter()
        self.our_epochs.append(len(self.pixels) / (began - self.epoch_began))
        for batch in self._batches():
            self.reference.training_step(channels_first(scale_pixels(batch)))
        self.epoch_began = time.perf_counter()
        self.pytorch_steps.append(len(self.pixels) / (self.epoch_began - began))
        return {}

    def _batches(self) -> Iterator[np.ndarray]:
        order = self.random.permutation(len(self.pixels))
        for start in range(0, len(order), BATCH_SIZE):
            yield self.pixels[order[start : start + BATCH_SIZE]]


def main() -> None:
    """Measures, prints, writes."""
    arguments = _parse_arguments()
    import_quietly()
    from tfganomaly.training.fitting import fit

    if arguments.threads:
        import tensorflow as tf

        torch.set_num_threads(arguments.threads)
        tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    random = np.random.default_rng(arguments.seed)
    pixels = random.integers(0, 256, (arguments.steps * BATCH_SIZE, 32, 32, 1), np.uint8)
    held_back = random.integers(0, 256, (VALIDATION_IMAGES, 32, 32, 1), np.uint8)
    model = ModelOptions(channels=1)
    training = TrainingOptions(epochs=arguments.rounds + 1, batch_size=BATCH_SIZE, seed=arguments.seed)
    turns = Turns(pixels, model, arguments.seed)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        config = RunConfig(training, model, "random images", None, ScoreRule())
        run.create(config)
        fit(run, config, pixels, held_back, turns, turns.after_epoch)
    record = {**_figures(turns), "rounds": arguments.rounds, "steps": arguments.steps, "seed": arguments.seed}
    record |= {"load_before": load_before, "machine": {**describe_machine(), "torch": torch.__version__}}
    by_round = ", ".join(f"{ratio:.2f}" for ratio in record["ratio_by_round"])
    print(
        f"ours     {record['images_per_second']:7.1f} images/s through fit, "
        f"{record['whole_epoch_images_per_second']:.1f} with validation and writing\n"
        f"PyTorch  {record['pytorch_images_per_second']:7.1f} images/s, {record['pytorch_threads']} threads\n"
        f"ratio    {record['ratio']:7.2f}  (by round: {by_round}; whole epochs {record['whole_epoch_ratio']:.2f})\n"
        f"load before {load_before:.1f} on {os.cpu_count()} cores"
    )
    print(json.dumps(record["machine"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _figures(turns: Turns) -> dict[str, object]:
    """Medians over the rounds; the first, which compiles, is left out. The ratio is that of neighbours in time."""
    ours, epochs, theirs = turns.our_steps[1:], turns.our_epochs[1:], turns.pytorch_steps[1:]
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "images_per_second": statistics.median(ours),
        "whole_epoch_images_per_second": statistics.median(epochs),
        "pytorch_images_per_second": statistics.median(theirs),
        "pytorch_threads": torch.get_num_threads(),
        "ratio": statistics.median(ratios),
        "ratio_by_round": ratios,
        "whole_epoch_ratio": statistics.median(a / b for a, b in zip(epochs, theirs, strict=True)),
    }


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each that count")
    parser.add_argument("--steps", type=int, default=40, help="steps a turn")
    parser.add_argument("--threads", type=int, help="threads of both; default: what each chooses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=figures_file)
    return parser.parse_args()


if __name__ == "__main__":
    main()
