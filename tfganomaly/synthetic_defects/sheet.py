"""One picture of what the painter does to a user's own parts, to be looked at before a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from edge_runtime.atomic_files import atomic_path
from edge_runtime.contact_sheet import SheetTile, contact_sheet
from edge_runtime.preprocessing import scale_pixels, unscale_pixels
from tfganomaly.data.items import ImageItem
from tfganomaly.data.loading import load_images
from tfganomaly.data.picture_parts import picture_parts
from tfganomaly.errors import DataError
from tfganomaly.options import ModelOptions, TrainingOptions
from tfganomaly.synthetic_defects.painter import SELECTION_KINDS, TRAINING_KINDS, DefectPainter
from tfganomaly.synthetic_defects.training_pairs import DAMAGED_WINDOW, label_windows
from tfganomaly.training.run_folder import preprocessing_of

MOST_IMAGES = 64
COLUMNS = 6
_TILE_PX = 224
_OUTLINE = (230, 40, 50)
_STRIDE_PX = 8


def write_defect_sheet(
    items: Sequence[ImageItem], training: TrainingOptions, model: ModelOptions, path: Path, seed: int
) -> tuple[str, ...]:
    """Paints every kind of defect several times and writes the sheet.

    Args:
        items: Good images; at most `MOST_IMAGES` of them are read.
        training: How images are resized and their contrast adjusted.
        model: The images' size and channels.
        path: The PNG to write.
        seed: Decides images and defects.

    Returns:
        The names of the kinds, in the order of the rows.

    Raises:
        DataError: Fewer than two images can be read.
        OutputError: The picture cannot be written.
    """
    rng = np.random.default_rng(seed)
    chosen = [items[index] for index in rng.permutation(len(items))[:MOST_IMAGES]]
    preprocessing = preprocessing_of(training, model)
    loaded = load_images(chosen, preprocessing)
    if len(loaded.items) < 2:
        raise DataError(
            f"{len(loaded.items)} image can be read; a sheet of synthetic defects needs at least 2 good images."
        )
    images, parts = scale_pixels(loaded.pixels), picture_parts(loaded.items, preprocessing)
    tiles: list[SheetTile] = []
    for kinds, use in ((TRAINING_KINDS, "painted in training"), (SELECTION_KINDS, "never painted in training")):
        painter = DefectPainter(kinds)
        for name in painter.names:
            for _ in range(COLUMNS):
                first, other = rng.integers(len(images), size=2)
                painted = painter.paint(images[first], images[other], rng, name, parts[first])
                tiles.append(_tile(images[first], painted, name, use))
    title = (
        f"synthetic defects on {len(images)} good images; red: windows in which the change can be seen; too faint: "
        "there is none, so nothing is marked"
    )
    with atomic_path(path) as temporary:
        contact_sheet(tiles, columns=COLUMNS, tile_px=_TILE_PX, title=title).save(temporary, format="PNG")
    return (*TRAINING_KINDS, *SELECTION_KINDS)


def _tile(image: np.ndarray, painted: np.ndarray, name: str, use: str) -> SheetTile:
    """The painted image with a red line around the windows that training calls damaged; where none is, it says so."""
    painted = np.clip(painted, -1, 1)
    windows = label_windows(np.clip(image, -1, 1), painted, _STRIDE_PX) == DAMAGED_WINDOW
    inside = np.pad(windows.repeat(_STRIDE_PX, 0).repeat(_STRIDE_PX, 1), 1)
    surrounded = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    picture = np.broadcast_to(unscale_pixels(painted), (*painted.shape[:2], 3)).copy()
    picture[inside[1:-1, 1:-1] & ~surrounded] = _OUTLINE
    caption = name if windows.any() else f"{name}, too faint"
    return SheetTile(Image.fromarray(picture), caption, use)
