"""Scores one image straight from an int8 model's latents, for the models where that is possible.

It is no second definition of the score: `scoring.anomaly_scores` is the one, and what this module gives equals it to
the bit. On a small model the two dozen steps there, on arrays of a hundred numbers, cost half as much as the inference.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_float
from sys import byteorder

import numpy as np

from edge_runtime.output_reading import OutputReader
from edge_runtime.quantization import dequantize
from edge_runtime.scoring import ModelOutputs, ScoreRule, anomaly_scores

IntegerScore = Callable[[np.ndarray, np.ndarray], float]
"""Takes the two latents as the interpreter holds them, (1, 1, 1, nz), and returns the score; keeps neither of them. For
one thread.
"""

_LARGEST_LATENT = 4096  # above that the general code, without table look-ups, is as quick
_COMPARED_IMAGES = 16
_OTHER_ROUNDINGS = 8  # of a score's calculation, with some to spare


def integer_score(rule: ScoreRule, reader: OutputReader) -> IntegerScore | None:
    """Return what scores an image from its integers, or None where only `anomaly_scores` can.

    It can when the score is the squared distance of two single latent vectors of 8 bits. Whether it gives what
    `anomaly_scores` gives is tried out here, on random latents, and not taken for granted: another version of numpy may
    add up in another order, and a rule may mean more by its pooling than the mean of its one window.

    Args:
        rule: How the score is made.
        reader: Which outputs are the latents.
    """
    latent, reconstructed = reader.details[reader.latent], reader.details[reader.reconstructed_latent]
    components = {name: weight for name, weight in rule.components.items() if weight}
    is_single_vector = latent.shape[:-1] == (1, 1, 1) and latent.shape[-1] <= _LARGEST_LATENT
    has_bytes = {latent.dtype, reconstructed.dtype} <= {"int8", "uint8"}
    is_distance = components.keys() == {"latent_l2"} and rule.statistics is None
    if not is_distance or not is_single_vector or not has_bytes:
        return None
    score = _squared_distance(components["latent_l2"], reader)
    return score if _equals_the_definition(score, rule, reader) else None


def _squared_distance(weight: float, reader: OutputReader) -> IntegerScore:
    latent, reconstructed = reader.details[reader.latent], reader.details[reader.reconstructed_latent]
    # Each call of numpy costs more than its hundred numbers. One looks up the difference of every pair of integers, one
    # squares and adds up; the pairs are laid side by side as plain bytes. A pair is the low end of a number of the type
    # that numpy looks up by without a copy, in this machine's order of bytes.
    bytes_of_pairs = np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    values, reconstructed_values = (
        dequantize(bytes_of_pairs[:, position].view(tensor.dtype), tensor).astype(np.float64)
        for position, tensor in enumerate((latent, reconstructed))
    )
    look_up = (values - reconstructed_values).take
    size = latent.shape[-1]
    stride = np.dtype(np.intp).itemsize
    pairs, first = bytearray(stride * size), 0 if byteorder == "little" else stride - 2
    numbers, differences = np.frombuffer(pairs, np.intp), np.empty(size)
    add_up_squares = differences.dot
    # In whichever order a sum of squares is added up, it is off by at most one rounding a term. Where that does not
    # decide the float32 that the score is, the quick sum is as good as that of the definition.
    uncertainty = (size + _OTHER_ROUNDINGS) * np.finfo(np.float64).eps
    least, most = float(1 - uncertainty) * weight / size, float(1 + uncertainty) * weight / size

    def score(latent: np.ndarray, reconstructed_latent: np.ndarray) -> float:
        pairs[first::stride] = latent.tobytes()
        pairs[first + 1 :: stride] = reconstructed_latent.tobytes()
        look_up(numbers, None, differences, "wrap")
        sum_of_squares = float(add_up_squares(differences))
        rounded = c_float(least * sum_of_squares).value
        if rounded == c_float(most * sum_of_squares).value:
            return rounded
        return c_float(weight * (float(np.add.reduce(np.square(differences))) / size)).value

    return score


def _equals_the_definition(score: IntegerScore, rule: ScoreRule, reader: OutputReader) -> bool:
    latent, reconstructed = reader.details[reader.latent], reader.details[reader.reconstructed_latent]
    random = np.random.default_rng(0)
    inputs = np.zeros((1, 1, 1, 1), np.float32)  # the distance of latents does not ask for it
    for _ in range(_COMPARED_IMAGES):
        raw, reconstructed_raw = (
            random.integers(0, 256, tensor.shape, np.uint8).view(tensor.dtype) for tensor in (latent, reconstructed)
        )
        outputs = ModelOutputs(dequantize(raw, latent), dequantize(reconstructed_raw, reconstructed))
        if score(raw, reconstructed_raw) != float(anomaly_scores(rule, inputs, outputs)[0]):
            return False
    return True
