"""What every model of the toolkit promises; `tests/tfganomaly/models` holds each model to it with one shared test."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edge_runtime.preprocessing import PicturePart
from edge_runtime.scoring import ModelOutputs, ScoreRule, anomaly_scores
from tfganomaly.data.pipeline import training_batches, validation_batches
from tfganomaly.errors import NotExportableError
from tfganomaly.options import ModelOptions


class AnomalyModel(keras.Model):
    """A Keras model that is trained on good images only and gives each image an anomaly score.

    A subclass builds its networks in `__init__` from `ModelOptions`, brings its own `compile` (optimizers by name) and
    `train_step`, and implements `infer`. Images are float32 (B, H, W, C) in [-1, 1] everywhere.

    Attributes:
        options: The options that the model was built from, with `channels` decided.
        score_rule: How its outputs become a score unless the user asks for another.
        monitored_loss: What of an epoch's figures chooses the best epoch; lower is better, no label is needed.
    """

    score_rule = ScoreRule()
    monitored_loss = "val_generator_loss"

    def __init__(self, options: ModelOptions, **keras_arguments: Any) -> None:
        super().__init__(**keras_arguments)
        if options.channels is None:
            raise ValueError("ModelOptions.channels is None; expected 1 or 3, decided from the data.")
        self.options = options
        any_batch = tf.TensorSpec((None, *self.image_shape), tf.float32)
        self._compiled_infer = tf.function(self.infer, input_signature=[any_batch])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The input's shape (H, W, C) in pixels and channels."""
        return (self.options.image_size, self.options.image_size, int(self.options.channels or 0))

    @abstractmethod
    def infer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs the model in inference mode.

        Returns:
            `latent` and `reconstructed_latent` (B, h, w, nz) and `reconstruction` (B, H, W, C), float32; where there is
            a discriminator that takes such images, also `feature_distance` (B,): mean((f(x) - f(x_hat))^2).
        """

    def score_outputs(self, images: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """As `infer`, or with `training` with batch norm by this batch, which moves its running statistics."""
        if training:
            raise NotImplementedError(f"{type(self).__name__} is scored in inference mode only.")
        return self.infer(images)

    @abstractmethod
    def prepare_training(self, learning_rate: float, beta_1: float, seed: int, xla: bool, steps: int) -> None:
        """Compiles the model with the optimizers that its recipe names.

        Args:
            learning_rate: Step size of every optimizer.
            beta_1: First decay rate of every optimizer.
            seed: Seed of whatever the training step draws.
            xla: Whether XLA compiles the training step.
            steps: Steps of the whole training, for step sizes that change on the way.
        """

    def training_batches(
        self,
        pixels: np.ndarray,
        batch_size: int,
        seed: int,
        steps_per_epoch: int,
        first_epoch: int = 0,
        parts: Sequence[PicturePart] | None = None,
    ) -> tf.data.Dataset:
        """What `train_step` is fed with: an endless stream in which epoch k depends on the seed and k alone.

        Args:
            pixels: Good images, uint8 (N, H, W, C), an array or a memory map.
            batch_size: Images a step.
            seed: Decides the order together with the epoch.
            steps_per_epoch: Batches an epoch.
            first_epoch: The epoch to begin with, counted from 0.
            parts: Where each image shows its picture, for a model that paints into it; None: everywhere.
        """
        return training_batches(pixels, batch_size, seed, steps_per_epoch, first_epoch)

    def usual_steps_per_epoch(self, num_images: int, batch_size: int) -> int:
        """How many steps an epoch has unless the user says so; here those that show each image once.

        Args:
            num_images: Good images to train on, at least `batch_size`.
            batch_size: Images a step.
        """
        return num_images // batch_size

    def validation_batches(
        self, pixels: np.ndarray, batch_size: int, seed: int, parts: Sequence[PicturePart] | None = None
    ) -> tf.data.Dataset:
        """What `test_step` is fed with after each epoch, the same each time; `pixels` are held-back good images."""
        return validation_batches(pixels, batch_size)

    def inference_graph(self) -> keras.Model:
        """Returns the flat functional graph that export lowers.

        One input `image` (H, W, C); outputs `[latent, reconstructed_latent, reconstruction]`; no model inside a
        model, and only layers that `export.lowering` knows. The layers are shared with this model.

        Raises:
            NotExportableError: The model cannot run as one graph, with the reason.
        """
        raise NotExportableError(f"The model {type(self).__name__} has no inference graph, so it cannot be exported.")

    def call(self, images: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """The outputs in inference mode; training goes through `train_step` alone."""
        return self.infer(images)

    def model_outputs(self, images: np.ndarray) -> ModelOutputs:
        """Runs a batch in inference mode and returns numpy arrays; images float32 (B, H, W, C) in [-1, 1]."""
        outputs = self._compiled_infer(tf.convert_to_tensor(images, tf.float32))
        return ModelOutputs(**{name: tensor.numpy() for name, tensor in outputs.items()})

    def score(self, images: np.ndarray, rule: ScoreRule | None = None) -> np.ndarray:
        """Anomaly scores, float32 (B,), higher is more anomalous; by `score_rule` unless another rule is given."""
        return anomaly_scores(rule or self.score_rule, images, self.model_outputs(images))

    def get_config(self) -> dict[str, Any]:
        """The options, so that `keras.saving.load_model` builds the same networks."""
        return {"name": self.name, "options": dataclasses.asdict(self.options)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AnomalyModel:
        """Builds the model from `get_config`'s dictionary."""
        config = dict(config)
        return cls(ModelOptions(**config.pop("options")), **config)
