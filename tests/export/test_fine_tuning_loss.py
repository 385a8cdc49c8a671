"""The loss of the fine-tuning, against values computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from export.lowering import LoweredGraph

NAMES = ("reconstruction", "latent", "reconstructed_latent")
USUAL, FAR = 0.2, 0.9  # brightness, whose square is the latent distance


def _brightness(images: Any) -> list[Any]:
    """A teacher in the order of its names: reconstructs as is, and the second latent is always 0."""
    import tensorflow as tf

    latent = tf.reduce_mean(tf.convert_to_tensor(images), axis=(1, 2), keepdims=True)
    return [tf.convert_to_tensor(images), latent, tf.zeros_like(latent)]


def _images(*brightness: float) -> np.ndarray:
    return np.ones((len(brightness), 4, 4, 1), np.float32) * np.reshape(brightness, (-1, 1, 1, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def make_loss() -> Any:
    pytest.importorskip("tensorflow", reason="the export extra is not installed")
    from export.fine_tuning_loss import FineTuningLoss

    graph = LoweredGraph(_brightness, NAMES)
    return lambda weight: FineTuningLoss(graph, _images(0.0, 2 * USUAL), weight)  # usual distance: 0.08


def _given(images: np.ndarray, factor: float) -> list[Any]:
    """The teacher's outputs with a first latent that is too long by a factor."""
    reconstruction, latent, reconstructed_latent = _brightness(images)
    return [reconstruction, factor * latent, reconstructed_latent]


def test_outputs_of_the_teacher_cost_the_encoder_loss_of_good_images_alone(make_loss: Any) -> None:
    images = _images(USUAL, FAR, USUAL, 2 * USUAL)
    given = _given(images, 1.0)
    assert float(make_loss(0.0)(images, given, 2)) == 0.0
    assert float(make_loss(0.5)(images, given, 2)) == pytest.approx(0.5 * (USUAL**2 + (2 * USUAL) ** 2) / 2 / 0.08)


def test_each_term_of_a_latent_that_is_too_long(make_loss: Any) -> None:
    images = _images(USUAL)
    error, variance = (0.1 * USUAL) ** 2, USUAL**2
    expected = error / variance + error / (USUAL**2 + 0.1 * 0.08) + (2 * np.log(1.1)) ** 2
    assert float(make_loss(0.0)(images, _given(images, 1.1), 0)) == pytest.approx(expected, rel=1e-3)


def test_what_is_far_more_anomalous_than_any_good_image_teaches_nothing(make_loss: Any) -> None:
    loss = make_loss(0.0)
    for brightness, teaches in ((FAR, False), (2 * USUAL, True)):  # 0.81 is beyond twice 0.16
        images = _images(brightness)
        assert (float(loss(images, _given(images, 0.5), 0)) > 0) == teaches


def test_what_is_usual_does_not_depend_on_how_many_images_are_read_at_once(
    make_loss: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export import fine_tuning_loss

    images = _images(USUAL, 2 * USUAL)
    at_once = float(make_loss(0.1)(images, _given(images, 1.1), 1))
    monkeypatch.setattr(fine_tuning_loss, "_MOST_AT_ONCE", 1)
    assert float(make_loss(0.1)(images, _given(images, 1.1), 1)) == pytest.approx(at_once)
