"""Batches for training: uint8 pixels in memory or on disk to float32 batches, in an order that a resume repeats."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

MOST_VALIDATION_IMAGES = 1024


def training_batches(
    pixels: np.ndarray, batch_size: int, seed: int, steps_per_epoch: int, first_epoch: int = 0
) -> tf.data.Dataset:
    """An endless stream of shuffled batches, the last partial batch of each epoch dropped.

    The order of epoch k depends on the seed and k alone, so a training resumed at epoch k sees what an
    uninterrupted one sees. The stream never ends because an iterator made anew for each epoch costs a stall.

    Args:
        pixels: uint8 (N, H, W, C), an array or a memory map; only a batch at a time is copied.
        batch_size: At most N.
        seed: Decides the order together with the epoch.
        steps_per_epoch: Batches an epoch; more than one pass holds goes round by round through all images.
        first_epoch: The epoch to begin with, counted from 0.

    Returns:
        A dataset of float32 (batch_size, H, W, C) in [-1, 1].
    """

    def batches() -> Iterator[np.ndarray]:
        epoch = first_epoch
        while True:
            rng = np.random.default_rng([seed, epoch])
            order = equally_often(len(pixels), steps_per_epoch * batch_size, rng)
            for step in range(steps_per_epoch):
                yield pixels[order[step * batch_size : (step + 1) * batch_size]]
            epoch += 1

    signature = tf.TensorSpec((batch_size, *pixels.shape[1:]), tf.uint8)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.map(scale_pixels_in_graph).prefetch(2)


def equally_often(num_images: int, num_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Indices (num_draws,) in random order, round by round through all images."""
    rounds = -(-num_draws // num_images)
    return np.concatenate([rng.permutation(num_images) for _ in range(rounds)])[:num_draws]


def validation_batches(pixels: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """Held-back images for the loss after each epoch: the same ones in the same order each time.

    Of more than `MOST_VALIDATION_IMAGES` as many are taken at even distances: their mean loss tells as much, and all
    5,000 that MNIST holds back would cost an eighth of the training time. Batches are of one size, because XLA compiles
    the step anew for each size, so a partial batch is dropped.

    Args:
        pixels: uint8 (N, H, W, C).
        batch_size: A smaller set becomes one batch.

    Returns:
        A dataset of float32 (batch_size, H, W, C) in [-1, 1].
    """
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), MOST_VALIDATION_IMAGES)).astype(int)
    size = min(batch_size, len(chosen))

    starts = range(0, len(chosen) - size + 1, size)

    def batches() -> Iterator[np.ndarray]:
        for start in starts:
            yield pixels[chosen[start : start + size]]

    signature = tf.TensorSpec((size, *pixels.shape[1:]), tf.uint8)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature).map(scale_pixels_in_graph)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(starts)))  # else Keras warns of a short input


def scale_pixels_in_graph(pixels: tf.Tensor) -> tf.Tensor:
    """`edge_runtime.preprocessing.scale_pixels` as TensorFlow operations; a test holds the two together."""
    return tf.cast(pixels, tf.float32) / 127.5 - 1.0
