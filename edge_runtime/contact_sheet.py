"""Lays many pictures with captions onto one sheet, to look at them all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from edge_runtime.printable_text import printable

_BACKGROUND = (250, 250, 248)
_TEXT = (33, 37, 41)
_FAINT_TEXT = (108, 117, 125)
_FRAME = (222, 226, 230)
_ALARM = (200, 30, 45)
_MARGIN_PX = 16
_GAP_PX = 12
_FRAME_PX = 3


@dataclass(frozen=True)
class SheetTile:
    """One picture on a sheet.

    Attributes:
        image: The picture, of any size and mode.
        caption: The line below it; what does not fit is cut out of its middle.
        note: A second, fainter line.
        is_marked: Whether its frame and caption are red.
    """

    image: Image.Image
    caption: str = ""
    note: str = ""
    is_marked: bool = False


def contact_sheet(tiles: Sequence[SheetTile], *, columns: int = 6, tile_px: int = 192, title: str = "") -> Image.Image:
    """Return one picture that shows all tiles in rows.

    Args:
        tiles: At least one. Each picture is scaled, also up, to fit a square and keeps its aspect ratio.
        columns: Tiles in a row, at most.
        tile_px: Side of a tile's square in pixels.
        title: A line at the top.

    Returns:
        An RGB image.
    """
    if not tiles:
        raise ValueError("A contact sheet needs at least one tile.")
    font, small_font, title_font = (_font(size) for size in (max(11, tile_px // 13), max(10, tile_px // 15), 20))
    line_px, small_line_px = _line_height(font), _line_height(small_font)
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    caption_px = (line_px if any(tile.caption for tile in tiles) else 0) + (
        small_line_px if any(tile.note for tile in tiles) else 0
    )
    row_px = tile_px + 4 + caption_px + _GAP_PX
    top_px = _MARGIN_PX + (_line_height(title_font) + _GAP_PX if title else 0)
    width = 2 * _MARGIN_PX + columns * tile_px + (columns - 1) * _GAP_PX
    sheet = Image.new("RGB", (width, top_px + rows * row_px - _GAP_PX + _MARGIN_PX), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_MARGIN_PX, _MARGIN_PX), _fitting(title, title_font, width - 2 * _MARGIN_PX), _TEXT, title_font)
    for index, tile in enumerate(tiles):
        left = _MARGIN_PX + index % columns * (tile_px + _GAP_PX)
        top = top_px + index // columns * row_px
        square = (left, top, left + tile_px - 1, top + tile_px - 1)
        draw.rectangle(square, fill=(238, 240, 242), outline=_ALARM if tile.is_marked else _FRAME, width=_FRAME_PX)
        picture = _fitted(tile.image, tile_px - 2 * _FRAME_PX)
        sheet.paste(picture, (left + (tile_px - picture.width) // 2, top + (tile_px - picture.height) // 2))
        text_top = top + tile_px + 4
        if tile.caption:
            draw.text(
                (left, text_top), _fitting(tile.caption, font, tile_px), _ALARM if tile.is_marked else _TEXT, font
            )
            text_top += line_px
        if tile.note:
            draw.text((left, text_top), _fitting(tile.note, small_font, tile_px), _FAINT_TEXT, small_font)
    return sheet


def _fitted(image: Image.Image, side_px: int) -> Image.Image:
    scale = side_px / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def _fitting(text: str, font: Any, width_px: int) -> str:
    """Return `text` as one line, its middle replaced by dots as far as it takes to fit."""
    text = printable(text)
    if font.getlength(text) <= width_px:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shortened = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(shortened) <= width_px:
            return shortened
    return "…"


def _line_height(font: Any) -> int:
    return round(font.getbbox("Ägjp")[3]) + 4


def _font(size_px: int) -> Any:
    return ImageFont.load_default(size_px)
