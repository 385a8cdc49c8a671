"""The run's threshold on a file's scale, with models made up in numpy; no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from edge_runtime.calibrating.calibrate import calibrate
from edge_runtime.calibration import Calibration
from export.disturbance import Purpose, with_disturbed_pixels
from export.threshold import ThresholdTransfer
from tests.export.made_up_scorer import MadeUpScorer


@dataclass
class SpreadModel(MadeUpScorer):
    """Scores an image by the spread of its pixels squared times `gain`; what is above `bent_from` times 1.5 as well."""

    bent_from: float = np.inf

    def latents(self, pixels: np.ndarray) -> np.ndarray:
        spread = (pixels.reshape(len(pixels), -1) / 255).std(axis=1)
        return np.where(spread > self.bent_from, 1.5 * spread, spread) * np.sqrt(self.gain)


@pytest.fixture(scope="module")
def held_back() -> np.ndarray:
    rng = np.random.default_rng(0)
    contrasts = rng.uniform(0.05, 0.2, (40, 1, 1, 1))
    return np.clip(127 + 255 * contrasts * rng.normal(size=(40, 16, 16, 1)), 0, 255).astype(np.uint8)


def _calibration(model: SpreadModel, held_back: np.ndarray) -> Calibration:
    latents = model.model_outputs(held_back).latent.reshape(-1).astype(float)
    return calibrate(np.square(latents), np.ones((1, 4, 4)))


@pytest.mark.parametrize("gain", [0.6, 1.0, 1.3])
def test_it_follows_the_scale_of_the_scores(held_back: np.ndarray, gain: float) -> None:
    transfer = ThresholdTransfer(SpreadModel(), held_back, 0)
    file = SpreadModel(gain=gain)
    carried = transfer.apply(_calibration(file, held_back), file)
    assert carried.threshold == pytest.approx(0.02 * gain, rel=1e-4)
    latents = file.model_outputs(held_back).latent.reshape(-1).astype(float)
    assert carried.num_above == np.count_nonzero(np.square(latents) > carried.threshold) > 0


def test_rounding_does_not_change_the_verdict_on_the_image_at_the_threshold(held_back: np.ndarray) -> None:
    run = SpreadModel(threshold=_calibration(SpreadModel(), held_back).score_max)
    transfer = ThresholdTransfer(run, held_back, 0)
    for gain in (1 - 3e-7, 1 + 3e-7):
        assert transfer.apply(_calibration(SpreadModel(gain=gain), held_back), SpreadModel(gain=gain)).num_above == 0


def test_what_happens_far_from_the_threshold_does_not_matter(held_back: np.ndarray) -> None:
    highest = np.sqrt(_calibration(SpreadModel(), held_back).score_max)
    run = SpreadModel(threshold=0.5 * highest**2)
    bent = SpreadModel(bent_from=0.97 * highest)  # the highest good image and most of the disturbed ones
    own = _calibration(bent, held_back)
    assert own.threshold == pytest.approx(1.5**2 * highest**2, rel=1e-5)
    carried = ThresholdTransfer(run, held_back, 0).apply(own, bent)
    assert carried.threshold == pytest.approx(run.threshold, rel=1e-4)
    assert carried.score_quantiles == own.score_quantiles


def test_of_ten_held_back_images_only_the_half_nearest_to_the_threshold_counts(held_back: np.ndarray) -> None:
    few = held_back[:10]
    latents = SpreadModel().model_outputs(with_disturbed_pixels(few, 0, Purpose.THRESHOLD)).latent.reshape(-1)
    lowest = np.sort(latents.astype(float))
    run = SpreadModel(threshold=lowest[2] ** 2)
    bent = SpreadModel(bent_from=(lowest[8] + lowest[9]) / 2)  # eleven of the twenty, all far from the threshold
    carried = ThresholdTransfer(run, few, 0).apply(_calibration(bent, few), bent)
    assert carried.threshold == pytest.approx(run.threshold, rel=1e-4)


def test_scores_of_zero_are_no_obstacle(held_back: np.ndarray) -> None:
    grey = np.full_like(held_back[:4], 127)
    carried = ThresholdTransfer(SpreadModel(threshold=0.0), grey, 0).apply(
        _calibration(SpreadModel(), grey), SpreadModel()
    )
    assert carried.threshold == 0
