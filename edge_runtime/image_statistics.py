"""Says how unusual a picture's brightness and texture are, cell by cell, against those of good pictures.

A network that is taught by painted defects answers what resembles them. What differs in another way, such as a crack
that is hardly darker than its ground or a surface of another grain, shows in plain statistics of the picture. They are
described by one Gaussian a cell, which twenty good pictures are enough for. Whole numbers and square roots lead from
pixels to figures, so that every machine computes the same ones.
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

GRID = 4
LEVELS = 3
# Between the covariance of the good pictures and its diagonal: what keeps it invertible when they are few.
SHRINKAGE = 0.1
_LEAST_VARIANCE = 1e-4
_GREY_FIGURES = 2 + 4 * LEVELS
_CHROMA_FIGURES = 2


def image_figures(pixels: np.ndarray) -> np.ndarray:
    """Return what is measured of one picture, in each of `GRID` x `GRID` cells.

    Of the brightness (the sum over channels): its mean; its standard deviation; on the picture and on its halves and
    quarters in size the mean and the largest difference of neighbours along rows and along columns. All but the
    mean as fourth roots, which brings what is a hundred times larger to three times as large. Of a colour picture also
    how far the first and the last channel's means are from the brightness.

    Args:
        pixels: uint8 (H, W, C), both sides multiples of `GRID` times 2 to the power of `LEVELS` - 1.

    Returns:
        float64 (GRID, GRID, F); F is 14 for a grey picture, 16 for a colour picture.
    """
    height, width, channels = pixels.shape
    brightness = pixels.sum(axis=2, dtype=np.int32)
    num_pixels = (height // GRID) * (width // GRID)
    sums = _of_cells(np.add, brightness)
    squares = _of_cells(np.add, np.square(brightness, dtype=np.int64))
    variances = (num_pixels * squares - np.square(sums)) / float(num_pixels * channels) ** 2
    figures = [sums / float(num_pixels * channels), _fourth_root(np.sqrt(variances))]
    level, pixels_each = brightness, 1
    for _ in range(LEVELS):
        for differences in _neighbour_differences(level):
            figures.append(_fourth_root(_of_cells(np.add, differences) / float(num_pixels * channels)))
            figures.append(_fourth_root(_of_cells(np.maximum, differences) / float(pixels_each * channels)))
        level = level[::2] + level[1::2]
        level = level[:, ::2] + level[:, 1::2]
        pixels_each *= 4
    if channels == 3:
        for channel in (0, 2):
            difference = 3 * pixels[:, :, channel].astype(np.int32) - brightness
            figures.append(_of_cells(np.add, difference) / (3.0 * num_pixels))
    return np.stack(figures, axis=-1)


def _of_cells(reduction: np.ufunc, values: np.ndarray) -> np.ndarray:
    """Return sum or maximum of each cell of integers (H, W): int64 (GRID, GRID)."""
    height, width = values.shape
    of_rows = reduction.reduce(values.reshape(GRID, height // GRID, width), axis=1)
    return reduction.reduce(of_rows.reshape(GRID, GRID, width // GRID), axis=2).astype(np.int64)


def _neighbour_differences(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return |differences| along rows and along columns, both of the shape of `values`, 0 at the last place."""
    along_rows, along_columns = np.zeros_like(values), np.zeros_like(values)
    np.subtract(values[:, 1:], values[:, :-1], out=along_rows[:, :-1])
    np.subtract(values[1:], values[:-1], out=along_columns[:-1])
    return np.abs(along_rows, out=along_rows), np.abs(along_columns, out=along_columns)


def _fourth_root(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sqrt(values))


@dataclass(frozen=True)
class ImageStatistics:
    """The figures of good pictures: a Gaussian for each cell.

    Attributes:
        mean: float32 (GRID, GRID, F).
        precision: float32 (GRID, GRID, F, F), the inverse of the covariance.

    Raises:
        MetadataError: Shapes that do not belong together, or numbers that are not finite.
    """

    mean: np.ndarray = field(repr=False)
    precision: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        size = self.mean.shape[-1]
        known = size in (_GREY_FIGURES, _GREY_FIGURES + _CHROMA_FIGURES)
        fits = self.mean.shape == (GRID, GRID, size) and self.precision.shape == (GRID, GRID, size, size)
        if not (known and fits and np.isfinite(self.mean).all() and np.isfinite(self.precision).all()):
            raise MetadataError("The stored image statistics are damaged. Train again.")

    @classmethod
    def of_images(cls, pixels: np.ndarray) -> ImageStatistics:
        """Measure good pictures.

        Args:
            pixels: uint8 (N, H, W, C), N >= 1; see `image_figures`. Read one at a time, so they may lie on a disk.
        """
        figures = np.stack([image_figures(np.asarray(image)) for image in pixels])
        mean = figures.mean(axis=0)
        deviations = (figures - mean).transpose(1, 2, 0, 3)  # (GRID, GRID, N, F)
        covariance = np.matmul(deviations.swapaxes(2, 3), deviations) / len(figures)
        diagonal = np.eye(covariance.shape[-1])
        shrunk = (1 - SHRINKAGE) * covariance + (SHRINKAGE * covariance + _LEAST_VARIANCE) * diagonal
        return cls(mean.astype(np.float32), np.linalg.inv(shrunk).astype(np.float32))

    def unusualness(self, inputs: np.ndarray) -> np.ndarray:
        """Return the squared Mahalanobis distance from the good pictures, mean over cells and figures.

        Args:
            inputs: float32 (B, H, W, C) in [-1, 1], what the model was given.

        Returns:
            float64 (B,), >= 0; on average about 1 for the pictures that were measured, below that for most of them.
        """
        return np.array([self._distance(image_figures(image)) for image in unscale_pixels(inputs)], np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object: both arrays as base64 of little-endian float32 in C order."""
        return {
            "figures": int(self.mean.shape[-1]),
            "mean": _encoded(self.mean),
            "precision": _encoded(self.precision),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ImageStatistics:
        """Return the statistics that `to_dict` described.

        Raises:
            MetadataError: A field is missing, has the wrong type or size.
        """
        fields = StoredFields(data, "image statistics")
        size = fields.integer("figures")
        return cls(
            _decoded(fields.text("mean"), (GRID, GRID, size)),
            _decoded(fields.text("precision"), (GRID, GRID, size, size)),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImageStatistics):
            return NotImplemented
        return np.array_equal(self.mean, other.mean) and np.array_equal(self.precision, other.precision)

    def __hash__(self) -> int:
        return hash((self.mean.tobytes(), self.precision.tobytes()))

    @cached_property
    def _doubles(self) -> tuple[np.ndarray, np.ndarray]:
        return self.mean.astype(np.float64), self.precision.astype(np.float64)

    def _distance(self, figures: np.ndarray) -> float:
        # Products and sums of numpy's own, not of a linear algebra library, whose order of adding up is the machine's.
        mean, precision = self._doubles
        deviation = figures - mean
        weighted = np.add.reduce(precision * deviation[:, :, np.newaxis, :], axis=-1)
        squares = np.add.reduce((weighted * deviation).reshape(-1))
        return max(0.0, float(squares) / deviation.size)


def _encoded(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode("ascii")


def _decoded(text: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32).reshape(shape)
    except (binascii.Error, ValueError) as error:
        raise MetadataError(f"The stored image statistics are damaged ({error}). Train again.") from error
