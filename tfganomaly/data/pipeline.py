"""Batches for training: uint8 pixels in memory or on disk to float32 batches, in an order that a resume repeats."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf


def training_batches(pixels: np.ndarray, batch_size: int, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
    """An endless stream of shuffled batches, the last partial batch of each epoch dropped.

    The order of epoch k depends on the seed and k alone, so a training resumed at epoch k sees what an
    uninterrupted one sees. The stream never ends because an iterator made anew for each epoch costs a stall.

    Args:
        pixels: uint8 (N, H, W, C), an array or a memory map; only a batch at a time is copied.
        batch_size: At most N.
        seed: Decides the order together with the epoch.
        first_epoch: The epoch to begin with, counted from 0.

    Returns:
        A dataset of float32 (batch_size, H, W, C) in [-1, 1].
    """
    steps = len(pixels) // batch_size

    def batches() -> Iterator[np.ndarray]:
        epoch = first_epoch
        while True:
            order = np.random.default_rng([seed, epoch]).permutation(len(pixels))
            for step in range(steps):
                yield pixels[order[step * batch_size : (step + 1) * batch_size]]
            epoch += 1

    signature = tf.TensorSpec((batch_size, *pixels.shape[1:]), tf.uint8)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.map(scale_pixels_in_graph).prefetch(2)


def validation_batches(pixels: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """All images once, in order, the last batch smaller; uint8 (N, H, W, C) to float32 in [-1, 1]."""
    return tf.data.Dataset.from_tensor_slices(pixels).batch(batch_size).map(scale_pixels_in_graph)


def scale_pixels_in_graph(pixels: tf.Tensor) -> tf.Tensor:
    """`edge_runtime.preprocessing.scale_pixels` as TensorFlow operations; a test holds the two together."""
    return tf.cast(pixels, tf.float32) / 127.5 - 1.0
