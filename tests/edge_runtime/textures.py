"""What the texture of prepared images is, for tests that have no files."""

from __future__ import annotations

import numpy as np

from edge_runtime.image_figures import cell_figures
from edge_runtime.preprocessing import Preprocessing, prepare_detail


def textures_of(images: np.ndarray) -> np.ndarray:
    """Return the cells' figures of uint8 (N, H, W, C) images: float32 (N, CELLS, CELLS, CELL_FIGURES)."""
    preprocessing = Preprocessing(*images.shape[1:])
    return np.stack([cell_figures(prepare_detail(image, preprocessing)) for image in images])
