from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.image_figures import CELL_FIGURES, CELLS, WINDOWS, cell_figures, window_figures, window_groups
from edge_runtime.preprocessing import Preprocessing, prepare_detail


def grainy_image(seed: int, size: int = 64) -> np.ndarray:
    """Grey fine noise."""
    return np.random.default_rng(seed).integers(110, 146, (size, size, 1), np.uint8)


def test_the_figures_of_stripes_are_those_computed_by_hand() -> None:
    image = np.zeros((32, 32, 1), np.uint8)
    image[:, 1::2] = 80
    figures = window_figures(image)
    assert figures.shape == (WINDOWS, WINDOWS, 66)
    inside = figures[2:-2, 2:-2]  # away from the border, which is repeated
    assert inside.min(axis=(0, 1)).tolist() == inside.max(axis=(0, 1)).tolist()  # all windows alike
    mean, deviation, wide, narrow = np.split(inside[0, 0], [1, 2, 50])
    assert mean.item() == 40 / 16
    assert deviation.item() == pytest.approx(41**0.25)
    # Constant down the rows, along them the even polynomials: 80 * (2 - 2 + 2) and 80 * (1 + 6 + 1).
    expected = np.ones(24)
    expected[1] = np.sqrt(np.sqrt(1 + 80 * 2 * 5 / (14 * 5) ** 0.5))
    expected[3] = np.sqrt(np.sqrt(1 + 80 * 8 * 5 / (70 * 5) ** 0.5))
    np.testing.assert_allclose(wide, [*expected, *expected])
    expected = np.ones(8)
    expected[1] = np.sqrt(np.sqrt(1 + 80 * 2 * 3 / (6 * 3) ** 0.5))
    np.testing.assert_allclose(narrow, [*expected, *expected])


def test_the_texture_of_stripes_is_the_one_computed_by_hand() -> None:
    for light in (1, 2):
        image = np.zeros((128, 192, 1), np.uint8)
        image[:, 1::2] = 80 * light
        texture = cell_figures(image)
        assert texture.dtype == np.float32
        assert texture.shape == (CELLS, CELLS, CELL_FIGURES)
        expected = np.ones(CELL_FIGURES)
        expected[1] = (1 + 80 * light * 2 * 3 / (6 * 3) ** 0.5 * 128 / (40 * light + 32)) ** 0.25
        inside = texture[1:-1, 1:-1]  # the picture's border is repeated
        np.testing.assert_allclose(inside, np.broadcast_to(expected, inside.shape), rtol=1e-6)


def test_twice_the_light_changes_texture_little() -> None:
    dim = np.random.default_rng(0).integers(50, 90, (128, 128, 1), np.uint8)
    np.testing.assert_allclose(cell_figures(2 * dim), cell_figures(dim), rtol=0.06)
    assert (np.abs(window_figures(2 * dim) / window_figures(dim) - 1) > 0.1).any()


def test_the_largest_answer_stands_beside_the_mean() -> None:
    image = np.full((32, 32, 1), 100, np.uint8)
    image[13, 13] = 140  # seen by four windows of 8 x 8 pixels
    figures = window_figures(image)
    means, largest = figures[..., 50:58], figures[..., 58:]
    slope_along_rows = 40 * 1 / (2 * 3) ** 0.5  # at six of the pixels around
    assert largest[2, 2, 0] == pytest.approx((1 + slope_along_rows) ** 0.25)
    assert means[2, 2, 0] == pytest.approx((1 + 6 * slope_along_rows / 64) ** 0.25)
    assert (largest[4:, 4:] == 1).all()


def test_a_cell_shows_what_lies_in_it() -> None:
    image = np.full((128, 128, 1), 100, np.uint8)
    image[44, 91] = 140  # with its neighbours in the middle of a cell, outside of the margins of others
    changed = (cell_figures(image) > 1).any(axis=-1)
    assert np.argwhere(changed).tolist() == [[5, 11]]


def test_a_cell_shows_what_lies_close_to_it() -> None:
    image = np.full((128, 128, 1), 100, np.uint8)
    image[41, 88] = 140  # reaches into the last quarter of the cell above and of the one to the left
    changed = (cell_figures(image) > 1).any(axis=-1)
    assert np.argwhere(changed).tolist() == [[4, 10], [4, 11], [5, 10], [5, 11]]


def test_large_pictures_are_looked_at_in_less_detail() -> None:
    small = grainy_image(0)
    for times in (2, 4):
        np.testing.assert_allclose(window_figures(small.repeat(times, 0).repeat(times, 1)), window_figures(small))


@pytest.mark.parametrize("size", [(32, 32), (96, 160), (352, 224), (416, 1056)])
def test_every_size_that_a_model_can_have_is_measured(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 1), np.uint8)
    assert window_figures(picture).shape == (WINDOWS, WINDOWS, 66)
    detail = prepare_detail(picture, Preprocessing(*size, 1))
    assert min(detail.shape[:2]) >= 256
    assert detail.shape[0] / detail.shape[1] == pytest.approx(size[0] / size[1], rel=0.15)
    assert cell_figures(detail).shape == (CELLS, CELLS, CELL_FIGURES)


def test_colour_adds_how_far_its_channels_are_from_the_brightness() -> None:
    grey = grainy_image(0)
    coloured = np.concatenate([grey + 32, grey, grey - 32], axis=2)
    figures = window_figures(coloured)
    assert figures.shape == (WINDOWS, WINDOWS, 68)
    np.testing.assert_allclose(figures[..., 2], 2)
    np.testing.assert_allclose(figures[..., 3], -2)
    np.testing.assert_allclose(figures[..., [0, 1, *range(4, 68)]], window_figures(grey))


def test_each_bank_stands_with_the_plain_figures() -> None:
    wide, narrow = window_groups(68)
    assert wide.tolist() == list(range(52))
    assert narrow.tolist() == [0, 1, 2, 3, *range(52, 68)]
