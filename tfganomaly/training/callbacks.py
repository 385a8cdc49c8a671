"""Keras callbacks of a training: stop at NaN, keep history and checkpoints, stop early, show progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edge_runtime.atomic_files import atomic_path
from tfganomaly.errors import TrainingError
from tfganomaly.models.contract import AnomalyModel
from tfganomaly.training.checkpoint import Checkpoints
from tfganomaly.training.run_folder import RunFolder
from tfganomaly.training.sample_sheet import sample_sheet

BATCHES_BETWEEN_NAN_CHECKS = 20
SECONDS_BETWEEN_REPORTS = 0.2


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands; given to the observer now and then and after each epoch.

    Attributes:
        epoch: The running epoch, counted from 1.
        epochs: How many there will be.
        step: Finished steps of this epoch.
        steps: Steps of an epoch.
        losses: Mean of each loss since the epoch began; after an epoch also `val_...` on held-back good images.
        epoch_done: Whether the epoch has just ended.
        images_per_second: Training speed over this epoch so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    losses: dict[str, float]
    epoch_done: bool
    images_per_second: float


class StopAtNan(keras.callbacks.Callback):
    """Ends the training with an explanation as soon as a loss is no longer a finite number."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks now and then: reading a loss waits for the step."""
        if batch % BATCHES_BETWEEN_NAN_CHECKS == 0:
            self._check(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks before the epoch's checkpoint is written."""
        self._check(logs)

    def _check(self, logs: dict[str, Any] | None) -> None:
        bad = [name for name, value in (logs or {}).items() if not math.isfinite(float(value))]
        if bad:
            raise TrainingError(
                f"the training went wrong: {', '.join(bad)} is no longer a finite number. The checkpoint of the last "
                f"good epoch is kept. Train anew with a smaller --learning-rate (half of it is a good try), and check "
                f"the images for empty or damaged ones."
            )


class MeasureEpoch(keras.callbacks.Callback):
    """Adds figures of the caller to an epoch's losses; comes before `KeepHistory`, which writes them down."""

    def __init__(self, measure: Callable[[AnomalyModel], Mapping[str, float]]) -> None:
        super().__init__()
        self.measure = measure

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keras hands the same dictionary to the callbacks after this one."""
        if logs is not None:
            logs.update(self.measure(self.model))


class KeepHistory(keras.callbacks.Callback):
    """Adds a line to the run's history and writes the checkpoints after each epoch.

    The order makes a kill harmless at any moment: the newest checkpoint is written last, and what a resume finds beyond
    it (a line of history, a best epoch) is done again and comes out the same.
    """

    def __init__(
        self, folder: RunFolder, checkpoints: Checkpoints, history: list[dict[str, float]], keep_best: bool
    ) -> None:
        super().__init__()
        self.folder, self.checkpoints, self.history, self.keep_best = folder, checkpoints, history, keep_best

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes history, the best weights if this epoch is the best, then the checkpoint."""
        self.history.append({"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}})
        self.folder.write_history(self.history)
        if self.keep_best and best_epoch(self.history, self.model.monitored_loss) == epoch + 1:
            self.checkpoints.save_best(self.model)
        self.checkpoints.save(self.model, epoch + 1)


class StopEarly(keras.callbacks.Callback):
    """Stops when the loss on held-back good images no longer improves; needs no labels.

    What it knows is the run's history, so a resumed training stops where an uninterrupted one does. Comes after
    `KeepHistory`.
    """

    def __init__(self, history: list[dict[str, float]], patience: int) -> None:
        super().__init__()
        self.history, self.patience = history, patience

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops `patience` epochs after the best one."""
        if has_stopped_early(self.history, self.patience, self.model.monitored_loss):
            self.model.stop_training = True


def has_stopped_early(history: list[dict[str, float]], patience: int, monitored_loss: str) -> bool:
    """Whether the best epoch lies `patience` epochs back; never with patience 0."""
    return patience > 0 and bool(history) and history[-1]["epoch"] - best_epoch(history, monitored_loss) >= patience


def best_epoch(history: list[dict[str, float]], monitored_loss: str) -> int:
    """The epoch, counted from 1, with the lowest of what the model is chosen by; the first of equals."""
    return int(min(history, key=lambda epoch: epoch[monitored_loss])["epoch"])


class SaveSamples(keras.callbacks.Callback):
    """Draws held-back good images, their reconstructions and the differences after each epoch."""

    def __init__(self, folder: RunFolder, images: np.ndarray) -> None:
        super().__init__()
        self.folder, self.images = folder, images

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes `samples/epoch-00001.png` and shows it in TensorBoard."""
        outputs = self.model.model_outputs(self.images)
        if outputs.reconstruction is None:
            return
        sheet = sample_sheet(self.images, outputs.reconstruction)
        with atomic_path(self.folder.samples / f"epoch-{epoch + 1:05d}.png") as temporary:
            sheet.save(temporary)
        writer = tf.summary.create_file_writer(str(self.folder.tensorboard / "samples"))
        with writer.as_default():
            tf.summary.image("input, reconstruction, difference", np.asarray(sheet)[None], step=epoch)
        writer.close()


class ReportProgress(keras.callbacks.Callback):
    """Hands `TrainingProgress` to whoever shows it."""

    def __init__(self, report: Callable[[TrainingProgress], None], epochs: int, steps: int, batch_size: int) -> None:
        super().__init__()
        self.report, self.epochs, self.steps, self.batch_size = report, epochs, steps, batch_size
        self.epoch, self.steps_timed, self.started, self.reported, self.rate = 0, 0, 0.0, 0.0, 0.0
        self.compiled = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock of the epoch; before the first step of all it starts after it, which is compilation."""
        self.epoch, self.steps_timed, self.started = epoch + 1, 0, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports a step, but not more often than an eye can follow."""
        now = time.monotonic()
        if not self.compiled:
            self.compiled, self.started = True, now
        else:
            self.steps_timed += 1
            self.rate = self.steps_timed * self.batch_size / max(now - self.started, 1e-9)
        if now - self.reported >= SECONDS_BETWEEN_REPORTS:
            self.reported = now
            self._report(batch + 1, logs, epoch_done=False)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports the epoch with its validation losses."""
        self._report(self.steps, logs, epoch_done=True)

    def _report(self, step: int, logs: dict[str, Any] | None, epoch_done: bool) -> None:
        losses = {name: float(value) for name, value in (logs or {}).items()}
        self.report(TrainingProgress(self.epoch, self.epochs, step, self.steps, losses, epoch_done, self.rate))
