"""Held-back good images with defects of the kinds that training never paints, to choose by without a label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """Good images, and each once with every kind of `SELECTION_KINDS`.

    Args:
        pixels: uint8 (N, S, S, C), held-back good images.
        seed: Decides what is painted.
        parts: Where each image shows its picture; None: everywhere.

    Returns:
        The K chosen images as they are, uint8 (K, S, S, C); the same for each kind, painted when they are asked for:
        all kinds of large images would need gigabytes.
    """
    rng = np.random.default_rng([seed, SELECTION_STREAM, 1])
    chosen = selection_images(pixels)
    good = np.stack([np.asarray(pixels[index]) for index in chosen])

    def painted() -> Iterator[np.ndarray]:
        for name in SELECTION_KINDS:
            painter = DefectPainter({name: SELECTION_KINDS[name]})
            images = np.empty_like(good)
            for row, (index, image) in enumerate(zip(chosen, good, strict=True)):
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
                images[row] = unscale_pixels(pair.damaged)
            yield images

    return good, painted()
