"""Says how unusual a picture's brightness and texture are, window by window, against those of good pictures.

A network that is taught by painted defects answers what resembles them. What differs in another way, such as a crack
that is hardly darker than its ground or a surface of another grain, shows in plain statistics of the picture: how
strongly it answers to a bank of small filters, on average and at most, in each of 7 x 7 windows. They are described by
two Gaussians a window, one of each bank of filters, which twenty good pictures are enough for. Whole numbers and square
roots lead from pixels to figures, so that every machine computes the same ones.

The Gaussian at each place is that of Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly
Detection and Localization", 2021; the figures are not those of a pretrained network.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from edge_runtime.errors import MetadataError
from edge_runtime.preprocessing import unscale_pixels
from edge_runtime.stored_fields import StoredFields

CELLS = 8
WINDOWS = CELLS - 1
"""Windows along a side: each is two by two of `CELLS` x `CELLS` cells, so neighbours share half of their pixels."""

# Large pictures are looked at in less detail, where their sides allow it with 64 to 127 pixels along the shorter one.
_LEAST_SIDE_PX = 64
# Between the covariance of the good pictures and its diagonal: what keeps it invertible when they are few.
SHRINKAGE = 0.02
# Of any figure, so that a window that never changes, such as white background, is not judged by its last grey level.
_LEAST_VARIANCE = 1e-3
_MEASURED_AT_ONCE = 64
_STEPS_A_GREY_LEVEL = 4
# Brightness counts in these units, all else as fourth roots: of the same order for what surfaces usually show.
_BRIGHTNESS_UNIT = 16.0

# Squared lengths of the discrete Chebyshev polynomials on five and on three points: constant, slope, curve, ...
_SQUARED_LENGTHS = {5: np.array([5.0, 10, 14, 10, 70]), 3: np.array([3.0, 2, 6])}
_NUM_ANSWERS = {taps: 2 * (taps * taps - 1) for taps in _SQUARED_LENGTHS}
_NUM_FIGURES = tuple(num_plain + sum(_NUM_ANSWERS.values()) for num_plain in (2, 4))  # of a grey and a colour picture


def image_figures(pixels: np.ndarray) -> np.ndarray:
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
    reduction = _reduction(pixels.shape[0], pixels.shape[1])
    brightness = _brightness(pixels, reduction)
    num_pixels = (2 * brightness.shape[0] // CELLS) * (2 * brightness.shape[1] // CELLS)
    scale = float(num_pixels * _STEPS_A_GREY_LEVEL)
    sums = _windows(np.add, brightness[np.newaxis])[0]
    squares = _windows(np.add, np.square(brightness, dtype=np.int64)[np.newaxis])[0]
    variances = (num_pixels * squares - np.square(sums)) / scale**2
    figures = [sums / (scale * _BRIGHTNESS_UNIT), _root(np.sqrt(variances))]
    if channels == 3:
        for channel in (0, 2):
            difference = _brightness(pixels[:, :, channel : channel + 1], reduction) - brightness
            figures.append(_windows(np.add, difference[np.newaxis])[0] / (scale * _BRIGHTNESS_UNIT))
    for taps, squared_lengths in _SQUARED_LENGTHS.items():
        answers = _filtered(_filtered(brightness, taps, -1), taps, -2).reshape(-1, *brightness.shape)[1:]
        np.abs(answers, out=answers)
        lengths = np.sqrt(np.outer(squared_lengths, squared_lengths)).reshape(-1, 1, 1)[1:]
        figures.extend(_root(_windows(np.add, answers) / (scale * lengths)))
        figures.extend(_root(_windows(np.maximum, answers) / (_STEPS_A_GREY_LEVEL * lengths)))
    return np.stack(figures, axis=-1)


def _reduction(height: int, width: int) -> int:
    """Return how many pixels along a side are taken as one: a power of two."""
    reduction = 1
    while min(height, width) >= 2 * reduction * _LEAST_SIDE_PX and not (
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


def _windows(reduction: np.ufunc, values: np.ndarray) -> np.ndarray:
    """Return sum or maximum of each window of integers (F, H, W): int64 (F, WINDOWS, WINDOWS)."""
    count, height, width = values.shape
    cells = reduction.reduce(values.reshape(count, CELLS, height // CELLS, width), axis=2)
    cells = reduction.reduce(cells.reshape(count, CELLS, CELLS, width // CELLS), axis=3).astype(np.int64)
    rows = reduction(cells[:, :-1], cells[:, 1:])
    return reduction(rows[:, :, :-1], rows[:, :, 1:])


def _root(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sqrt(values + 1))


def _groups(num_figures: int) -> list[np.ndarray]:
    """Return which of the figures belong together, the plain ones to both banks of filters."""
    num_plain = num_figures - sum(_NUM_ANSWERS.values())
    plain, start, groups = np.arange(num_plain), num_plain, []
    for count in _NUM_ANSWERS.values():
        groups.append(np.concatenate([plain, np.arange(start, start + count)]))
        start += count
    return groups


@dataclass(frozen=True)
class ImageStatistics:
    """What good pictures look like: a Gaussian of the figures of each bank of filters in each window.

    Attributes:
        mean: float32 (WINDOWS, WINDOWS, F), of `image_figures`.
        factors: For each bank float32 (WINDOWS, WINDOWS, G, G), upper triangular: U with U^T U the inverse of the
            covariance of the bank's G figures.

    Raises:
        MetadataError: Shapes that do not belong together, or numbers that are not finite.
    """

    mean: np.ndarray = field(repr=False)
    factors: tuple[np.ndarray, ...] = field(repr=False)

    def __post_init__(self) -> None:
        size = self.mean.shape[-1]
        known = size in _NUM_FIGURES
        expected = [(WINDOWS, WINDOWS, len(group), len(group)) for group in _groups(size)] if known else []
        fits = self.mean.shape == (WINDOWS, WINDOWS, size) and [factor.shape for factor in self.factors] == expected
        if not (known and fits and all(np.isfinite(values).all() for values in (self.mean, *self.factors))):
            raise MetadataError("The stored image statistics are damaged. Train again.")

    @classmethod
    def of_images(cls, pixels: np.ndarray) -> ImageStatistics:
        """Measure good pictures.

        Args:
            pixels: uint8 (N, H, W, C), N >= 1; see `image_figures`. Read a few at a time, so they may lie on a disk.
        """
        origin = image_figures(np.asarray(pixels[0]))
        groups = _groups(origin.shape[-1])
        sums = np.zeros(origin.shape)
        products = [np.zeros((WINDOWS, WINDOWS, len(group), len(group))) for group in groups]
        for start in range(0, len(pixels), _MEASURED_AT_ONCE):
            chunk = [image_figures(np.asarray(image)) - origin for image in pixels[start : start + _MEASURED_AT_ONCE]]
            deviations = np.stack(chunk, axis=2)  # (WINDOWS, WINDOWS, N, F)
            sums += deviations.sum(axis=2)
            for product, group in zip(products, groups, strict=True):
                part = deviations[..., group]
                product += np.matmul(part.swapaxes(2, 3), part)
        shift = sums / len(pixels)
        factors = []
        for product, group in zip(products, groups, strict=True):
            moved = shift[..., group]
            covariance = product / len(pixels) - moved[..., np.newaxis] * moved[..., np.newaxis, :]
            diagonal = np.eye(len(group))
            shrunk = (1 - SHRINKAGE) * covariance + (SHRINKAGE * covariance + _LEAST_VARIANCE) * diagonal
            factors.append(np.linalg.cholesky(np.linalg.inv(shrunk)).swapaxes(2, 3).astype(np.float32))
        mean = origin + shift
        return cls(mean.astype(np.float32), tuple(factors))

    def distances(self, inputs: np.ndarray) -> np.ndarray:
        """Return the squared Mahalanobis distance of each window from the good pictures, mean over all figures.

        Args:
            inputs: float32 (B, H, W, C) in [-1, 1], what the model was given.

        Returns:
            float64 (B, WINDOWS, WINDOWS), >= 0; on average about 1 for the pictures that were measured.
        """
        return np.array([self._distances(image_figures(image)) for image in unscale_pixels(inputs)], np.float64)

    def unusualness(self, inputs: np.ndarray) -> np.ndarray:
        """Return the cube of each window's distance; the largest counts for the image.

        Cubed, because a network's distances spread more than twice as far on a scale of logarithms, and would decide.

        Args:
            inputs: As in `distances`.

        Returns:
            float64 (B, WINDOWS, WINDOWS), >= 0.
        """
        distances = self.distances(inputs)
        return distances * distances * distances  # a power is not the same to the bit on every machine

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object: the arrays, triangles row by row, as base64 of little-endian float32 in C order."""
        factors = {}
        for taps, factor in zip(_SQUARED_LENGTHS, self.factors, strict=True):
            rows, columns = np.triu_indices(factor.shape[-1])
            factors[f"factors_{taps}"] = _encoded(factor[:, :, rows, columns])
        return {"figures": int(self.mean.shape[-1]), "mean": _encoded(self.mean), **factors}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ImageStatistics:
        """Return the statistics that `to_dict` described.

        Raises:
            MetadataError: A field is missing, has the wrong type or size.
        """
        fields = StoredFields(data, "image statistics")
        size = fields.integer("figures")
        if size not in _NUM_FIGURES:  # before memory is asked for by it
            raise MetadataError(f"The stored image statistics are damaged ({size} figures). Train again.")
        factors = []
        for taps, group in zip(_SQUARED_LENGTHS, _groups(size), strict=True):
            factor = np.zeros((WINDOWS, WINDOWS, len(group), len(group)), np.float32)
            rows, columns = np.triu_indices(len(group))
            factor[:, :, rows, columns] = _decoded(fields.text(f"factors_{taps}"), (WINDOWS, WINDOWS, len(rows)))
            factors.append(factor)
        return cls(_decoded(fields.text("mean"), (WINDOWS, WINDOWS, size)), tuple(factors))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImageStatistics):
            return NotImplemented
        mine, others = (self.mean, *self.factors), (other.mean, *other.factors)
        return all(np.array_equal(one, another) for one, another in zip(mine, others, strict=True))

    def __hash__(self) -> int:
        return hash((self.mean.tobytes(), *(factor.tobytes() for factor in self.factors)))

    @cached_property
    def _doubles(self) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        return self.mean.astype(np.float64), tuple(factor.astype(np.float64) for factor in self.factors)

    def _distances(self, figures: np.ndarray) -> np.ndarray:
        # Products and sums of numpy's own, not of a linear algebra library, whose order of adding up is the machine's.
        mean, factors = self._doubles
        deviation = figures - mean
        squares, count = np.zeros((WINDOWS, WINDOWS)), 0
        for factor, group in zip(factors, _groups(figures.shape[-1]), strict=True):
            whitened = np.add.reduce(factor * deviation[:, :, np.newaxis, group], axis=-1)
            squares += np.add.reduce(np.square(whitened), axis=-1)
            count += len(group)
        return squares / count


def _encoded(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode("ascii")


def _decoded(text: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32).reshape(shape)
    except (binascii.Error, ValueError) as error:
        raise MetadataError(f"The stored image statistics are damaged ({error}). Train again.") from error
