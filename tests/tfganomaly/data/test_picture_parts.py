from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.preprocessing import Preprocessing, prepare_image
from tfganomaly.data.items import ImageItem
from tfganomaly.data.picture_parts import picture_parts

SIDE = 64
LETTERBOX = Preprocessing(SIDE, SIDE, 1, "letterbox")
WHOLE = (slice(0, SIDE), slice(0, SIDE))


def photograph(path: Path, width: int, height: int, orientation: int = 1) -> ImageItem:
    """Noise, which ends where the smooth border begins."""
    grey = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(grey).save(path, quality=95, exif=exif)
    return ImageItem(path.name, path)


@pytest.mark.parametrize(
    ("size", "orientation", "part"),
    [
        ((128, 72), 1, (slice(14, 50), slice(0, SIDE))),
        ((72, 128), 1, (slice(0, SIDE), slice(14, 50))),
        ((72, 128), 6, (slice(14, 50), slice(0, SIDE))),  # a camera on its side
        ((90, 90), 1, WHOLE),
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_part_is_where_the_prepared_pixels_show_the_picture(tmp_path: Path, size, orientation, part, suffix):
    item = photograph(tmp_path / f"a{suffix}", *size, orientation)
    assert picture_parts([item], LETTERBOX) == (part,)
    pixels = prepare_image(item.source, LETTERBOX)[:, :, 0].astype(float)
    if part[0] != WHOLE[0]:
        pixels = pixels.T
    if part != WHOLE:  # between neighbours across the fading direction noise jumps, the border does not
        jumps = np.abs(np.diff(pixels, axis=0)).mean(axis=0)
        assert jumps[15:49].min() > 10 > max(jumps[:13].max(), jumps[51:].max())


@pytest.mark.parametrize("rule", ["stretch", "crop"])
def test_other_rules_leave_no_border_and_read_no_file(rule):
    items = [ImageItem("gone.png", Path("gone.png"))] * 2
    assert picture_parts(items, Preprocessing(SIDE, SIDE, 1, rule)) == (WHOLE, WHOLE)


def test_arrays_have_the_shape_they_have_and_a_missing_file_counts_as_square():
    items = [
        ImageItem("digit", np.zeros((28, 28), np.uint8)),
        ImageItem("strip", np.zeros((16, 64, 3), np.uint8)),
        ImageItem("gone.png", Path("gone.png")),
    ]
    assert picture_parts(items, LETTERBOX) == (WHOLE, (slice(24, 40), slice(0, SIDE)), WHOLE)
