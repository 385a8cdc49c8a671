"""Observes a float graph on real images and chooses the int8 range of each layer's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tf_keras

from export.lazy_images import ImageSequence
from export.lowering import LoweredGraph
from export.transposed_convolutions import InterleavePhases
from tfganomaly.batch_sizes import batches, images_at_once

INT8_STEPS = 255
_MOST_AT_ONCE = 64
_SAMPLES_A_LAYER = 50_000
_SHRINK_FACTORS = np.linspace(0.1, 1.0, 37).tolist()
_MOST_SWEEPS = 4

# TFLite's int8 kernels of these activations know no other output range.
FIXED_RANGES: Mapping[str, tuple[float, float]] = {"tanh": (-1.0, 127 / 128), "sigmoid": (0.0, 255 / 256)}

# They only move numbers, so their output has the scale of their input. (Zeros that they add are in every range.)
MOVING_LAYERS = (
    tf_keras.layers.Flatten,
    tf_keras.layers.Reshape,
    tf_keras.layers.ZeroPadding2D,
    tf_keras.layers.Cropping2D,
    InterleavePhases,
)


class ActivationRange(NamedTuple):
    """The values that the int8 numbers -128 and 127 of one tensor stand for; 0 always lies within."""

    low: float
    high: float


class ObservedRanges(NamedTuple):
    """Ranges by name of each layer that computes.

    Attributes:
        least_squares: With the least mean squared error of rounding and clipping on a sample of the values; where a
            LeakyReLU reads them, of what it makes of them.
        extremes: From the least to the greatest value, as the converter takes them in post-training quantization.
    """

    least_squares: dict[str, ActivationRange]
    extremes: dict[str, ActivationRange]


def observe_ranges(
    graph: LoweredGraph,
    images: ImageSequence,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> ObservedRanges:
    """Runs the float graph and chooses ranges for the output of every layer that computes.

    Against the extremes those of least squares lower the error of the int8 scores by a third (solar cells, 64 x 64).
    Before a LeakyReLU, which makes negative values small, more of them are clipped and the others have finer levels.

    Args:
        graph: The graph for int8 inputs.
        images: float32 `(N, H, W, C)` as it takes them: good ones, and disturbed ones for what defects do.
        seed: Decides which values are sampled.
        progress: Told about the images done.

    Returns:
        Both kinds of ranges. Layers whose outputs are interleaved have one range in common, for what is read of them
        in the end.
    """
    rng = np.random.default_rng(seed)
    layers = [
        layer for layer in graph.model.layers if not isinstance(layer, (tf_keras.layers.InputLayer, *MOVING_LAYERS))
    ]
    # What is read of each layer in the end; several layers' outputs may be interleaved in one.
    last_movers = {layer.name: _last_mover(layer) for layer in layers}
    observed = list(dict.fromkeys(last_movers.values()))
    taps = tf_keras.Model(graph.model.input, [layer.output for layer in observed])
    at_once = images_at_once(graph.input_shape, _MOST_AT_ONCE)
    samples_a_batch = max(1, _SAMPLES_A_LAYER * at_once // max(len(images), 1))
    sampled: list[list[np.ndarray]] = [[] for _ in observed]
    for batch in batches(len(images), graph.input_shape, _MOST_AT_ONCE):
        outputs = taps.predict_on_batch(images[batch])
        for values, output in zip(sampled, _as_list(outputs), strict=True):
            flat = np.asarray(output).reshape(-1)
            chosen = rng.choice(flat, min(samples_a_batch, flat.size), replace=False, shuffle=False)
            values += [chosen, np.array([flat.min(), flat.max()])]
        if progress is not None:
            progress(batch.stop, len(images))
    values_of = {layer: np.concatenate(values) for layer, values in zip(observed, sampled, strict=True)}

    def ranges(choose: Callable[[np.ndarray, float], ActivationRange]) -> dict[str, ActivationRange]:
        chosen = {layer: choose(values, _slope_of_reader(layer)) for layer, values in values_of.items()}
        return {layer.name: _fixed_range(layer) or chosen[last_movers[layer.name]] for layer in layers}

    return ObservedRanges(ranges(least_squares_range), ranges(lambda values, _: full_range(values)))


def ranges_between(
    narrow: Mapping[str, ActivationRange], wide: Mapping[str, ActivationRange], share: float
) -> dict[str, ActivationRange]:
    """Return ranges between two sets, each end by its ratio: `narrow` at a share of 0, `wide` at 1.

    Args:
        narrow: Range by name of each layer.
        wide: The same layers'.
        share: In [0, 1].
    """

    def between(first: float, second: float) -> float:
        if first * second <= 0:  # a ratio needs two ends on one side of 0
            return (1 - share) * first + share * second
        return first * (second / first) ** share

    return {
        name: ActivationRange(between(near.low, wide[name].low), between(near.high, wide[name].high))
        for name, near in narrow.items()
    }


def _last_mover(layer: Any) -> Any:
    """The layer that moves a layer's output last before anything is computed from it; itself if nothing does."""
    while len(layer.outbound_nodes) == 1 and isinstance(layer.outbound_nodes[0].outbound_layer, MOVING_LAYERS):
        layer = layer.outbound_nodes[0].outbound_layer
    return layer


def _slope_of_reader(layer: Any) -> float:
    """By what negative outputs of a layer are multiplied in the end: a LeakyReLU's slope if nothing else reads them."""
    readers = [node.outbound_layer for node in layer.outbound_nodes]
    return float(readers[0].alpha) if len(readers) == 1 and isinstance(readers[0], tf_keras.layers.LeakyReLU) else 1.0


def full_range(values: np.ndarray) -> ActivationRange:
    """The range from the least to the greatest of float32 `(N,)`, widened to hold 0."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if low == high:
        return ActivationRange(low, low + 1e-3)  # a dead layer: any range holds its zeros
    return ActivationRange(low, high)


def least_squares_range(values: np.ndarray, negative_slope: float = 1.0) -> ActivationRange:
    """Chooses the range whose 256 levels lie nearest to the values.

    Args:
        values: float32 `(N,)`, the extremes among them.
        negative_slope: How much errors of negative values count.

    Returns:
        The minimum and the maximum, each shrunk by what is best beside the other.
    """
    full = full_range(values)
    counts = np.where(values < 0, np.float32(negative_slope), np.float32(1))
    chosen = full
    for _ in range(_MOST_SWEEPS):
        before = chosen
        for end, value in full._asdict().items():
            candidates = [chosen._replace(**{end: value * factor}) for factor in _SHRINK_FACTORS]
            chosen = min(candidates, key=lambda ends: _rounding_error(values, counts, *ends))
        if chosen == before:
            break
    return chosen


def _rounding_error(values: np.ndarray, counts: np.ndarray, low: float, high: float) -> float:
    step = np.float32((high - low) / INT8_STEPS)
    zero_point = np.rint(-low / step)
    levels = np.clip(np.rint(values / step), -zero_point, INT8_STEPS - zero_point)
    return float(np.mean(np.square((levels * step - values) * counts)))


def _fixed_range(layer: Any) -> ActivationRange | None:
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    return ActivationRange(*FIXED_RANGES[activation]) if activation in FIXED_RANGES else None


def _as_list(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
