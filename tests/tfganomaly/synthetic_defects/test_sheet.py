"""The sheet of synthetic defects says of a tile without a mark why it has none."""

import numpy as np
import pytest
from PIL import Image

from tfganomaly.data.items import ImageItem
from tfganomaly.options import ModelOptions, TrainingOptions
from tfganomaly.synthetic_defects import sheet
from tfganomaly.synthetic_defects.painter import SELECTION_KINDS, TRAINING_KINDS, DefectPainter

KINDS = [*TRAINING_KINDS, *SELECTION_KINDS]


@pytest.mark.parametrize("change", [0.01, 1.0])
def test_a_defect_that_is_not_marked_is_called_too_faint(change, tmp_path, monkeypatch):
    tiles = []

    def remember(given, **_):
        tiles.extend(given)
        return Image.new("RGB", (1, 1))

    def paint(painter, image, other_image, rng, name, part):
        painted = image.copy()
        painted[8:24, 8:24] += change
        return painted

    monkeypatch.setattr(sheet, "contact_sheet", remember)
    monkeypatch.setattr(DefectPainter, "paint", paint)
    pixels = np.full((3, 32, 32), 100, np.uint8)
    pixels[:, ::2] = 105
    items = [ImageItem(f"{row}.png", pixels[row]) for row in range(3)]
    model = ModelOptions(image_size=32, channels=1)
    kinds = sheet.write_defect_sheet(items, TrainingOptions(), model, tmp_path / "defects.png", seed=0)
    assert list(kinds) == KINDS
    ending = ", too faint" if change < 0.1 else ""
    assert [tile.caption for tile in tiles[:: sheet.COLUMNS]] == [kind + ending for kind in KINDS]
    has_red = [(np.asarray(tile.image)[..., 0] > np.asarray(tile.image)[..., 1]).any() for tile in tiles]
    assert has_red == [change > 0.1] * len(tiles)
