"""Fits a model to images in memory: the part of a training that needs TensorFlow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from edge_runtime.preprocessing import PicturePart
from tfganomaly.errors import RunError
from tfganomaly.models.contract import AnomalyModel
from tfganomaly.models.registry import create_model
from tfganomaly.training import callbacks
from tfganomaly.training.checkpoint import Checkpoints
from tfganomaly.training.memory import keep_freed_memory
from tfganomaly.training.observer import TrainingObserver
from tfganomaly.training.run_folder import RunConfig, RunFolder

SAMPLE_COUNT = 8


def fit(
    folder: RunFolder,
    config: RunConfig,
    train_pixels: np.ndarray,
    validation_pixels: np.ndarray,
    observer: TrainingObserver,
    after_epoch: Callable[[AnomalyModel], Mapping[str, float]] | None = None,
    train_parts: Sequence[PicturePart] | None = None,
    validation_parts: Sequence[PicturePart] | None = None,
) -> AnomalyModel:
    """Trains from the folder's newest checkpoint, or from the start, to the last epoch.

    Args:
        folder: Where history, checkpoints and samples go.
        config: What to train and how.
        train_pixels: Good images, uint8 (N, H, W, C).
        validation_pixels: Held-back good images, uint8 (M, H, W, C).
        observer: Hears of progress.
        after_epoch: Called with the model after each epoch; its figures join the losses in the history.
        train_parts: Where each image to train on shows its picture; None: everywhere.
        validation_parts: The same of the held-back images.

    Returns:
        The trained model; with early stopping, at its best epoch.

    Raises:
        TrainingError: A loss became NaN.
        RunError: The checkpoint or the history is damaged.
    """
    keep_freed_memory()
    options = config.training
    batch_size = min(options.batch_size, len(train_pixels))
    keras.utils.set_random_seed(options.seed)
    model = create_model(options.model, config.model)
    steps_per_epoch = options.steps_per_epoch or model.usual_steps_per_epoch(len(train_pixels), batch_size)
    model.prepare_training(
        options.learning_rate, options.beta_1, options.seed, options.xla, options.epochs * steps_per_epoch
    )

    checkpoints = Checkpoints(folder.checkpoints)
    first_epoch = checkpoints.restore_latest(model)
    history = folder.read_history()[:first_epoch]
    if len(history) < first_epoch:
        raise RunError(
            f"'{folder.history_path}' is damaged (it has {len(history)} of {first_epoch} finished epochs); train again "
            "into a new folder."
        )
    if not callbacks.has_stopped_early(history, options.early_stop_patience, model.monitored_loss):
        _quiet_keras()
        model.fit(
            model.training_batches(train_pixels, batch_size, options.seed, steps_per_epoch, first_epoch, train_parts),
            validation_data=model.validation_batches(validation_pixels, batch_size, options.seed, validation_parts),
            steps_per_epoch=steps_per_epoch,
            initial_epoch=first_epoch,
            epochs=options.epochs,
            shuffle=False,  # the stream is shuffled already
            verbose=0,
            callbacks=[
                callbacks.StopAtNan(),
                *([callbacks.MeasureEpoch(after_epoch)] if after_epoch else []),
                callbacks.KeepHistory(folder, checkpoints, history, options.early_stop_patience > 0),
                callbacks.StopEarly(history, options.early_stop_patience),
                callbacks.SaveSamples(folder, _first_images(validation_pixels)),
                keras.callbacks.TensorBoard(folder.tensorboard, write_graph=False),
                callbacks.ReportProgress(observer.training, options.epochs, steps_per_epoch, batch_size),
            ],
        )
    if options.early_stop_patience:
        best = callbacks.best_epoch(history, model.monitored_loss)
        observer.message(f"kept the weights of epoch {best}, the best on held-back good images")
        checkpoints.restore_best(model)
    return model


def without_optimizers(model: AnomalyModel, name: str) -> AnomalyModel:
    """A copy of a model with its weights alone, a third of the size on disk; `name` is its name in the registry."""
    copy = create_model(name, model.options)
    copy.set_weights(model.get_weights())
    return copy


def _first_images(pixels: np.ndarray) -> np.ndarray:
    from edge_runtime.preprocessing import scale_pixels

    return scale_pixels(pixels[:SAMPLE_COUNT])


def _quiet_keras() -> None:
    """Keras warns of what is meant: a stream without an end, a TensorBoard without a graph."""
    logging.getLogger("absl").setLevel(logging.ERROR)
