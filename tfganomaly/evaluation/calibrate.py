"""Chooses a model's threshold and ranges from good images: the same way for a run and for an exported file."""

from __future__ import annotations

import numpy as np

from edge_runtime.calibrating.calibrate import calibrate, map_extent, map_range_of_extents
from edge_runtime.calibration import Calibration
from tfganomaly.batch_sizes import batches
from tfganomaly.evaluation.scorer import Progress, Scorer, score_batch


def calibrate_scorer(
    scorer: Scorer,
    pixels: np.ndarray,
    textures: np.ndarray | None,
    false_alarm_rate: float,
    progress: Progress | None = None,
) -> Calibration:
    """Scores good images in batches; of the anomaly maps only their extents are kept.

    Args:
        scorer: A run or an artefact; its own calibration is not looked at.
        pixels: uint8 (N, H, W, C) of good images that it was not trained on, N >= 2.
        textures: `cell_figures` of the same images; may be None unless the score rule needs them.
        false_alarm_rate: Share of good images that may be called anomalous.
        progress: Called after each batch.

    Raises:
        CalibrationError: Fewer than two images, or scores that are not finite.
    """
    scores: list[np.ndarray] = []
    extents: list[tuple[float, float]] = []
    for batch in batches(len(pixels), pixels.shape[1:]):
        batch_scores, maps = score_batch(scorer, pixels[batch], None if textures is None else textures[batch])
        scores.append(batch_scores)
        extents += [map_extent(anomaly_map) for anomaly_map in maps]
        if progress is not None:
            progress(batch.stop, len(pixels))
    return calibrate(np.concatenate(scores), map_range_of_extents(extents, false_alarm_rate), false_alarm_rate)
