"""Draws the outline of a region on a picture, so that it stands out on any picture and leaves the region visible."""

from __future__ import annotations

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]

FOUND_COLOUR: Colour = (255, 255, 255)
"""Around what a model points at: no colour of the heatmap, and with its dark edges not lost on a bright picture."""

TRUE_COLOUR: Colour = (0, 229, 255)
"""Around what a mask says is the defect."""

_EDGE_COLOUR: Colour = (0, 32, 40)
_EDGE_PX = 1
_SIDE_OF_ONE_LINE_PX = 500


def draw_outline(picture: Image.Image, region: np.ndarray, colour: Colour = FOUND_COLOUR) -> Image.Image:
    """Return the picture with a line around each connected part of a region, just outside of it.

    Args:
        picture: RGB.
        region: bool (H, W), of the picture's size.
        colour: Of the line; a dark edge lies on either side of it. It is a pixel wide, and wider on pictures above
            `_SIDE_OF_ONE_LINE_PX`.

    Returns:
        A new picture, or `picture` itself where the region is empty.
    """
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not rows.size:
        return picture
    line_px = max(1, round(max(picture.size) / _SIDE_OF_ONE_LINE_PX))
    margin = line_px + 2 * _EDGE_PX
    top, left = max(0, int(rows[0]) - margin), max(0, int(columns[0]) - margin)
    near = np.s_[top : int(rows[-1]) + margin + 1, left : int(columns[-1]) + margin + 1]  # the rest stays as it is
    inside = region[near]
    inner_edge = _grown(inside, _EDGE_PX)
    line = _grown(inner_edge, line_px)
    outer_edge = _grown(line, _EDGE_PX)
    pixels = np.array(picture)
    part = pixels[near]
    part[outer_edge & ~inside] = _EDGE_COLOUR
    part[line & ~inner_edge] = colour
    return Image.fromarray(pixels)


def _grown(region: np.ndarray, distance_px: int) -> np.ndarray:
    """Return a bool region and all within so many steps up, down, left or right of it."""
    for _ in range(distance_px):
        grown = region.copy()
        grown[1:] |= region[:-1]
        grown[:-1] |= region[1:]
        grown[:, 1:] |= region[:, :-1]
        grown[:, :-1] |= region[:, 1:]
        region = grown
    return region
