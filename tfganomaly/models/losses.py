"""The loss terms of GANomaly, one function each, in the paper's order.

Where the paper's text and the authors' code (2019-10-09 and later) disagree, the code is followed and the docstring
says so. Means are over the batch and everything else, so a loss does not depend on the batch or image size.
"""

from __future__ import annotations

import tensorflow as tf


def feature_matching_loss(real_feature: tf.Tensor, reconstructed_feature: tf.Tensor) -> tf.Tensor:
    """Adversarial loss of the generator: mean((f(x) - f(x_hat))^2), a scalar.

    Args:
        real_feature: The discriminator's feature of the images, float32 (B, h, w, C).
        reconstructed_feature: The same of the reconstructions.
    """
    return tf.reduce_mean(tf.math.squared_difference(real_feature, reconstructed_feature))


def contextual_loss(images: tf.Tensor, reconstructions: tf.Tensor) -> tf.Tensor:
    """Reconstruction loss: mean|x - x_hat|, a scalar; images float32 (B, H, W, C) in [-1, 1]."""
    return tf.reduce_mean(tf.abs(images - reconstructions))


def latent_loss(latents: tf.Tensor, reconstructed_latents: tf.Tensor) -> tf.Tensor:
    """Encoder loss: mean((z - z_hat)^2), a scalar; latents float32 (B, h, w, nz). The gradient goes through both."""
    return tf.reduce_mean(tf.math.squared_difference(latents, reconstructed_latents))


def discriminator_loss(real_logits: tf.Tensor, reconstructed_logits: tf.Tensor) -> tf.Tensor:
    """0.5 * (BCE(D(x), 1) + BCE(D(x_hat), 0)), a scalar, from logits (B, 1), which is stable at both ends."""
    real = tf.nn.sigmoid_cross_entropy_with_logits(tf.ones_like(real_logits), real_logits)
    reconstructed = tf.nn.sigmoid_cross_entropy_with_logits(tf.zeros_like(reconstructed_logits), reconstructed_logits)
    return 0.5 * (tf.reduce_mean(real) + tf.reduce_mean(reconstructed))
