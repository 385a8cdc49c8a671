from __future__ import annotations

import numpy as np
from PIL import Image

from edge_runtime.outline import FOUND_COLOUR, TRUE_COLOUR, draw_outline

GREY = (100, 100, 100)


def region(rows: slice, columns: slice, size: int = 20) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[rows, columns] = True
    return mask


def test_the_line_lies_around_the_region_and_leaves_it_visible() -> None:
    mask = region(slice(8, 12), slice(8, 12))
    drawn = np.asarray(draw_outline(Image.new("RGB", (20, 20), GREY), mask, TRUE_COLOUR))
    assert (drawn[mask] == 100).all()
    assert drawn[7, 9].max() < 50  # a dark edge
    assert tuple(drawn[6, 9]) == TRUE_COLOUR
    assert drawn[5, 9].max() < 50  # and the other one
    assert tuple(drawn[4, 9]) == GREY
    assert (drawn[0] == 100).all()


def test_regions_apart_have_lines_of_their_own() -> None:
    mask = region(slice(3, 5), slice(3, 5)) | region(slice(14, 16), slice(14, 16))
    drawn = np.asarray(draw_outline(Image.new("RGB", (20, 20), GREY), mask))
    is_line = (drawn == FOUND_COLOUR).all(axis=2)
    assert is_line[1, 3]
    assert is_line[17, 15]
    assert (drawn[9:11, 9:11] == 100).all()


def test_a_region_at_the_border_or_over_all_of_the_picture_can_be_drawn() -> None:
    picture = Image.new("RGB", (20, 20), GREY)
    drawn = np.asarray(draw_outline(picture, region(slice(0, 3), slice(17, 20))))
    assert tuple(drawn[4, 18]) == FOUND_COLOUR
    assert (np.asarray(draw_outline(picture, np.ones((20, 20), bool))) == 100).all()


def test_an_empty_region_leaves_the_picture_as_it_is() -> None:
    picture = Image.new("RGB", (20, 20), GREY)
    assert draw_outline(picture, np.zeros((20, 20), bool)) is picture


def test_the_line_is_wider_on_a_large_picture_and_the_given_one_is_not_changed() -> None:
    picture = Image.new("RGB", (2000, 2000), GREY)
    mask = region(slice(900, 1000), slice(900, 1000), size=2000)
    drawn = np.asarray(draw_outline(picture, mask))
    assert (drawn[:900, 950] == FOUND_COLOUR).all(axis=1).sum() == 4
    assert picture.getextrema() == ((100, 100),) * 3
