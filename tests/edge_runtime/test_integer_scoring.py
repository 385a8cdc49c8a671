"""Scores from integers are the scores of `anomaly_scores`, to the bit, or are not made."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.integer_scoring import integer_score
from edge_runtime.output_reading import OutputReader
from edge_runtime.quantization import TensorDetails
from edge_runtime.scoring import POOLINGS, ScoreRule, anomaly_scores


def reader(
    nz: int = 100, windows: tuple[int, int] = (1, 1), dtype: str = "int8", scale: float = 0.0013413215
) -> OutputReader:
    shape = (1, *windows, nz)
    details = (TensorDetails("z", shape, dtype, scale, 9), TensorDetails("z_hat", shape, dtype, 0.7 * scale, 25))
    return OutputReader(details, 0, 1, None)


@pytest.mark.parametrize("nz", [1, 7, 8, 100, 129, 1000])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("rule", [ScoreRule(), ScoreRule({"latent_l2": 0.3, "reconstruction_l1": 0.0}, "max")])
def test_the_score_from_integers_is_the_score_to_the_bit(nz: int, dtype: str, rule: ScoreRule) -> None:
    outputs = reader(nz, dtype=dtype)
    score = integer_score(rule, outputs)
    assert score is not None
    random = np.random.default_rng(1)
    inputs = np.zeros((1, 4, 4, 1), np.float32)
    for _ in range(100):
        raw = [random.integers(0, 256, (1, 1, 1, nz), np.uint8).view(dtype) for _ in range(2)]
        expected = anomaly_scores(rule, inputs, outputs.read(raw))[0]
        assert score(*raw) == float(expected)


@pytest.mark.parametrize("weight", [1 + 2**-24, 1 + 3 * 2**-24])
def test_a_score_between_two_floats_is_rounded_as_the_definition_rounds_it(weight: float) -> None:
    outputs = OutputReader(tuple(TensorDetails(name, (1, 1, 1, 1), "int8", 1.0) for name in ("z", "z_hat")), 0, 1, None)
    rule = ScoreRule({"latent_l2": weight})
    score = integer_score(rule, outputs)
    assert score is not None
    raw = [np.full((1, 1, 1, 1), value, np.int8) for value in (4, 3)]
    expected = float(anomaly_scores(rule, np.zeros((1, 4, 4, 1), np.float32), outputs.read(raw))[0])
    assert score(*raw) == expected == float(np.float32(weight))


def test_what_is_not_a_distance_of_two_vectors_of_bytes_is_left_to_the_definition() -> None:
    assert integer_score(ScoreRule({"latent_l1": 1.0}), reader()) is None
    assert integer_score(ScoreRule({"latent_l2": 1.0, "reconstruction_l1": 50.0}), reader()) is None
    assert integer_score(ScoreRule(), reader(windows=(2, 2))) is None
    assert integer_score(ScoreRule(), reader(dtype="int16")) is None
    assert integer_score(ScoreRule(), reader(dtype="float32", scale=0.0)) is None


def test_a_pooling_that_changes_the_distance_of_one_window_is_left_to_the_definition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(POOLINGS, "mean", lambda distances: np.sqrt(distances.reshape(len(distances), -1).mean(axis=1)))
    assert integer_score(ScoreRule(), reader()) is None
