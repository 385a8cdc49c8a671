"""GANomaly as a Keras model with its own training step."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfganomaly.models import losses, networks
from tfganomaly.models.adam import PaperAdam
from tfganomaly.models.encoder_decoder_encoder import EncoderDecoderEncoder
from tfganomaly.options import ModelOptions

# Below this the discriminator has nothing left to teach, and the authors draw its weights anew.
COLLAPSED_DISCRIMINATOR_LOSS = 1e-5


@keras.saving.register_keras_serializable(package="tfganomaly")
class Ganomaly(EncoderDecoderEncoder):
    """GANomaly (Akcay, Atapour-Abarghouei, Breckon, ACCV 2018).

    The paper's letters: x is the image, z = E(x) its latent vector, x_hat = G(z) the reconstruction, z_hat = E'(x_hat)
    the reconstructed latent vector, f the discriminator's feature. Trained on good images, it maps a defect to nothing
    it knows, so z and z_hat part; A(x) is their distance.

    Attributes:
        encoder: x to z, (B, H, W, C) to (B, 1, 1, nz).
        decoder: z to x_hat in [-1, 1].
        reconstruction_encoder: x_hat to z_hat; the encoder's architecture with weights of its own.
        discriminator: image to `[logit, feature]`.
    """

    def __init__(self, options: ModelOptions, **keras_arguments: Any) -> None:
        super().__init__(options, **keras_arguments)
        size, _, channels = self.image_shape
        extra, slope = options.extra_layers, options.leaky_relu_slope
        sizes = (size, channels, options.latent_size, options.generator_width, extra)
        self.encoder = networks.encoder(*sizes, slope, "encoder")
        self.decoder = networks.decoder(*sizes, "decoder")
        self.reconstruction_encoder = networks.encoder(*sizes, slope, "reconstruction_encoder")
        self.discriminator = networks.discriminator(size, channels, options.discriminator_width, extra, slope)
        self.loss_trackers = {
            name: keras.metrics.Mean(name)
            for name in (
                "generator_loss",
                "adversarial_loss",
                "contextual_loss",
                "latent_loss",
                "discriminator_loss",
            )
        }
        self.redraw_count = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="discriminator_redraws"
        )
        self.built = True

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        *,
        seed: int = 0,
        jit_compile: bool = True,
    ) -> None:
        """Names the two optimizers; the loss weights are in `options`.

        Args:
            generator_optimizer: Steps the encoder-decoder-encoder.
            discriminator_optimizer: Steps the discriminator.
            seed: Decides the weights that a collapsed discriminator is given.
            jit_compile: Whether XLA compiles the training step (three times faster on a CPU).
        """
        super().compile(jit_compile=jit_compile)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.redraw_seed = seed
        generator_optimizer.build(self.generator_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)

    def prepare_training(self, learning_rate: float, beta_1: float, seed: int, xla: bool, steps: int) -> None:
        """Compiles with Adam for both networks; betas (beta_1, 0.999), epsilon 1e-8 as in the authors' framework."""

        def adam(name: str) -> keras.optimizers.Optimizer:
            return PaperAdam(learning_rate, beta_1=beta_1, beta_2=0.999, epsilon=1e-8, name=name)

        self.compile(adam("generator_adam"), adam("discriminator_adam"), seed=seed, jit_compile=xla)

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step on a batch of good images, float32 (B, H, W, C) in [-1, 1].

        1. Encode, decode, encode again; judge image and reconstruction, once for both losses: the discriminator's
           variables do not move between them, so the gradients are those of the authors' separate passes.
        2. Step the generator on the weighted sum of its three losses.
        3. Step the discriminator on its own; no gradient reaches the generator.
        4. Draw the discriminator anew if its loss says that it has collapsed.

        Returns:
            The means of the losses over the epoch so far, and how often the discriminator was drawn anew in all.
        """
        images, _, _ = keras.utils.unpack_x_y_sample_weight(images)
        with tf.GradientTape(persistent=True) as tape:
            terms = self._loss_terms(images, training=True)
        generator_variables = self.generator_variables
        discriminator_variables = self.discriminator.trainable_variables
        generator_gradients = tape.gradient(terms["generator_loss"], generator_variables)
        discriminator_gradients = tape.gradient(terms["discriminator_loss"], discriminator_variables)
        del tape
        self.generator_optimizer.apply(generator_gradients, generator_variables)
        self.discriminator_optimizer.apply(discriminator_gradients, discriminator_variables)
        tf.cond(
            terms["discriminator_loss"] < COLLAPSED_DISCRIMINATOR_LOSS,
            self.redraw_discriminator,
            lambda: None,
        )
        return {**self._track(terms), "discriminator_redraws": tf.identity(self.redraw_count.value)}

    def test_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same losses in inference mode, without a step."""
        images, _, _ = keras.utils.unpack_x_y_sample_weight(images)
        return self._track(self._loss_terms(images, training=False))

    def redraw_discriminator(self) -> None:
        """Draws the discriminator's weights anew and counts it; a resumed training draws the same."""
        step = tf.cast(self.discriminator_optimizer.iterations, tf.int32)
        networks.draw_initial_weights(self.discriminator, tf.stack([self.redraw_seed, step]))
        self.redraw_count.assign_add(1)

    def infer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Latents (B, 1, 1, nz), reconstruction (B, H, W, C), feature distance (B,), batch norm in inference mode."""
        return self.score_outputs(images, training=False)

    def score_outputs(self, images: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """What scores are made of; with `training` batch norm goes by this batch, and its running statistics move."""
        outputs = self._encode_decode_encode(images, training)
        _, feature = self.discriminator(images, training=training)
        _, reconstructed_feature = self.discriminator(outputs["reconstruction"], training=training)
        squares = tf.math.squared_difference(feature, reconstructed_feature)
        return {**outputs, "feature_distance": tf.reduce_mean(squares, axis=[1, 2, 3])}

    def inference_graph(self) -> keras.Model:
        """The encoder-decoder-encoder as one flat graph of this model's own layers."""
        image = keras.Input(self.image_shape, name="image")
        latent = _chain(self.encoder, image)
        reconstruction = _chain(self.decoder, latent)
        reconstructed_latent = _chain(self.reconstruction_encoder, reconstruction)
        return keras.Model(image, [latent, reconstructed_latent, reconstruction], name="ganomaly_inference")

    def _loss_terms(self, images: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        outputs = self._encode_decode_encode(images, training)
        reconstructions = outputs["reconstruction"]
        # Two calls, not one on both: batch norm must not mix the statistics of real and reconstructed images.
        real_logits, real_feature = self.discriminator(images, training=training)
        reconstructed_logits, reconstructed_feature = self.discriminator(reconstructions, training=training)
        terms = {
            "adversarial_loss": losses.feature_matching_loss(real_feature, reconstructed_feature),
            "contextual_loss": losses.contextual_loss(images, reconstructions),
            "latent_loss": losses.latent_loss(outputs["latent"], outputs["reconstructed_latent"]),
            "discriminator_loss": losses.discriminator_loss(real_logits, reconstructed_logits),
        }
        terms["generator_loss"] = (
            self.options.adversarial_loss_weight * terms["adversarial_loss"]
            + self.options.contextual_loss_weight * terms["contextual_loss"]
            + self.options.latent_loss_weight * terms["latent_loss"]
        )
        return terms


def _chain(network: keras.Model, tensor: keras.KerasTensor) -> keras.KerasTensor:
    """Applies a sequential network's layers, without its input layer, to another tensor."""
    for layer in network.layers[1:]:
        tensor = layer(tensor)
    return tensor
