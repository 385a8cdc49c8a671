"""One picture that shows what a model makes of some images: input, reconstruction, difference."""

from __future__ import annotations

import numpy as np
from PIL import Image

GAP_PX = 2
SMALLEST_TILE_PX = 96
BACKGROUND = 32


def sample_sheet(images: np.ndarray, reconstructions: np.ndarray) -> Image.Image:
    """Lays images out in columns with three rows: input, reconstruction, absolute difference.

    Args:
        images: float32 (B, H, W, C) in [-1, 1], C is 1 or 3.
        reconstructions: The same shape and range.

    Returns:
        An RGB picture; small images are enlarged without smoothing, so that their pixels can be counted.
    """
    rows = (images, reconstructions, np.abs(images - reconstructions) - 1.0)
    pixels = [np.clip((row + 1.0) * 127.5, 0, 255).astype(np.uint8) for row in rows]
    factor = -(-SMALLEST_TILE_PX // images.shape[1])
    height, width = images.shape[1] * factor, images.shape[2] * factor
    sheet = np.full((3 * (height + GAP_PX) + GAP_PX, len(images) * (width + GAP_PX) + GAP_PX, 3), BACKGROUND, np.uint8)
    for row, tiles in enumerate(pixels):
        for column, tile in enumerate(tiles):
            top, left = GAP_PX + row * (height + GAP_PX), GAP_PX + column * (width + GAP_PX)
            sheet[top : top + height, left : left + width] = tile.repeat(factor, 0).repeat(factor, 1)
    return Image.fromarray(sheet)
