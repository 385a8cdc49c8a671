"""Fine-tunes a fake-quantized graph until its scores are those of the float model.

Half of each batch is disturbed; the loss is that of `fine_tuning_loss`.

The best step is chosen on held-back good images and disturbed copies of them: by how well their scores agree with the
float model's, less, by the weight of the encoder loss, how far those of the good ones have sunk. The graph before the
first step is among the candidates, so fine-tuning cannot do harm by that measure. A score beyond twice the highest of a
good image counts as twice: how far beyond does not change a verdict.
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
from export.fine_tuning_loss import HIGHEST_COMPARED, SMALLEST_DISTANCE, FineTuningLoss
from export.fine_tuning_result import Agreement, FineTuningResult
from export.input_levels import int8_inputs
from export.lazy_images import ImageSequence, scaled
from export.lowering import LoweredGraph
from tfganomaly.batch_sizes import batches, images_at_once

CHECKS = 8
_MOST_AT_ONCE = 64
_SAMPLE_IMAGES = 64


@dataclass(frozen=True)
class FineTuningSettings:
    """How long and how strongly to fine-tune.

    Attributes:
        steps: Optimizer steps; 0 leaves the calibrated graph as it is.
        batch_size: Images a step, half of them disturbed.
        learning_rate: Adam's first step size; falls to 0 along a cosine.
        encoder_loss_weight: 0 keeps to the float model's scores alone.
        seed: Decides batches and disturbances.
    """

    steps: int
    batch_size: int
    learning_rate: float
    encoder_loss_weight: float
    seed: int


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
        self._images = with_disturbed(held_back_pixels, seed, Purpose.AGREEMENT)
        self._rule = score_rule
        self._images_at_once = images_at_once(graph.input_shape, _MOST_AT_ONCE)
        self._batches = list(batches(len(self._images), graph.input_shape, _MOST_AT_ONCE))
        # Of the images alone, whatever the graph: computed once instead of at each check.
        self._windows = [window_distances(score_rule, self._images[batch]) for batch in self._batches]
        expected = self._log_scores(tf.function(graph.model, jit_compile=True))
        self._num_good = len(held_back_pixels)
        self._limit = expected[: self._num_good].max() + np.log(HIGHEST_COMPARED)
        self._expected = np.minimum(expected, self._limit)

    def of(self, quantized_model: Any) -> Callable[[], Agreement]:
        """Return what measures a model as its weights then are.

        Args:
            quantized_model: What `add_fake_quantization` made of its form for int8 inputs.
        """
        run = tf.function(lambda images: quantized_model(int8_inputs(images), training=True), jit_compile=True)

        def measure() -> Agreement:
            differences = np.minimum(self._log_scores(run), self._limit) - self._expected
            good, disturbed = differences[: self._num_good], differences[self._num_good :]
            return Agreement(float(np.mean(np.square(differences))), float(good.mean()), float(disturbed.mean()))

        return measure

    def _log_scores(self, run: Callable[[Any], Any]) -> np.ndarray:
        scores = []
        for batch, windows in zip(self._batches, self._windows, strict=True):
            images = self._images[batch]
            # Full batches only: every other size would be compiled anew.
            full = np.resize(images, (self._images_at_once, *images.shape[1:]))
            values = [output.numpy()[: len(images)] for output in run(tf.constant(full))]
            outputs = ModelOutputs(**dict(zip(self._names, values, strict=True)))
            scores.append(anomaly_scores(self._rule, images, outputs, windows))
        return np.log(np.concatenate(scores) + SMALLEST_DISTANCE)


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
    weight = settings.encoder_loss_weight
    best_step, best_weights, history = 0, [variable.numpy() for variable in variables], {0: check()}
    if settings.steps:
        step_function = _compile_step(graph, quantized_model, settings, scaled(train_pixels[:_SAMPLE_IMAGES]))
    check_interval = max(1, settings.steps // CHECKS)
    for step in range(1, settings.steps + 1):
        step_function(tf.constant(_draw_batch(train_pixels, settings.batch_size, rng)))
        if step % check_interval == 0 or step == settings.steps:
            history[step] = check()
            if history[step].objective(weight) < history[best_step].objective(weight):
                best_step, best_weights = step, [variable.numpy() for variable in variables]
        if progress is not None:
            progress(step, settings.steps)
    for variable, weights in zip(variables, best_weights, strict=True):
        variable.assign(weights)
    return FineTuningResult(history, best_step)


def _draw_batch(pixels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws good images without repetition where there are enough, and disturbs the first half of them."""
    chosen = rng.choice(len(pixels), batch_size, replace=len(pixels) < batch_size)
    images = scale_pixels(pixels[chosen])
    num_disturbed = _num_disturbed(batch_size)
    images[:num_disturbed] = disturb_images(images[:num_disturbed], rng)
    return images


def _num_disturbed(batch_size: int) -> int:
    """How many of a batch are disturbed: the first ones."""
    return batch_size // 2


def _compile_step(
    graph: LoweredGraph, quantized_model: Any, settings: FineTuningSettings, sample: ImageSequence
) -> Callable[[Any], None]:
    """Makes the function that does one optimizer step on a batch of float32 images."""
    schedule = tf_keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
    optimizer = tf_keras.optimizers.Adam(schedule, beta_2=0.99)
    variables = quantized_model.trainable_variables
    optimizer.build(variables)
    loss_of = FineTuningLoss(graph, sample, settings.encoder_loss_weight)

    @tf.function(jit_compile=True)
    def step(images: Any) -> None:
        with tf.GradientTape() as tape:
            outputs = quantized_model(int8_inputs(images), training=True)
            loss = loss_of(images, outputs, _num_disturbed(settings.batch_size))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    return step
