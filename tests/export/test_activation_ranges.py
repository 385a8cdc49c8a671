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
