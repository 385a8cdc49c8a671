"""Fine-tunes a fake-quantized graph until its scores are those of the float model.

The float model is the teacher: no label and no loss of the training is needed. What must survive is the
distance of the latent vectors, which is small against the vectors themselves, so it has terms of its own:

    loss = |z - z'|^2 / var(z') + |z_hat - z_hat'|^2 / var(z_hat') + |x_hat - x_hat'|^2 / var(x_hat')
         + |r - r'|^2 / (|r'|^2 + 0.1 mean |r'|^2)  +  (log d - log d')^2,     r = z - z_hat,  d = mean r^2

with the teacher's values primed. Half of each batch is disturbed. The best step is chosen by how well scores
of held-back good images and disturbed copies of them agree with the float model's; the graph before the first
step is among the candidates, so fine-tuning cannot do harm by that measure. A score beyond twice the highest of a good
image counts as twice: how far beyond does not change a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edge_runtime.preprocessing import scale_pixels
from edge_runtime.scoring import ModelOutputs, ScoreRule, anomaly_scores, window_distances
from export.disturbance import Purpose, disturb_images, with_disturbed
from export.input_levels import int8_inputs
from export.lowering import LoweredGraph

CHECKS = 8
_EVALUATION_BATCH_SIZE = 64
_SMALLEST_DISTANCE = 1e-6
_HIGHEST_COMPARED = 2.0  # of the highest score of a good image


@dataclass(frozen=True)
class FineTuningSettings:
    """How long and how strongly to fine-tune.

    Attributes:
        steps: Optimizer steps; 0 leaves the calibrated graph as it is.
        batch_size: Images a step, half of them disturbed.
        learning_rate: Adam's first step size; falls to 0 along a cosine.
        seed: Decides batches and disturbances.
    """

    steps: int
    batch_size: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class FineTuningResult:
    """How the fine-tuning went.

    Attributes:
        history: (step, disagreement with the float model) at each check, step 0 first: the mean squared difference of
            the logarithms of the scores.
        best_step: Whose weights the graph now has.
    """

    history: tuple[tuple[int, float], ...]
    best_step: int


class AgreementCheck:
    """Measures how far a quantized graph's scores are from the float graph's, on held-back images.

    Args:
        graph: The float graph.
        held_back_pixels: uint8 `(M, H, W, C)`, good images; disturbed copies of them are compared as well.
        score_rule: How scores are computed.
        seed: Decides the disturbances.
    """

    def __init__(self, graph: LoweredGraph, held_back_pixels: np.ndarray, score_rule: ScoreRule, seed: int) -> None:
        self._names = graph.output_names
        self._images = with_disturbed(scale_pixels(held_back_pixels), seed, Purpose.AGREEMENT)
        self._rule = score_rule
        # Of the images alone, whatever the graph: computed once instead of at each check.
        self._windows = window_distances(score_rule, self._images)
        expected = self._log_scores(tf.function(graph.model, jit_compile=True), self._images)
        self._limit = expected[: len(held_back_pixels)].max() + np.log(_HIGHEST_COMPARED)
        self._expected = np.minimum(expected, self._limit)

    def of(self, quantized_model: Any) -> Callable[[], float]:
        """Return what measures a model as its weights then are.

        Args:
            quantized_model: What `add_fake_quantization` made of its form for int8 inputs.

        Returns:
            A function that returns the mean squared difference of the logarithms of the scores.
        """
        run = tf.function(lambda batch: quantized_model(batch, training=True), jit_compile=True)
        inputs = int8_inputs(self._images)

        def measure() -> float:
            given = np.minimum(self._log_scores(run, inputs), self._limit)
            return float(np.mean(np.square(given - self._expected)))

        return measure

    def _log_scores(self, run: Callable[[Any], Any], inputs: np.ndarray) -> np.ndarray:
        scores = []
        for start in range(0, len(inputs), _EVALUATION_BATCH_SIZE):
            part = slice(start, start + _EVALUATION_BATCH_SIZE)
            images, windows = self._images[part], None if self._windows is None else self._windows[part]
            # Full batches only: every other size would be compiled anew.
            batch = np.resize(inputs[part], (_EVALUATION_BATCH_SIZE, *inputs.shape[1:]))
            values = [output.numpy()[: len(images)] for output in run(tf.constant(batch))]
            outputs = ModelOutputs(**dict(zip(self._names, values, strict=True)))
            scores.append(anomaly_scores(self._rule, images, outputs, windows))
        return np.log(np.concatenate(scores) + _SMALLEST_DISTANCE)


def fine_tune(
    graph: LoweredGraph,
    quantized_model: Any,
    train_pixels: np.ndarray,
    agreement: AgreementCheck,
    settings: FineTuningSettings,
    progress: Callable[[int, int], None] | None = None,
) -> FineTuningResult:
    """Fine-tunes the kernels and biases of `quantized_model` in place.

    Args:
        graph: The float graph, the teacher.
        quantized_model: What `add_fake_quantization` made of its form for int8 inputs.
        train_pixels: uint8 `(N, H, W, C)`, good images to learn on.
        agreement: What the best step is chosen by.
        settings: Length and strength.
        progress: Told about the steps done.
    """
    rng = np.random.default_rng(settings.seed)
    check = agreement.of(quantized_model)
    variables = quantized_model.trainable_variables
    best_step, best_weights, history = 0, [variable.numpy() for variable in variables], [(0, check())]
    if settings.steps:
        step_function = _compile_step(
            graph, quantized_model, settings, scale_pixels(train_pixels[:_EVALUATION_BATCH_SIZE])
        )
    check_interval = max(1, settings.steps // CHECKS)
    for step in range(1, settings.steps + 1):
        step_function(tf.constant(_draw_batch(train_pixels, settings.batch_size, rng)))
        if step % check_interval == 0 or step == settings.steps:
            history.append((step, check()))
            if history[-1][1] < dict(history)[best_step]:
                best_step, best_weights = step, [variable.numpy() for variable in variables]
        if progress is not None:
            progress(step, settings.steps)
    for variable, weights in zip(variables, best_weights, strict=True):
        variable.assign(weights)
    return FineTuningResult(tuple(history), best_step)


def _draw_batch(pixels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws good images without repetition where there are enough, and disturbs the first half of them."""
    chosen = rng.choice(len(pixels), batch_size, replace=len(pixels) < batch_size)
    images = scale_pixels(pixels[chosen])
    half = batch_size // 2
    images[:half] = disturb_images(images[:half], rng)
    return images


def _compile_step(
    graph: LoweredGraph, quantized_model: Any, settings: FineTuningSettings, sample: np.ndarray
) -> Callable[[Any], None]:
    """Makes the function that does one optimizer step on a batch of float32 images."""
    schedule = tf_keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
    optimizer = tf_keras.optimizers.Adam(schedule, beta_2=0.99)
    variables = quantized_model.trainable_variables
    optimizer.build(variables)
    reference = _as_latents_and_rest(graph, graph.model(sample))
    variances = [tf.maximum(tf.math.reduce_variance(output), _SMALLEST_DISTANCE) for output in reference]
    usual_distance = tf.reduce_mean(_distances(*reference[:2]))

    @tf.function(jit_compile=True)
    def step(images: Any) -> None:
        expected = [tf.stop_gradient(output) for output in _as_latents_and_rest(graph, graph.model(images))]
        with tf.GradientTape() as tape:
            given = _as_latents_and_rest(graph, quantized_model(int8_inputs(images), training=True))
            loss = sum(
                tf.reduce_mean(tf.square(ours - theirs)) / variance
                for ours, theirs, variance in zip(given, expected, variances, strict=True)
            )
            loss += _residual_loss(given, expected, usual_distance)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    return step


def _residual_loss(given: list[Any], expected: list[Any], usual_distance: Any) -> Any:
    """The terms of the latent residual and of the logarithm of its length."""
    distance, expected_distance = _distances(*given[:2]), _distances(*expected[:2])
    error = tf.reduce_mean(tf.square((given[0] - given[1]) - (expected[0] - expected[1])), axis=-1)
    relative = error / (expected_distance + 0.1 * usual_distance)
    logarithms = [tf.math.log(values + _SMALLEST_DISTANCE) for values in (distance, expected_distance)]
    return tf.reduce_mean(relative) + tf.reduce_mean(tf.square(logarithms[0] - logarithms[1]))


def _distances(latent: Any, reconstructed_latent: Any) -> Any:
    return tf.reduce_mean(tf.square(latent - reconstructed_latent), axis=-1)  # (B, h, w)


def _as_latents_and_rest(graph: LoweredGraph, outputs: list[Any]) -> list[Any]:
    """Puts the latent first, the reconstructed latent second, the reconstruction (if any) last."""
    named = dict(zip(graph.output_names, outputs, strict=True))
    return [named.pop("latent"), named.pop("reconstructed_latent"), *named.values()]
