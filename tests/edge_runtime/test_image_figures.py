from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.image_figures import (
    CELL_FIGURES,
    CELLS,
    WINDOWS,
    _filtered,
    _sums_of_cells,
    _three_answers,
    cell_figures,
    window_figures,
    window_groups,
)
from edge_runtime.preprocessing import Preprocessing, prepare_detail


def grainy_image(seed: int, size: int = 64) -> np.ndarray:
    """Grey fine noise."""
    return np.random.default_rng(seed).integers(110, 146, (size, size, 1), np.uint8)


def texture_filters(taps: int) -> np.ndarray:
    """Products of two discrete Chebyshev polynomials of length 1, but for the constant one: (F, taps, taps)."""
    powers = np.vander(np.arange(taps) - taps // 2, increasing=True)
    polynomials = np.linalg.qr(powers.astype(np.float64))[0].T
    return np.einsum("ai,bj->abij", polynomials, polynomials).reshape(-1, taps, taps)[1:]


def filter_answers(values: np.ndarray, taps: int) -> np.ndarray:
    """Absolute answers of (H, W) to the filters, the border repeated: (F, H, W)."""
    padded = np.pad(values, taps // 2, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (taps, taps))
    return np.abs(np.tensordot(texture_filters(taps), around, axes=((1, 2), (2, 3))))


def defined_window_figures(pixels: np.ndarray, reduction: int) -> np.ndarray:
    """What the docstring of `window_figures` says, without a thought for speed."""
    height, width, channels = pixels.shape
    blocks = pixels.reshape(height // reduction, reduction, width // reduction, reduction, channels)

    def quarters(sums: np.ndarray, count: int) -> np.ndarray:
        return 4 * sums // (count * reduction**2) / 4

    brightness = quarters(blocks.sum(axis=(1, 3, 4), dtype=np.int64), channels)
    plain = [quarters(blocks[..., channel].sum(axis=(1, 3), dtype=np.int64), 1) for channel in range(channels)]
    colour = [plain[channel] - brightness for channel in (0, 2)] if channels == 3 else []
    banks = [filter_answers(brightness, taps) for taps in (5, 3)]
    rows, columns = brightness.shape[0] // 8, brightness.shape[1] // 8

    def root(values: np.ndarray) -> np.ndarray:
        return (values + 1) ** 0.25

    def of_window(row: int, column: int) -> np.ndarray:
        here = (..., slice(row * rows, (row + 2) * rows), slice(column * columns, (column + 2) * columns))
        figures = [brightness[here].mean() / 16, root(brightness[here].std())]
        figures += [difference[here].mean() / 16 for difference in colour]
        for bank in banks:
            figures += [*root(bank[here].mean(axis=(1, 2))), *root(bank[here].max(axis=(1, 2)))]
        return np.array(figures)

    return np.array([[of_window(row, column) for column in range(WINDOWS)] for row in range(WINDOWS)])


def defined_cell_figures(detail: np.ndarray) -> np.ndarray:
    """What the docstring of `cell_figures` says, without a thought for speed."""
    values = detail[..., 0].astype(np.float64)
    maps = np.concatenate([values[np.newaxis], filter_answers(values, 3)])
    rows, columns = values.shape[0] // (4 * CELLS), values.shape[1] // (4 * CELLS)  # a quarter of a cell
    maps = np.concatenate([maps[:, :rows], maps, maps[:, -rows:]], axis=1)
    maps = np.concatenate([maps[..., :columns], maps, maps[..., -columns:]], axis=2)
    around = np.lib.stride_tricks.sliding_window_view(maps, (6 * rows, 6 * columns), axis=(1, 2))
    brightness, *answers = around[:, :: 4 * rows, :: 4 * columns].mean(axis=(3, 4))
    return np.stack([(1 + answer * 128 / (brightness + 32)) ** 0.25 for answer in answers], axis=-1)


def made_up_picture(height: int, width: int, channels: int) -> np.ndarray:
    """The same grain on every machine and under every release of numpy."""
    numbers = np.arange(height * width * channels, dtype=np.int64)
    return (numbers * numbers % 251).astype(np.uint8).reshape(height, width, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "reduction"), [((64, 96), 1), ((128, 160), 2)])
def test_window_figures_are_those_of_the_definition(channels: int, size: tuple[int, int], reduction: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, channels), np.uint8)
    np.testing.assert_allclose(window_figures(noise), defined_window_figures(noise, reduction), rtol=1e-12)


def test_cell_figures_are_those_of_the_definition() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 192, 1), np.uint8)
    np.testing.assert_allclose(cell_figures(noise), defined_cell_figures(noise), rtol=1e-6)


def test_sums_too_large_for_a_short_float_are_exact() -> None:
    values = np.random.default_rng(0).integers(1900, 2041, (1024, 1024), np.int16)
    sums = _sums_of_cells(values)
    for cell in range(1, CELLS - 1):
        inside = slice(cell * 64 - 16, (cell + 1) * 64 + 16)
        assert sums[cell, cell] == values[inside, inside].sum(dtype=np.int64) > 2**24


def test_the_figures_are_those_that_stored_statistics_were_made_of() -> None:
    windows, cells = window_figures(made_up_picture(128, 160, 3)), cell_figures(made_up_picture(128, 192, 1))
    assert windows[0, 0, [0, 1, 2, 3, 4, 27, 28, 51, 52, 67]].tolist() == [
        7.335986328125,
        2.2320348065449958,
        -0.124169921875,
        0.094580078125,
        1.8594737971912438,
        1.853796964080449,
        2.530782675785295,
        2.575927577333383,
        2.105615243407518,
        2.744678412247905,
    ]
    assert cells[[0, 7, 15], [0, 9, 15], [0, 4, 7]].tolist() == [
        2.717974901199341,
        2.597439765930176,
        2.646939516067505,
    ]


@pytest.mark.parametrize("axis", [0, 1])
def test_both_ways_to_filter_three_pixels_agree(axis: int) -> None:
    values = np.random.default_rng(0).integers(-765, 766, (10, 14), np.int16)
    answers, scratch = np.empty((3, *values.shape), np.int16), np.empty_like(values)
    _three_answers(values, axis, answers, scratch)
    np.testing.assert_array_equal(answers, _filtered(values.astype(np.int32), 3, axis - 2))


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
