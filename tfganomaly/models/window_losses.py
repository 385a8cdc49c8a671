"""The losses of the window-wise GANomaly, on the squared distance of the two latent vectors of each window.

Ruff, Vandermeulen et al. (Deep semi-supervised anomaly detection, ICLR 2020) and Liznerski et al. (Explainable deep
one-class classification, ICLR 2021) pull good samples to a fixed centre and push anomalous ones away from it with the
pair of terms below. Here there is no fixed centre: the reconstructed latent vector is the centre of its window.
"""

from __future__ import annotations

import tensorflow as tf

HARDEST_SHARE = 0.02
_SMALLEST = 1e-6


def pseudo_huber(squared_distances: tf.Tensor) -> tf.Tensor:
    """H = sqrt(d + 1) - 1 of squared distances d >= 0, any shape: square near 0, linear far away."""
    return tf.sqrt(squared_distances + 1.0) - 1.0


def good_window_loss(squared_distances: tf.Tensor, is_good: tf.Tensor) -> tf.Tensor:
    """Mean h over good windows: their two latent vectors shall agree.

    Args:
        squared_distances: float32 (B, h, w), sum over nz of (z - z_hat)^2.
        is_good: float32 (B, h, w), 1 for a window without a defect, else 0.

    Returns:
        A scalar; 0 where no window is good.
    """
    return tf.math.divide_no_nan(tf.reduce_sum(pseudo_huber(squared_distances) * is_good), tf.reduce_sum(is_good))


def hardest_window_loss(squared_distances: tf.Tensor, is_good: tf.Tensor) -> tf.Tensor:
    """Mean h over the 2 % of windows that are good and farthest apart: the worst windows make an image's score."""
    values = tf.reshape(pseudo_huber(squared_distances) * is_good, [-1])
    return tf.reduce_mean(tf.math.top_k(values, max(1, int(values.shape[0] * HARDEST_SHARE))).values)


def damaged_window_loss(squared_distances: tf.Tensor, is_damaged: tf.Tensor) -> tf.Tensor:
    """Mean -log(1 - exp(-h)) over damaged windows: their two latent vectors shall part.

    Args:
        squared_distances: float32 (B, h, w).
        is_damaged: float32 (B, h, w), 1 for a window that shows a defect, else 0.

    Returns:
        A scalar; 0 where no window is damaged.
    """
    apart = -tf.math.log(-tf.math.expm1(-pseudo_huber(squared_distances)) + _SMALLEST)
    return tf.math.divide_no_nan(tf.reduce_sum(apart * is_damaged), tf.reduce_sum(is_damaged))
