from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from edge_runtime.contact_sheet import SheetTile, contact_sheet


def test_tiles_stand_in_rows_and_keep_their_aspect_ratio() -> None:
    tiles = [SheetTile(Image.new("L", (200, 100), 10), f"part {index}") for index in range(5)]
    sheet = contact_sheet(tiles, columns=3, tile_px=100)
    pixels = np.asarray(sheet.convert("L"))
    assert sheet.mode == "RGB"
    assert 3 * 100 < sheet.width < 3 * 100 + 80
    assert 2 * 100 < sheet.height < 2 * 100 + 140
    dark_rows, dark_columns = np.nonzero(pixels[:118, :118] < 15)  # the first tile
    assert np.ptp(dark_columns) + 1 == pytest.approx(94, abs=1)
    assert np.ptp(dark_rows) + 1 == pytest.approx(47, abs=1)


def test_a_marked_tile_is_red_and_others_are_not() -> None:
    grey = Image.new("RGB", (50, 50), (128, 128, 128))

    def red_pixels(is_marked: bool) -> int:
        sheet = np.asarray(contact_sheet([SheetTile(grey, "caption", "note", is_marked)], tile_px=100)).astype(int)
        return int(((sheet[..., 0] - sheet[..., 1]) > 100).sum())

    assert red_pixels(True) > 1000
    assert red_pixels(False) == 0


def test_long_captions_are_cut_and_do_not_reach_the_next_tile() -> None:
    tiles = [
        SheetTile(Image.new("L", (10, 10)), "a/very/long/path/" * 10 + "end.png"),
        SheetTile(Image.new("L", (9, 9))),
    ]
    pixels = np.asarray(contact_sheet(tiles, tile_px=120, columns=2).convert("L"))
    captions = pixels[16 + 120 + 2 :]
    assert (captions[:, 16:136] < 100).any()
    assert (captions[:, 140:] > 200).all()


def test_a_title_and_letters_of_other_scripts_do_no_harm() -> None:
    plain = contact_sheet([SheetTile(Image.new("P", (1, 1)), "部品 №7")], tile_px=64)
    titled = contact_sheet([SheetTile(Image.new("P", (1, 1)), "部品 №7")], tile_px=64, title="Größte Abweichung")
    assert titled.height > plain.height


def test_a_caption_with_line_breaks_stays_on_its_line() -> None:
    part = Image.new("L", (9, 9))
    tiles = [SheetTile(part, "two\nlines" + "\n" * 20), SheetTile(part, os.fsdecode(b"gr\xf6\xdfe.png"))]
    sheet = contact_sheet(tiles, tile_px=100)
    assert sheet.height == contact_sheet([SheetTile(part, "one")], tile_px=100).height
    assert (np.asarray(sheet.convert("L"))[-14:] > 200).all()


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one tile"):
        contact_sheet([])
