"""A scorer without a model behind it: what it gives each image is computed from the pixels in numpy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from edge_runtime.calibration import Calibration
from edge_runtime.preprocessing import Preprocessing
from edge_runtime.scoring import ModelOutputs, ScoreRule


@dataclass
class MadeUpScorer(ABC):
    """Stands for a run or an artefact; the score is the square of what `latents` gives."""

    description: str = "made up"
    threshold: float = 0.02
    gain: float = 1.0
    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(16, 16, 1))
    score_rule: ScoreRule = field(default_factory=ScoreRule)
    data_source: str = "made up"
    data_seed: int = 0

    @property
    def calibration(self) -> Calibration:
        raise AssertionError("not needed here")

    @abstractmethod
    def latents(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, C) to (B,)."""

    def model_outputs(self, pixels: np.ndarray) -> ModelOutputs:
        latent = self.latents(pixels).astype(np.float32).reshape(-1, 1, 1, 1)
        return ModelOutputs(latent, np.zeros_like(latent), np.zeros(pixels.shape, np.float32))
