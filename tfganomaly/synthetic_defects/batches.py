"""Batches of painted images for training and for choosing the epoch, in an order that a resume repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from edge_runtime.preprocessing import PicturePart
from tfganomaly.data.pipeline import equally_often
from tfganomaly.synthetic_defects.painter import SELECTION_KINDS, TRAINING_KINDS, USUAL_SHARES, DefectPainter
from tfganomaly.synthetic_defects.selection import SELECTION_STREAM, selection_images
from tfganomaly.synthetic_defects.training_pairs import TrainingPair, make_pair

UNPAINTED_SHARE = 0.3

Batch = tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]
"""`(damaged, (clean, windows))`; see `painted_batches`."""

MOST_CACHED_BYTES = 512 * 1024 * 1024
"""A larger set for choosing the epoch is painted anew after each epoch, the same each time, and not kept in memory."""


def painted_batches(
    pixels: np.ndarray,
    batch_size: int,
    seed: int,
    steps_per_epoch: int,
    first_epoch: int,
    window_stride_px: int,
    parts: Sequence[PicturePart] | None = None,
) -> tf.data.Dataset:
    """An endless stream of good images, seven of ten with up to four defects painted in.

    Every image is used equally often, and what is painted in epoch k depends on the seed and k alone, so a training
    resumed at epoch k sees what an uninterrupted one sees.

    Args:
        pixels: uint8 (N, S, S, C) of normalised contrast, an array or a memory map.
        batch_size: Images a step; N may be smaller.
        seed: Decides order, harmless changes and defects together with the epoch.
        steps_per_epoch: Batches an epoch.
        first_epoch: The epoch to begin with, counted from 0.
        window_stride_px: Side of the square that a window stands for.
        parts: Where each of the N images shows its picture, in which the defects lie; None: everywhere.

    Returns:
        A dataset of `(damaged, (clean, windows))`: float32 (B, S, S, C) twice in [-1, 1], int8 (B, h, w).
    """
    images = _GoodImages(pixels, parts, window_stride_px)
    painter = DefectPainter(TRAINING_KINDS, USUAL_SHARES)

    def batches() -> Iterator[Batch]:
        epoch = first_epoch
        while True:
            rng = np.random.default_rng([seed, epoch])
            order = equally_often(len(pixels), steps_per_epoch * batch_size, rng)
            for step in range(steps_per_epoch):
                chosen = order[step * batch_size : (step + 1) * batch_size]
                yield _stacked([images.pair(index, _painter_or_none(painter, rng), rng) for index in chosen])
            epoch += 1

    return images.as_dataset(batches, batch_size).prefetch(4)


def selection_batches(
    pixels: np.ndarray,
    batch_size: int,
    seed: int,
    window_stride_px: int,
    parts: Sequence[PicturePart] | None = None,
) -> tf.data.Dataset:
    """Held-back good images, each once as it is and once with one defect of a kind that training never paints.

    As many as fill whole batches. They are the same after each epoch: how well they are told apart can choose the
    epoch, without a label.

    Args:
        pixels: uint8 (N, S, S, C); see `selection_images`.
        batch_size: A smaller set becomes one batch.
        seed: Decides what is painted.
        window_stride_px: Side of the square that a window stands for.
        parts: Where each of the N images shows its picture, in which the defect lies; None: everywhere.

    Returns:
        A dataset as `painted_batches` returns it, with an end.
    """
    images = _GoodImages(pixels, parts, window_stride_px)
    painter = DefectPainter(SELECTION_KINDS)
    chosen = selection_images(pixels)
    half = max(1, min(batch_size // 2, len(chosen)))
    starts = range(0, len(chosen) - half + 1, half)

    def batches() -> Iterator[Batch]:
        rng = np.random.default_rng([seed, SELECTION_STREAM])
        for start in starts:
            indices = chosen[start : start + half]
            yield _stacked(
                [
                    images.pair(index, paints, rng, most_defects=1, is_as_photographed=True)
                    for paints in (None, painter)
                    for index in indices
                ]
            )

    dataset = images.as_dataset(batches, 2 * half)
    pair_bytes = 2 * np.dtype(np.float32).itemsize * int(np.prod(pixels.shape[1:]))
    if len(starts) * 2 * half * pair_bytes <= MOST_CACHED_BYTES:
        dataset = dataset.cache()
    return dataset.apply(tf.data.experimental.assert_cardinality(len(starts)))


@dataclass(frozen=True, eq=False)
class _GoodImages:
    """What every pair of a stream is made from; see `painted_batches`."""

    pixels: np.ndarray
    parts: Sequence[PicturePart] | None
    window_stride_px: int

    def pair(self, index: int, painter: DefectPainter | None, rng: np.random.Generator, **how: Any) -> TrainingPair:
        """One image and what is painted into it; `how` as `make_pair` takes it."""
        other = self.pixels[rng.integers(len(self.pixels))]
        part = None if self.parts is None else self.parts[index]
        return make_pair(
            self.pixels[index], other, painter, rng, window_stride_px=self.window_stride_px, part=part, **how
        )

    def as_dataset(self, batches: Callable[[], Iterator[Batch]], batch_size: int) -> tf.data.Dataset:
        """The batches as TensorFlow takes them."""
        _, height, width, channels = self.pixels.shape
        image = tf.TensorSpec((batch_size, height, width, channels), tf.float32)
        rows, columns = height // self.window_stride_px, width // self.window_stride_px
        windows = tf.TensorSpec((batch_size, rows, columns), tf.int8)
        return tf.data.Dataset.from_generator(batches, output_signature=(image, (image, windows)))


def _painter_or_none(painter: DefectPainter, rng: np.random.Generator) -> DefectPainter | None:
    """None for the share of the images that stays good."""
    return None if rng.random() < UNPAINTED_SHARE else painter


def _stacked(pairs: list[TrainingPair]) -> Batch:
    return (
        np.stack([pair.damaged for pair in pairs]),
        (np.stack([pair.clean for pair in pairs]), np.stack([pair.windows for pair in pairs])),
    )
