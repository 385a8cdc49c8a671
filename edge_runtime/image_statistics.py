"""Says how unusual a picture's brightness and texture are, place by place, against those of good pictures.

A network that is taught by painted defects answers what resembles them. What differs in another way, such as a crack
that is hardly darker than its ground or a surface of another grain, shows in plain statistics of the picture: how
strongly its places answer to small filters (`edge_runtime.image_figures`). Good parts differ from each other too, but
mostly everywhere at once: in light, in focus, in the grain of their material. So what all places of a picture have in
common is taken away first, and what is left at each place is held against a Gaussian. Twenty good pictures are enough
for it.

The Gaussian at each place is that of Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly
Detection and Localization", 2021; what places have in common are the first principal components over all of them, as
in Turk and Pentland, "Eigenfaces for Recognition", 1991. The figures are not those of a pretrained network.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from edge_runtime.errors import MetadataError
from edge_runtime.image_figures import (
    CELL_FIGURES,
    CELLS,
    WINDOW_FIGURES,
    WINDOWS,
    window_figures,
    window_groups,
)
from edge_runtime.preprocessing import unscale_pixels
from edge_runtime.stored_fields import StoredFields

POWERS = (1, 2, 4)
"""How much the distances can count beside a network's."""
USUAL_POWER = 4
MOST_PICTURES = 2000
"""Of more good pictures so many are measured, evenly spread, which bounds time and memory."""
MOST_MODES = 10
PICTURES_A_MODE = 20
"""What places have in common is described by one number for every so many good pictures, at most by `MOST_MODES`."""
RIDGE = 0.03
"""Share of each figure's own variance that is added to that of its remainder: keeps few pictures' Gaussians wide."""
CELL_RIDGE = 0.01
"""The same for the cells, whose figures are few."""
# Of any figure, so that a place that never changes, such as white background, is not judged by its last grey level.
LEAST_VARIANCE = 1e-3
# Below this share of the whole variance a mode is rounding.
_LEAST_MODE_SHARE = 1e-9

Groups = Sequence[np.ndarray]
"""Which figures are held against one Gaussian, by their numbers; a figure may be in several groups."""


@dataclass(frozen=True)
class PlaceStatistics:
    """What good pictures look like on one grid of places.

    A figure is its mean, plus what all places have in common, plus a remainder of the place's own. All arrays are
    rounded before anything is computed from them, so a run and a file made from it give the same distances.

    Attributes:
        groups: G groups of figures.
        mean: float32 (h, w, F), of the good pictures' figures.
        spread: float16 (h, w, F), their standard deviations, above 0.
        modes: float16 (K, h, w, F), the principal components of the deviations in units of `spread`.
        factors: For each group of g figures float16 (h, w, g, g), upper triangular: U with U^T U the inverse of the
            covariance of the remainders.

    Raises:
        MetadataError: Shapes that do not belong together, or numbers that are not finite.
    """

    groups: Groups = field(repr=False)
    mean: np.ndarray = field(repr=False)
    spread: np.ndarray = field(repr=False)
    modes: np.ndarray = field(repr=False)
    factors: tuple[np.ndarray, ...] = field(repr=False)

    def __post_init__(self) -> None:
        places = self.mean.shape[:2]
        fits = self.spread.shape == self.mean.shape and self.modes.shape[1:] == self.mean.shape
        fits &= [factor.shape for factor in self.factors] == [(*places, len(one), len(one)) for one in self.groups]
        if not (fits and all(np.isfinite(values).all() for values in self._arrays) and (self.spread > 0).all()):
            raise _damaged()

    @classmethod
    def of_figures(cls, figures: np.ndarray, groups: Groups, ridge: float = RIDGE) -> PlaceStatistics:
        """Describe good pictures.

        Args:
            figures: float64 (N, h, w, F), N >= 1.
            groups: Which figures belong together.
            ridge: See `RIDGE`.
        """
        count = len(figures)
        mean = figures.mean(axis=0).astype(np.float32)
        spread = np.sqrt(figures.var(axis=0) + LEAST_VARIANCE).astype(np.float16)
        deviations = ((figures - mean) / spread).reshape(count, -1)
        modes = _principal_components(deviations, min(MOST_MODES, count // PICTURES_A_MODE)).astype(np.float16)
        flat_modes = modes.astype(np.float64)
        deviations -= (deviations @ flat_modes.T) @ flat_modes
        remainders = np.moveaxis(deviations.reshape(figures.shape) * spread, 0, 2)  # (h, w, N, F)
        factors = []
        for group in groups:
            part = remainders[..., group]
            part = part - part.mean(axis=2, keepdims=True)
            covariance = np.matmul(part.swapaxes(2, 3), part) / count
            added = ridge * np.square(spread[..., group], dtype=np.float64) + LEAST_VARIANCE
            widened = covariance + added[..., np.newaxis] * np.eye(len(group))
            factors.append(np.linalg.cholesky(np.linalg.inv(widened)).swapaxes(2, 3).astype(np.float16))
        return cls(groups, mean, spread, modes.reshape(-1, *mean.shape), tuple(factors))

    def distances(self, figures: np.ndarray) -> np.ndarray:
        """Return the squared Mahalanobis distance of each place from the good pictures, mean over all figures.

        Args:
            figures: float64 (h, w, F), of one picture.

        Returns:
            float64 (h, w), >= 0; on average about 1 for the pictures that were measured.
        """
        # Products and sums of numpy's own, not of a linear algebra library, whose order of adding up is the machine's.
        mean, spread, modes, factors = self._doubles
        deviations = ((figures - mean) / spread).reshape(-1)
        amounts = np.add.reduce(modes * deviations, axis=-1)
        deviations -= np.add.reduce(modes * amounts[:, np.newaxis], axis=0)
        remainders = deviations.reshape(mean.shape) * spread
        squares, count = np.zeros(mean.shape[:2]), 0
        for factor, group in zip(factors, self.groups, strict=True):
            whitened = np.add.reduce(factor * remainders[:, :, np.newaxis, group], axis=-1)
            squares += np.add.reduce(np.square(whitened), axis=-1)
            count += len(group)
        return squares / count

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object: the arrays, triangles row by row, as base64 of little-endian numbers in C order."""
        factors = {}
        for number, factor in enumerate(self.factors):
            rows, columns = np.triu_indices(factor.shape[-1])
            factors[f"factors_{number}"] = _encoded(factor[:, :, rows, columns])
        arrays = {name: _encoded(getattr(self, name)) for name in ("mean", "spread", "modes")}
        return {"figures": self.mean.shape[-1], "num_modes": len(self.modes), **arrays, **factors}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], side: int, groups: Groups) -> PlaceStatistics:
        """Return the statistics that `to_dict` described.

        Args:
            data: What it returned.
            side: Places along a side.
            groups: The groups that its figures make.

        Raises:
            MetadataError: A field is missing, has the wrong type or size.
        """
        fields = StoredFields(data, "image statistics")
        num_modes, shape = fields.integer("num_modes"), (side, side, fields.integer("figures"))
        if not 0 <= num_modes <= MOST_MODES:
            raise _damaged(f"{num_modes} modes")
        factors = []
        for number, group in enumerate(groups):
            factor = np.zeros((side, side, len(group), len(group)), np.float16)
            rows, columns = np.triu_indices(len(group))
            triangles = _decoded(fields.text(f"factors_{number}"), np.float16, (side, side, len(rows)))
            factor[:, :, rows, columns] = triangles
            factors.append(factor)
        return cls(
            groups,
            _decoded(fields.text("mean"), np.float32, shape),
            _decoded(fields.text("spread"), np.float16, shape),
            _decoded(fields.text("modes"), np.float16, (num_modes, *shape)),
            tuple(factors),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlaceStatistics):
            return NotImplemented
        return all(np.array_equal(one, another) for one, another in zip(self._arrays, other._arrays, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(values.tobytes() for values in self._arrays))

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return (self.mean, self.spread, self.modes, *self.factors)

    @cached_property
    def _doubles(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        mean, spread, modes, *factors = (values.astype(np.float64) for values in self._arrays)
        return mean, spread, modes.reshape(len(modes), mean.size), tuple(factors)


@dataclass(frozen=True)
class ImageStatistics:
    """What good pictures look like.

    Attributes:
        windows: On `WINDOWS` x `WINDOWS` overlapping windows, with all figures: they decide about the picture.
        cells: On `CELLS` x `CELLS` cells of a finer picture, texture alone: they show more exactly where.
        power: One of `POWERS`: to which the distances count.

    Raises:
        MetadataError: Another power.
    """

    windows: PlaceStatistics
    cells: PlaceStatistics
    power: int = USUAL_POWER

    def __post_init__(self) -> None:
        if self.power not in POWERS:
            raise _damaged(f"power {self.power}")

    @classmethod
    def of_images(cls, pixels: np.ndarray, textures: np.ndarray) -> ImageStatistics:
        """Measure good pictures.

        Args:
            pixels: uint8 (N, H, W, C), N >= 1; see `window_figures`. Read one at a time, so they may lie on a disk.
            textures: float32 (N, CELLS, CELLS, `CELL_FIGURES`), `cell_figures` of the same pictures.
        """
        chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), MOST_PICTURES)).round().astype(int)
        of_windows = np.stack([window_figures(np.asarray(pixels[index])) for index in chosen])
        windows = PlaceStatistics.of_figures(of_windows, window_groups(of_windows.shape[-1]))
        of_cells = textures[chosen].astype(np.float64)
        return cls(windows, PlaceStatistics.of_figures(of_cells, _CELL_GROUPS, CELL_RIDGE))

    def window_distances(self, inputs: np.ndarray) -> np.ndarray:
        """Return how far each window is from the good pictures.

        Args:
            inputs: float32 (B, H, W, C) in [-1, 1], what the model was given.

        Returns:
            float64 (B, WINDOWS, WINDOWS), >= 0.
        """
        pictures = unscale_pixels(inputs)
        return np.array([self.windows.distances(window_figures(picture)) for picture in pictures], np.float64)

    def cell_distances(self, textures: np.ndarray) -> np.ndarray:
        """Return how far each cell is from the good pictures.

        Args:
            textures: float32 (B, CELLS, CELLS, `CELL_FIGURES`), `cell_figures` of the pictures.

        Returns:
            float64 (B, CELLS, CELLS), >= 0.
        """
        return np.array([self.cells.distances(texture.astype(np.float64)) for texture in textures], np.float64)

    def score_factors(self, window_distances: np.ndarray) -> np.ndarray:
        """Return what the anomaly score of each picture is multiplied by: its largest window distance to the power.

        A network's distances spread farther on a scale of logarithms, and would decide without it.

        Args:
            window_distances: As the method of that name returns them.

        Returns:
            float64 (B,), >= 0.
        """
        return np.square(self._half_power(window_distances.reshape(len(window_distances), -1).max(axis=1)))

    def map_factors(self, window_distances: np.ndarray, cell_distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what a map is multiplied by at each window and at each cell.

        The windows' distances to half the power, and the cells', which say where, to the power: of these the geometric
        mean over three by three cells, weights 1, 2, 1 along both sides, since one cell's texture is little to go by.

        Args:
            window_distances: As the method of that name returns them.
            cell_distances: As the method of that name returns them.

        Returns:
            float64 of the same shapes, >= 0.
        """
        return self._half_power(window_distances), np.square(self._half_power(_with_neighbours(cell_distances)))

    def _half_power(self, distances: np.ndarray) -> np.ndarray:
        # Squares and roots, since other powers are not the same to the bit on every machine.
        return {1: np.sqrt, 2: np.positive, 4: np.square}[self.power](distances)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {"windows": self.windows.to_dict(), "cells": self.cells.to_dict(), "power": self.power}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ImageStatistics:
        """Return the statistics that `to_dict` described.

        Raises:
            MetadataError: A field is missing, has the wrong type or size.
        """
        fields = StoredFields(data, "image statistics")
        windows, cells = fields.mapping("windows"), fields.mapping("cells")
        sizes = [StoredFields(one, "image statistics").integer("figures") for one in (windows, cells)]
        if sizes[0] not in WINDOW_FIGURES or sizes[1] != CELL_FIGURES:  # before memory is asked for by them
            raise _damaged(f"{sizes[0]} and {sizes[1]} figures")
        return cls(
            PlaceStatistics.from_dict(windows, WINDOWS, window_groups(sizes[0])),
            PlaceStatistics.from_dict(cells, CELLS, _CELL_GROUPS),
            fields.integer("power"),
        )


_CELL_GROUPS: Groups = (np.arange(CELL_FIGURES),)


def _with_neighbours(distances: np.ndarray) -> np.ndarray:
    """Return (B, h, w) as geometric means of each place and its neighbours; the border is repeated."""
    for axis in (1, 2):
        last = distances.shape[axis] - 1
        before, after = (distances.take(np.clip(np.arange(last + 1) + step, 0, last), axis=axis) for step in (-1, 1))
        distances = np.sqrt(distances * np.sqrt(before * after))
    return distances


def _principal_components(deviations: np.ndarray, count: int) -> np.ndarray:
    """Return at most `count` orthonormal rows (K, P) that explain most of (N, P); fewer where there is no more."""
    if not count:
        return np.empty((0, deviations.shape[1]))
    values, vectors = np.linalg.eigh(deviations @ deviations.T)  # rising; N is smaller than P
    real = values[-count:] > _LEAST_MODE_SHARE * max(float(values.sum()), 1.0)
    values, vectors = values[-count:][real], vectors[:, -count:][:, real]
    return (vectors.T @ deviations)[::-1] / np.sqrt(values)[::-1, np.newaxis]


def _encoded(values: np.ndarray) -> str:
    little_endian = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return base64.b64encode(little_endian.tobytes()).decode("ascii")


def _decoded(text: str, dtype: type[np.floating], shape: tuple[int, ...]) -> np.ndarray:
    try:
        stored = np.frombuffer(base64.b64decode(text, validate=True), np.dtype(dtype).newbyteorder("<"))
        return stored.astype(dtype).reshape(shape)
    except (binascii.Error, ValueError) as error:
        raise _damaged(str(error)) from error


def _damaged(reason: str = "") -> MetadataError:
    return MetadataError(f"The stored image statistics are damaged{reason and f' ({reason})'}. Train again.")
