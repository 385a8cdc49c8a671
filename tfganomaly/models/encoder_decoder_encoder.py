"""What the GANomaly models share: three networks one after the other, and the means of their losses."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfganomaly.models.contract import AnomalyModel


class EncoderDecoderEncoder(AnomalyModel):
    """A generator that encodes an image, decodes it and encodes the result again.

    A subclass makes the three networks and a tracker for each loss in `__init__`.

    Attributes:
        encoder: x to z, (B, H, W, C) to (B, h, w, nz).
        decoder: z to x_hat (B, H, W, C) in [-1, 1].
        reconstruction_encoder: x_hat to z_hat; the encoder's architecture with weights of its own.
        loss_trackers: Mean of each loss over an epoch, by name.
    """

    encoder: keras.Model
    decoder: keras.Model
    reconstruction_encoder: keras.Model
    loss_trackers: dict[str, keras.metrics.Mean]

    @property
    def generator_networks(self) -> tuple[keras.Model, ...]:
        """The three networks, in the order in which an image passes."""
        return (self.encoder, self.decoder, self.reconstruction_encoder)

    @property
    def generator_variables(self) -> list[keras.Variable]:
        """The trainable variables of the three networks."""
        return [variable for network in self.generator_networks for variable in network.trainable_variables]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss means, which Keras resets at the start of each epoch."""
        return list(self.loss_trackers.values())

    def _encode_decode_encode(self, images: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        latent = self.encoder(images, training=training)
        reconstruction = self.decoder(latent, training=training)
        reconstructed_latent = self.reconstruction_encoder(reconstruction, training=training)
        return {"latent": latent, "reconstructed_latent": reconstructed_latent, "reconstruction": reconstruction}

    def _track(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for name, tracker in self.loss_trackers.items():
            tracker.update_state(terms[name])
        return {name: tracker.result() for name, tracker in self.loss_trackers.items()}
