"""Measures brightness and texture of a picture, place by place, with small filters.

Two grids of places: overlapping windows, each a quarter of the side, with many figures of what the model sees, and
cells, each a sixteenth, with few figures of a finer picture (`preprocessing.prepare_detail`). Whole numbers, quotients
and square roots lead from pixels to figures, so that every machine computes the same ones.
"""

from __future__ import annotations

from functools import cache

import numpy as np

CELLS = 16
"""Cells along a side."""
_HALF_WINDOWS = 8
WINDOWS = _HALF_WINDOWS - 1
"""Windows along a side: neighbours share half of their pixels."""

# Large pictures are looked at in less detail, where their sides allow it with as many pixels along the shorter one, or
# up to twice as many.
_LEAST_SIDE_FOR_WINDOWS_PX = 64
_STEPS_A_GREY_LEVEL = 4
# Brightness counts in these units, all else as fourth roots: of the same order for what surfaces usually show.
_BRIGHTNESS_UNIT = 16.0

# Squared lengths of the discrete Chebyshev polynomials on five and on three points: constant, slope, curve, ...
_SQUARED_LENGTHS = {5: np.array([5.0, 10, 14, 10, 70]), 3: np.array([3.0, 2, 6])}
_NUM_ANSWERS = {taps: 2 * (taps * taps - 1) for taps in _SQUARED_LENGTHS}
WINDOW_FIGURES = tuple(num_plain + sum(_NUM_ANSWERS.values()) for num_plain in (2, 4))
"""How many figures a window has, of a grey and of a colour picture."""
_CELL_TAPS = 3
# A cell is measured with a margin around it: blocks along its side, and beside it.
_BLOCKS_A_CELL = 4
_MARGIN_BLOCKS = 1
DETAIL_MULTIPLE_PX = CELLS * _BLOCKS_A_CELL
"""The sides of a picture whose cells are measured are multiples of it."""
_CELL_SHARE = (_BLOCKS_A_CELL + 2 * _MARGIN_BLOCKS) / DETAIL_MULTIPLE_PX  # of the picture's side, with its margin
_LARGEST_ANSWER = 8 * 255  # of the product of two curves
# What a filter answers counts as a share of the brightness, so that the lamp does not: of this grey level, and with
# this much added, or the noise of black ground would count as much as the grain of a part.
_USUAL_BRIGHTNESS = 128.0
_ADDED_BRIGHTNESS = 32.0
CELL_FIGURES = _NUM_ANSWERS[_CELL_TAPS] // 2
"""How many figures a cell has."""


def window_figures(pixels: np.ndarray) -> np.ndarray:
    """Return what is measured of one picture, in each of `WINDOWS` x `WINDOWS` windows.

    First the plain figures: mean of the brightness (mean over channels), its standard deviation, and of a colour
    picture how far the first and the last channel are from the brightness. Then the answers to the 24 filters that are
    products of two discrete Chebyshev polynomials on five pixels, one of them not constant: absolute value, the mean
    over the window of each filter, then the largest of each. Then the same of the 8 filters on three pixels. All but
    the means of brightness and colour as fourth roots of one grey level more than there is, which brings what is a
    hundred times larger to three times as large.

    Args:
        pixels: uint8 (H, W, C), both sides multiples of `CELLS`.

    Returns:
        float64 (WINDOWS, WINDOWS, F); F is 66 for a grey picture, 68 for a colour picture.
    """
    channels = pixels.shape[2]
    reduction = _reduction(pixels)
    brightness = _brightness(pixels, reduction)
    num_pixels = (2 * brightness.shape[0] // _HALF_WINDOWS) * (2 * brightness.shape[1] // _HALF_WINDOWS)
    scale = float(num_pixels * _STEPS_A_GREY_LEVEL)
    sums = _windows(np.add, brightness[np.newaxis])[0]
    squares = _windows(np.add, np.square(brightness, dtype=np.int64)[np.newaxis])[0]
    variances = (num_pixels * squares - np.square(sums)) / scale**2
    figures = [sums / (scale * _BRIGHTNESS_UNIT), _root(np.sqrt(variances))]
    if channels == 3:
        for channel in (0, 2):
            difference = _brightness(pixels[:, :, channel : channel + 1], reduction) - brightness
            figures.append(_windows(np.add, difference[np.newaxis])[0] / (scale * _BRIGHTNESS_UNIT))
    for taps in _SQUARED_LENGTHS:
        answers, lengths = _answers(brightness, taps)
        figures.extend(_root(_windows(np.add, answers) / (scale * lengths)))
        figures.extend(_root(_windows(np.maximum, answers) / (_STEPS_A_GREY_LEVEL * lengths)))
    return np.stack(figures, axis=-1)


def cell_figures(detail: np.ndarray) -> np.ndarray:
    """Return what is measured of one picture in each of `CELLS` x `CELLS` cells: texture relative to brightness.

    The mean of each of the 8 filters on three pixels, absolute values (see `window_figures`), over the cell and a
    quarter of a cell around it, the picture's last quarters repeated; times 128 over the mean brightness and 32 grey
    levels more; one added, and the fourth root.

    Args:
        detail: uint8 (H, W, 1), both sides multiples of `DETAIL_MULTIPLE_PX`; see `preprocessing.prepare_detail`.

    Returns:
        float32 (CELLS, CELLS, `CELL_FIGURES`), >= 1.
    """
    # Map after map, and all of them in the same memory: a processor's cache then holds them.
    height, width = detail.shape[:2]
    workspace = np.empty((8, height, width), np.int16)
    brightness, along_columns, answers, scratch = workspace[0], workspace[1:4], workspace[4:7], workspace[7]
    brightness[:] = detail[:, :, 0]
    sums = [_sums_of_cells(brightness)]
    _three_answers(brightness, 0, along_columns, scratch)
    for first, column_answer in zip((1, 0, 0), along_columns, strict=True):  # the sum of sums is no texture
        _three_answers(column_answer, 1, answers, scratch)
        sums += [_sums_of_cells(np.abs(answer, out=answer)) for answer in answers[first:]]
    lengths = _lengths(_CELL_TAPS)
    num_pixels = detail.size * _CELL_SHARE**2
    means = np.stack(sums).astype(np.float64) / num_pixels
    shares = means[1:] / lengths * _USUAL_BRIGHTNESS / (means[0] + _ADDED_BRIGHTNESS)
    return np.ascontiguousarray(np.moveaxis(_root(shares), 0, -1), np.float32)


def window_groups(num_figures: int) -> tuple[np.ndarray, ...]:
    """Return which of a window's figures belong together: those of each bank of filters, the plain ones to both.

    Args:
        num_figures: One of `WINDOW_FIGURES`.
    """
    num_plain = num_figures - sum(_NUM_ANSWERS.values())
    plain, start, groups = np.arange(num_plain), num_plain, []
    for count in _NUM_ANSWERS.values():
        groups.append(np.concatenate([plain, np.arange(start, start + count)]))
        start += count
    return tuple(groups)


def _reduction(pixels: np.ndarray) -> int:
    """Return how many pixels along a side are taken as one: a power of two."""
    height, width, reduction = *pixels.shape[:2], 1
    while min(height, width) >= 2 * reduction * _LEAST_SIDE_FOR_WINDOWS_PX and not (
        height % (2 * reduction * CELLS) or width % (2 * reduction * CELLS)
    ):
        reduction *= 2
    return reduction


def _brightness(pixels: np.ndarray, reduction: int) -> np.ndarray:
    """Return the mean of uint8 (H, W, C) over channels and blocks in quarters of a grey level: int32."""
    channels = pixels.shape[2]
    sums = pixels[:, :, 0].astype(np.int32)
    for channel in range(1, channels):
        sums += pixels[:, :, channel]
    halvings = reduction
    while halvings > 1:
        sums = sums[::2] + sums[1::2]
        sums = sums[:, ::2] + sums[:, 1::2]
        halvings //= 2
    return _STEPS_A_GREY_LEVEL * sums // (channels * reduction * reduction)


def _filtered(values: np.ndarray, taps: int, axis: int) -> np.ndarray:
    """Return the answers of int32 (..., H, W) to the polynomials along an axis, -1 or -2: (taps, ..., H, W)."""
    size = values.shape[axis]
    places = np.clip(np.arange(-2, size + 2), 0, size - 1)  # the border repeated
    padded = values.take(places, axis=axis)
    slices = [(..., slice(start, start + size)) + (slice(None),) * (-1 - axis) for start in range(5)]
    before2, before, here, after, after2 = (padded[place] for place in slices)
    near, near_slope = before + after, after - before
    answers = np.empty((taps, *values.shape), np.int32)
    if taps == 3:
        np.add(near, here, out=answers[0])
        answers[1] = near_slope
        np.subtract(near, 2 * here, out=answers[2])
        return answers
    far, far_slope = before2 + after2, after2 - before2
    np.add(far + near, here, out=answers[0])
    np.add(2 * far_slope, near_slope, out=answers[1])
    np.subtract(2 * (far - here), near, out=answers[2])
    np.subtract(far_slope, 2 * near_slope, out=answers[3])
    np.add(far - 4 * near, 6 * here, out=answers[4])
    return answers


def _answers(brightness: np.ndarray, taps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a bank's answers, absolute values, int32 (F, H, W), and the lengths (F, 1, 1) of its filters."""
    answers = _filtered(_filtered(brightness, taps, -1), taps, -2).reshape(-1, *brightness.shape)[1:]
    np.abs(answers, out=answers)
    return answers, _lengths(taps)


def _lengths(taps: int) -> np.ndarray:
    """Return the lengths (F, 1, 1) of a bank's filters."""
    squared_lengths = _SQUARED_LENGTHS[taps]
    return np.sqrt(np.outer(squared_lengths, squared_lengths)).reshape(-1, 1, 1)[1:]


def _windows(reduction: np.ufunc, values: np.ndarray) -> np.ndarray:
    """Return sum or maximum of each window of integers (F, H, W): int64 (F, WINDOWS, WINDOWS)."""
    num_maps, height, width = values.shape
    halves = reduction.reduce(values.reshape(num_maps, _HALF_WINDOWS, height // _HALF_WINDOWS, width), axis=2)
    halves = halves.reshape(num_maps, _HALF_WINDOWS, _HALF_WINDOWS, width // _HALF_WINDOWS)
    halves = reduction.reduce(halves, axis=3).astype(np.int64)
    rows = reduction(halves[:, :-1], halves[:, 1:])
    return reduction(rows[:, :, :-1], rows[:, :, 1:])


def _three_answers(values: np.ndarray, axis: int, answers: np.ndarray, scratch: np.ndarray) -> None:
    """Write sum, slope and curve on three pixels along an axis, the border repeated.

    Args:
        values: int16 (H, W).
        axis: 0: along the columns; 1: along the rows.
        answers: int16 (3, H, W), to write to.
        scratch: int16 (H, W), to write to.
    """
    first, last = ((slice(None),) * axis + (side,) for side in (slice(1), slice(-1, None)))
    but_first, but_last = ((slice(None),) * axis + (side,) for side in (slice(1, None), slice(-1)))
    near, slope, curve = answers
    before, after = scratch, curve
    before[first], before[but_first] = values[first], values[but_last]
    after[last], after[but_last] = values[last], values[but_first]
    np.subtract(after, before, out=slope)
    np.add(after, before, out=near)
    np.multiply(values, -2, out=curve)
    np.add(curve, near, out=curve)
    np.add(near, values, out=near)


def _sums_of_cells(values: np.ndarray) -> np.ndarray:
    """Return the sum of int16 (H, W), 0 to `_LARGEST_ANSWER`, over each cell and its margin: floats (CELLS, CELLS).

    A library that is quick at it adds them up as floats: whole numbers come out the same in any order.
    """
    height, width = values.shape
    is_exact = values.size * _CELL_SHARE**2 * _LARGEST_ANSWER < 2**24
    number = np.dtype(np.float32 if is_exact else np.float64)
    sums: np.ndarray = _counts_in_cells(height, number) @ values.astype(number) @ _counts_in_cells(width, number).T
    return sums


@cache
def _counts_in_cells(side_px: int, number: np.dtype[np.floating]) -> np.ndarray:
    """Return how often each pixel along a side counts in each cell and its margin: (CELLS, side_px)."""
    blocks = np.zeros((CELLS, DETAIL_MULTIPLE_PX), number)
    for cell in range(CELLS):
        first = cell * _BLOCKS_A_CELL - _MARGIN_BLOCKS
        for block in range(first, first + _BLOCKS_A_CELL + 2 * _MARGIN_BLOCKS):
            blocks[cell, min(max(block, 0), DETAIL_MULTIPLE_PX - 1)] += 1
    return blocks.repeat(side_px // DETAIL_MULTIPLE_PX, axis=1)


def _root(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sqrt(values + 1))
