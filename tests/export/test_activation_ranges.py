from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def _error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    zero_point = np.rint(-low / step)
    return float(np.mean((np.clip(np.rint(values / step), -zero_point, 255 - zero_point) * step - values) ** 2))


def test_the_range_clips_a_lone_outlier_when_that_rounds_the_rest_better() -> None:
    from export.activation_ranges import least_squares_range

    values = np.append(np.random.default_rng(0).normal(0, 1, 200_000), 12.0).astype(np.float32)
    chosen = least_squares_range(values)
    assert chosen.high < 12.0
    assert _error(values, *chosen) < _error(values, float(values.min()), float(values.max()))


def test_before_a_leaky_relu_negative_values_are_clipped_for_finer_levels() -> None:
    from export.activation_ranges import least_squares_range

    values = np.random.default_rng(0).normal(0, 1, 50_000).astype(np.float32)
    plain, leaky = least_squares_range(values), least_squares_range(values, 0.2)
    assert plain.low < leaky.low < 0.0

    def error_behind(low: float, high: float) -> float:
        step = (high - low) / 255
        zero_point = np.rint(-low / step)
        rounded = np.clip(np.rint(values / step), -zero_point, 255 - zero_point) * step
        return float(np.mean(np.square(np.maximum(rounded, 0.2 * rounded) - np.maximum(values, 0.2 * values))))

    assert error_behind(*leaky) < 0.9 * error_behind(*plain)


def test_ranges_that_a_leaky_relu_reads_are_chosen_for_it(
    build_ganomaly: Callable[..., Any], pixels: np.ndarray
) -> None:
    import tf_keras

    from edge_runtime.preprocessing import scale_pixels
    from export.activation_ranges import ActivationRange, observe_ranges
    from export.lowering import LoweredGraph, lower_graph

    graph = lower_graph(build_ganomaly())
    ranges = observe_ranges(graph, scale_pixels(pixels), 0).least_squares
    read = [layer.name for layer in graph.model.layers if isinstance(layer, tf_keras.layers.LeakyReLU)]
    before = [graph.model.get_layer(name).inbound_nodes[0].inbound_layers.name for name in read]
    assert len(before) == 6

    def without_slope(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, tf_keras.layers.LeakyReLU):
            return tf_keras.layers.Activation("linear", name=layer.name)
        return layer.__class__.from_config(config)

    linear = tf_keras.models.clone_model(graph.model, clone_function=without_slope)
    linear.set_weights(graph.model.get_weights())
    first = observe_ranges(LoweredGraph(linear, graph.output_names), scale_pixels(pixels), 0).least_squares[before[0]]
    assert isinstance(first, ActivationRange)
    assert first.low < ranges[before[0]].low < 0.0


def test_zero_lies_in_every_range() -> None:
    from export.activation_ranges import least_squares_range

    assert least_squares_range(np.array([3.0, 5.0], np.float32)).low == 0.0
    assert least_squares_range(np.array([-3.0, -5.0], np.float32)).high == 0.0


def test_a_dead_layer_gets_a_range_that_is_not_empty() -> None:
    from export.activation_ranges import least_squares_range

    chosen = least_squares_range(np.zeros(10, np.float32))
    assert chosen.low <= 0.0 < chosen.high


def test_every_layer_is_observed_and_tanh_has_the_kernel_s_own_range(
    build_ganomaly: Callable[..., Any], pixels: np.ndarray
) -> None:
    from edge_runtime.preprocessing import scale_pixels
    from export.activation_ranges import observe_ranges
    from export.lowering import lower_graph

    graph = lower_graph(build_ganomaly())
    seen: list[tuple[int, int]] = []
    observed = observe_ranges(graph, scale_pixels(pixels), 0, lambda done, total: seen.append((done, total)))
    ranges = observed.least_squares
    assert set(observed.extremes) == set(ranges) == {layer.name for layer in graph.model.layers[1:]}
    tanh = next(layer.name for layer in graph.model.layers if type(layer).__name__ == "Activation")
    assert ranges[tanh] == pytest.approx((-1.0, 127 / 128))
    assert seen == [(40, 40)]
    assert observed == observe_ranges(graph, scale_pixels(pixels), 0)


def test_of_large_images_few_are_handed_to_the_network_at_once(build_ganomaly: Callable[..., Any]) -> None:
    from export.activation_ranges import observe_ranges
    from export.lazy_images import scaled
    from export.lowering import lower_graph

    graph = lower_graph(build_ganomaly(256))
    pixels = np.random.default_rng(0).integers(0, 256, (6, 256, 256, 1), np.uint8)
    done: list[int] = []
    observe_ranges(graph, scaled(pixels), 0, lambda count, _: done.append(count))
    assert done == [6]
    graph = lower_graph(build_ganomaly(512))
    done.clear()
    observe_ranges(graph, scaled(pixels.repeat(2, axis=1).repeat(2, axis=2)), 0, lambda count, _: done.append(count))
    assert done == [4, 6]
