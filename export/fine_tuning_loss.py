"""What quantization-aware fine-tuning lowers.

The float model is the teacher: no label is needed. What must survive is the distance of the latent vectors, which is
small against the vectors themselves, so it has terms of its own:

    loss = |z - z'|^2 / var(z') + |z_hat - z_hat'|^2 / var(z_hat') + |x_hat - x_hat'|^2 / var(x_hat')
         + |r - r'|^2 / (|r'|^2 + 0.1 mean |r'|^2)  +  (log d - log d')^2
         + w d / mean d'  of good images,                                      r = z - z_hat,  d = mean r^2

with the teacher's values primed. Windows that the teacher finds far more anomalous than any of a good image teach
nothing: how far beyond the threshold a defect is changes no verdict, and int8 clips it anyway. The last term is the
encoder loss of the training: the others hold all scores where the teacher has them, and those of good images sink a
little all the same, more than others do, which makes up for what int8 loses in telling the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from export.lazy_images import ImageSequence
from export.lowering import LoweredGraph
from tfganomaly.batch_sizes import batches

HIGHEST_COMPARED = 2.0
"""Beyond this many times the highest score of a good image scores are not told apart."""

SMALLEST_DISTANCE = 1e-6
_MOST_AT_ONCE = 64


class FineTuningLoss:
    """The loss of a batch.

    Args:
        graph: The float graph, the teacher.
        sample: Good images in [-1, 1]: their latents and distances are what is usual.
        encoder_loss_weight: The `w` of the loss; 0 leaves the last term out.
    """

    def __init__(self, graph: LoweredGraph, sample: ImageSequence, encoder_loss_weight: float) -> None:
        self._graph = graph
        self._weight = encoder_loss_weight
        made = [
            self._latents_and_rest(graph.model(sample[batch]))
            for batch in batches(len(sample), sample[:1].shape[1:], _MOST_AT_ONCE)
        ]
        outputs = [tf.concat(parts, axis=0) for parts in zip(*made, strict=True)]
        distances = _distances(outputs)
        self._variances = [tf.maximum(tf.math.reduce_variance(output), SMALLEST_DISTANCE) for output in outputs]
        self._usual = tf.reduce_mean(distances)
        self._highest = HIGHEST_COMPARED * tf.reduce_max(distances)

    def __call__(self, images: Any, outputs: Sequence[Any], num_disturbed: int) -> Any:
        """Return the loss, a scalar.

        Args:
            images: float32 `(B, H, W, C)` in [-1, 1], disturbed ones first.
            outputs: What the quantized graph says of them, in the order of the float graph's outputs.
            num_disturbed: How many of the images are disturbed.
        """
        given = self._latents_and_rest(outputs)
        expected = [tf.stop_gradient(output) for output in self._latents_and_rest(self._graph.model(images))]
        distance, expected_distance = _distances(given), _distances(expected)
        counts = tf.cast(expected_distance <= self._highest, tf.float32)  # (B, h, w)
        counts_of_image = tf.reduce_min(counts, axis=(1, 2))[:, tf.newaxis, tf.newaxis]
        all_counts = [counts, counts] + [counts_of_image] * (len(given) - 2)
        loss = sum(
            tf.reduce_mean(tf.square(ours - theirs) * each[..., tf.newaxis]) / variance
            for ours, theirs, each, variance in zip(given, expected, all_counts, self._variances, strict=True)
        )
        error = tf.reduce_mean(tf.square((given[0] - given[1]) - (expected[0] - expected[1])), axis=-1)
        loss += tf.reduce_mean(counts * error / (expected_distance + 0.1 * self._usual))
        logarithms = [tf.math.log(values + SMALLEST_DISTANCE) for values in (distance, expected_distance)]
        loss += tf.reduce_mean(counts * tf.square(logarithms[0] - logarithms[1]))
        return loss + self._weight * tf.reduce_mean(distance[num_disturbed:]) / self._usual

    def _latents_and_rest(self, outputs: Sequence[Any]) -> list[Any]:
        """Puts the latent first, the reconstructed latent second, the reconstruction (if any) last."""
        named = dict(zip(self._graph.output_names, outputs, strict=True))
        return [named.pop("latent"), named.pop("reconstructed_latent"), *named.values()]


def _distances(latents_and_rest: Sequence[Any]) -> Any:
    latent, reconstructed_latent, *_ = latents_and_rest
    return tf.reduce_mean(tf.square(latent - reconstructed_latent), axis=-1)  # (B, h, w)
