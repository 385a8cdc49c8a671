"""GANomaly that judges every window of an image, trained on good images and on defects painted into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edge_runtime.preprocessing import PicturePart
from edge_runtime.scoring import LEAST_DIFFICULTY, TOP_SHARE
from tfganomaly.errors import OptionError
from tfganomaly.models import losses, window_losses, window_networks
from tfganomaly.models.encoder_decoder_encoder import EncoderDecoderEncoder
from tfganomaly.models.window_networks import COARSEST_STRIDE_PX, WINDOW_STRIDE_PX
from tfganomaly.options import ModelOptions
from tfganomaly.score_choice import USUAL_SCORE_RULES
from tfganomaly.synthetic_defects.training_pairs import DAMAGED_WINDOW, GOOD_WINDOW

HARDEST_WINDOWS_WEIGHT = 0.2
WARM_UP_STEPS = 50
LAST_LEARNING_RATE_SHARE = 0.02
WEIGHT_DECAY = 1e-4
LARGEST_GRADIENT_NORM = 5.0
SCORE_THRESHOLDS = 1000
PASSES_PER_EPOCH = 1.5
FEWEST_STEPS_PER_EPOCH, MOST_STEPS_PER_EPOCH = 20, 100


@keras.saving.register_keras_serializable(package="tfganomaly")
class WindowGanomaly(EncoderDecoderEncoder):
    """Encoder, decoder, encoder as in GANomaly, with one latent vector for each window of the image.

    The paper's z and z_hat are maps (B, h, w, nz) here, so their distance is an anomaly map. On good images alone the
    distance says little on surfaces (docs/results.md); so half of what it is taught is what a defect looks like:
    images come with synthetic defects painted in, the decoder is to draw them without, and where the defect shows the
    two latent vectors are to part.

    Attributes:
        encoder: x to z, (B, H, W, C) to (B, H / 8, W / 8, nz).
        decoder: z to x_hat in [-1, 1].
        reconstruction_encoder: x_hat to z_hat; the encoder's architecture with weights of its own.
    """

    score_rule = USUAL_SCORE_RULES["window_ganomaly"]
    monitored_loss = "val_missed_ranking"

    def __init__(self, options: ModelOptions, **keras_arguments: Any) -> None:
        super().__init__(options, **keras_arguments)
        if options.image_size % COARSEST_STRIDE_PX:
            raise OptionError(
                f"--image-size is {options.image_size}; expected a multiple of {COARSEST_STRIDE_PX} for this model."
            )
        sizes = (self.image_shape, options.latent_size, options.generator_width)
        self.encoder = window_networks.window_encoder(*sizes, "encoder")
        self.decoder = window_networks.window_decoder(*sizes, "decoder")
        self.reconstruction_encoder = window_networks.window_encoder(*sizes, "reconstruction_encoder")
        names = ("generator_loss", "good_window_loss", "damaged_window_loss", "hardest_window_loss", "contextual_loss")
        self.loss_trackers = {name: keras.metrics.Mean(name) for name in names}
        self.ranking = keras.metrics.AUC(num_thresholds=SCORE_THRESHOLDS, name="ranking")
        self.built = True

    def compile(self, generator_optimizer: keras.optimizers.Optimizer, *, jit_compile: bool = False) -> None:
        """Names the optimizer; the loss weights are in `options`.

        Args:
            generator_optimizer: Steps the encoder-decoder-encoder.
            jit_compile: Whether XLA compiles the training step; on a CPU its convolutions are slower here.
        """
        super().compile(jit_compile=jit_compile)
        self.generator_optimizer = generator_optimizer
        generator_optimizer.build(self.generator_variables)

    def prepare_training(self, learning_rate: float, beta_1: float, seed: int, xla: bool, steps: int) -> None:
        """Compiles with AdamW; the step size rises for 50 steps, then falls along a cosine to 2 % at the last step."""
        schedule = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            decay_steps=max(1, steps - WARM_UP_STEPS),
            alpha=LAST_LEARNING_RATE_SHARE,
            warmup_target=learning_rate,
            warmup_steps=min(WARM_UP_STEPS, steps),
        )
        self.compile(
            keras.optimizers.AdamW(
                schedule,
                beta_1=beta_1,
                beta_2=0.99,
                weight_decay=WEIGHT_DECAY,
                global_clipnorm=LARGEST_GRADIENT_NORM,
                name="generator_adam",
            ),
            jit_compile=xla,
        )

    def training_batches(
        self,
        pixels: np.ndarray,
        batch_size: int,
        seed: int,
        steps_per_epoch: int,
        first_epoch: int = 0,
        parts: Sequence[PicturePart] | None = None,
    ) -> tf.data.Dataset:
        """Good images with painted defects: `(damaged, (clean, windows))`, without an end."""
        from tfganomaly.synthetic_defects.batches import painted_batches

        return painted_batches(pixels, batch_size, seed, steps_per_epoch, first_epoch, WINDOW_STRIDE_PX, parts)

    def usual_steps_per_epoch(self, num_images: int, batch_size: int) -> int:
        """One and a half passes, within bounds.

        Images that are seen too often are learnt by heart, and what other good images have beside counts as a defect.
        """
        steps = round(PASSES_PER_EPOCH * num_images / batch_size)
        return min(max(steps, FEWEST_STEPS_PER_EPOCH), MOST_STEPS_PER_EPOCH)

    def validation_batches(
        self, pixels: np.ndarray, batch_size: int, seed: int, parts: Sequence[PicturePart] | None = None
    ) -> tf.data.Dataset:
        """Held-back good images, as they are and with painted defects of kinds that training never sees."""
        from tfganomaly.synthetic_defects.batches import selection_batches

        return selection_batches(pixels, batch_size, seed, WINDOW_STRIDE_PX, parts)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss means and the ranking, which Keras resets at the start of each epoch."""
        return [*super().metrics, self.ranking]

    def train_step(self, data: tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]) -> dict[str, tf.Tensor]:
        """One step on a batch of painted images.

        1. Encode the damaged images, decode, encode what the decoder drew.
        2. Step all three networks on the reconstruction's distance from the clean images, and on the distance of the
           two latent vectors: small in good windows, large in damaged ones.
        """
        damaged, (clean, windows), _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            terms = self._loss_terms(self._encode_decode_encode(damaged, training=True), clean, windows)
        variables = self.generator_variables
        self.generator_optimizer.apply(tape.gradient(terms["generator_loss"], variables), variables)
        return self._track(terms)

    def test_step(self, data: tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]) -> dict[str, tf.Tensor]:
        """The same losses in inference mode, and how often a painted image scores below a good one."""
        damaged, (clean, windows), _ = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self._encode_decode_encode(damaged, training=False)
        scores = relative_scores(damaged, outputs)
        is_painted = tf.reduce_any(windows != GOOD_WINDOW, axis=[1, 2])
        self.ranking.update_state(is_painted, scores / (1 + scores))
        terms = self._loss_terms(outputs, clean, windows)
        return {**self._track(terms), "missed_ranking": 1 - self.ranking.result()}

    def infer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Latents (B, h, w, nz) and reconstruction (B, H, W, C), batch norm in inference mode."""
        return self._encode_decode_encode(images, training=False)

    def inference_graph(self) -> keras.Model:
        """The encoder-decoder-encoder as one flat graph of this model's own layers."""
        image = keras.Input(self.image_shape, name="image")
        latent = _replayed(self.encoder, image)
        reconstruction = _replayed(self.decoder, latent)
        reconstructed_latent = _replayed(self.reconstruction_encoder, reconstruction)
        return keras.Model(image, [latent, reconstructed_latent, reconstruction], name="window_ganomaly_inference")

    def _loss_terms(self, outputs: dict[str, tf.Tensor], clean: tf.Tensor, windows: tf.Tensor) -> dict[str, tf.Tensor]:
        squared_distances = tf.reduce_sum(_squared_residual(outputs), axis=-1)  # (B, h, w)
        is_good = tf.cast(windows == GOOD_WINDOW, tf.float32)
        terms = {
            "good_window_loss": window_losses.good_window_loss(squared_distances, is_good),
            "damaged_window_loss": window_losses.damaged_window_loss(
                squared_distances, tf.cast(windows == DAMAGED_WINDOW, tf.float32)
            ),
            "hardest_window_loss": window_losses.hardest_window_loss(squared_distances, is_good),
            "contextual_loss": losses.contextual_loss(clean, outputs["reconstruction"]),
        }
        latent_terms = terms["good_window_loss"] + terms["damaged_window_loss"]
        latent_terms += HARDEST_WINDOWS_WEIGHT * terms["hardest_window_loss"]
        terms["generator_loss"] = (
            self.options.latent_loss_weight * latent_terms
            + self.options.contextual_loss_weight * terms["contextual_loss"]
        )
        return terms


def relative_scores(images: tf.Tensor, outputs: dict[str, tf.Tensor]) -> tf.Tensor:
    """The network's part of the score, as `edge_runtime.scoring` computes it by this model's rule: (B,), >= 0.

    Args:
        images: (B, H, W, C) in [-1, 1], what the network was given.
        outputs: What it made of them: latents (B, h, w, nz) and reconstruction.
    """
    distances = tf.reduce_mean(_squared_residual(outputs), axis=-1)
    flat = tf.reshape(distances, [tf.shape(distances)[0], -1])
    count = max(1, round(flat.shape[1] * TOP_SHARE))
    difficulty = tf.reduce_mean(tf.abs(images - outputs["reconstruction"]), axis=[1, 2, 3])
    top_mean = tf.reduce_mean(tf.math.top_k(flat, count).values, axis=-1)
    return top_mean / tf.sqrt(tf.maximum(difficulty, LEAST_DIFFICULTY))


def _squared_residual(outputs: dict[str, tf.Tensor]) -> tf.Tensor:
    return tf.math.squared_difference(outputs["latent"], outputs["reconstructed_latent"])


def _replayed(network: keras.Model, tensor: keras.KerasTensor) -> keras.KerasTensor:
    """Applies a network's own layers, branches included, to another tensor; their first call says how they hang."""
    values = {id(network.inputs[0]): tensor}
    for layer in network.layers[1:]:
        first_call = layer._inbound_nodes[0]
        inputs = [values[id(one)] for one in first_call.input_tensors]
        values[id(first_call.outputs[0])] = layer(inputs if len(inputs) > 1 else inputs[0])
    return values[id(network.outputs[0])]
