"""Held-back good images with defects of the kinds that training never paints, to choose by without a label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_runtime.preprocessing import PicturePart, unscale_pixels
from tfganomaly.synthetic_defects.painter import SELECTION_KINDS, DefectPainter
from tfganomaly.synthetic_defects.training_pairs import make_pair

MOST_SELECTION_IMAGES = 256
SELECTION_STREAM = 1_000_003


def selection_images(pixels: np.ndarray) -> np.ndarray:
    """All images, or `MOST_SELECTION_IMAGES` of them at even distances: their numbers, int (K,)."""
    return np.linspace(0, len(pixels) - 1, min(len(pixels), MOST_SELECTION_IMAGES)).astype(int)


def selection_kinds_painted(
    pixels: np.ndarray, seed: int, parts: Sequence[PicturePart] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Good images, and each once with every kind of `SELECTION_KINDS`.

    Args:
        pixels: uint8 (N, S, S, C), held-back good images.
        seed: Decides what is painted.
        parts: Where each image shows its picture; None: everywhere.

    Returns:
        The K chosen images as they are, uint8 (K, S, S, C); painted, uint8 (K * number of kinds, S, S, C).
    """
    rng = np.random.default_rng([seed, SELECTION_STREAM, 1])
    chosen = selection_images(pixels)
    good = np.stack([np.asarray(pixels[index]) for index in chosen])
    painted = []
    for name in SELECTION_KINDS:
        painter = DefectPainter({name: SELECTION_KINDS[name]})
        for index, image in zip(chosen, good, strict=True):
            pair = make_pair(
                image,
                good[rng.integers(len(good))],
                painter,
                rng,
                window_stride_px=1,
                part=None if parts is None else parts[index],
                most_defects=1,
                is_as_photographed=True,
            )
            painted.append(unscale_pixels(pair.damaged))
    return good, np.stack(painted)
