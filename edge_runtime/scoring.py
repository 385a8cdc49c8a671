"""Computes scores and anomaly maps from a model's outputs.

Training, the parity report and devices use this same code. Words against letters: the paper's z is the latent
vector, x-hat the reconstruction, z-hat the reconstructed latent vector. A higher score is more anomalous.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_runtime.errors import MetadataError
from edge_runtime.image_statistics import ImageStatistics
from edge_runtime.stored_fields import StoredFields


@dataclass(frozen=True)
class ModelOutputs:
    """What a model gives for a batch of images.

    Attributes:
        latent: float32 (B, h, w, nz), the latent vectors of the images, one for each window; h = w = 1 in the
            paper.
        reconstructed_latent: float32 (B, h, w, nz), the latent vectors of the reconstructions.
        reconstruction: float32 (B, H, W, C) in [-1, 1], or None where the model does not give it.
        feature_distance: float32 (B,), mean((f(x) - f(x_hat))^2) of the discriminator's feature f, or None where there
            is no discriminator, as in an artefact.
    """

    latent: np.ndarray
    reconstructed_latent: np.ndarray
    reconstruction: np.ndarray | None = None
    feature_distance: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.latent.ndim != 4 or self.latent.shape != self.reconstructed_latent.shape:
            raise ValueError(
                f"The latent has shape {self.latent.shape} and the reconstructed latent "
                f"{self.reconstructed_latent.shape}; the same (B, h, w, nz) was expected of both."
            )

    @classmethod
    def concatenate(cls, parts: list[ModelOutputs]) -> ModelOutputs:
        """Return the outputs of several batches as those of one.

        Args:
            parts: At least one; all with a reconstruction, or all without; the same of the feature distance.
        """
        reconstructions = [part.reconstruction for part in parts if part.reconstruction is not None]
        distances = [part.feature_distance for part in parts if part.feature_distance is not None]
        return cls(
            latent=np.concatenate([part.latent for part in parts]),
            reconstructed_latent=np.concatenate([part.reconstructed_latent for part in parts]),
            reconstruction=np.concatenate(reconstructions) if reconstructions else None,
            feature_distance=np.concatenate(distances) if distances else None,
        )


TOP_SHARE = 0.01
LEAST_DIFFICULTY = 1 / 255
"""Half a grey level: no image counts as reconstructed better than that."""


def _largest(windows: np.ndarray) -> np.ndarray:
    return windows.reshape(len(windows), -1).max(axis=1)


def top_mean(distances: np.ndarray) -> np.ndarray:
    """Return the mean of the largest hundredth of the windows' distances, at least of one: (B, h, w) to (B,)."""
    flat = distances.reshape(len(distances), -1)
    count = max(1, round(flat.shape[1] * TOP_SHARE))
    return np.sort(flat, axis=1)[:, -count:].mean(axis=1)


POOLINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda distances: distances.reshape(len(distances), -1).mean(axis=1),
    "max": _largest,
    "top": top_mean,
}
"""How the distances of the windows, (B, h, w), become one number an image, (B,)."""

MAP_SOURCES = ("reconstruction", "latent")


def _latent_l2(inputs: np.ndarray, outputs: ModelOutputs, pooling: str) -> np.ndarray:
    return POOLINGS[pooling](latent_distances(outputs))


def _latent_l1(inputs: np.ndarray, outputs: ModelOutputs, pooling: str) -> np.ndarray:
    return POOLINGS[pooling](np.abs(_latent_residual(outputs)).mean(axis=-1))


def _reconstruction_l1(inputs: np.ndarray, outputs: ModelOutputs, pooling: str) -> np.ndarray:
    residual = np.abs(_doubles(inputs) - _doubles(_reconstruction(outputs)))
    return residual.reshape(len(residual), -1).mean(axis=1)


def _relative_latent_l2(inputs: np.ndarray, outputs: ModelOutputs, pooling: str) -> np.ndarray:
    return _latent_l2(inputs, outputs, pooling) / np.sqrt(_difficulty(inputs, outputs))


def _difficulty(inputs: np.ndarray, outputs: ModelOutputs) -> np.ndarray:
    """How hard each image was to reconstruct, the mean over pixels and channels of |x - x_hat|: float64 (B,), > 0."""
    return np.maximum(_reconstruction_l1(inputs, outputs, "mean"), LEAST_DIFFICULTY)


def _feature_l2(inputs: np.ndarray, outputs: ModelOutputs, pooling: str) -> np.ndarray:
    if outputs.feature_distance is None:
        raise ValueError("The score rule needs the discriminator, which this model does not have.")
    return _doubles(outputs.feature_distance)


COMPONENTS: dict[str, Callable[[np.ndarray, ModelOutputs, str], np.ndarray]] = {
    "latent_l2": _latent_l2,
    "latent_l1": _latent_l1,
    "reconstruction_l1": _reconstruction_l1,
    "relative_latent_l2": _relative_latent_l2,
    "feature_l2": _feature_l2,
}
"""The parts that a score can be made of, by name.

- latent_l2: mean over nz of (z - z_hat)^2, pooled over the windows. The authors' code.
- latent_l1: mean over nz of |z - z_hat|, pooled over the windows. The paper's text.
- reconstruction_l1: mean over all pixels and channels of |x - x_hat|; pooling does not apply.
- relative_latent_l2: latent_l2 over the square root of reconstruction_l1, ours: a distance counts the more
  the easier the image was to reconstruct. The idea is that of likelihoods corrected by an image's complexity in Serra
  et al., "Input Complexity and Out-of-distribution Detection with Likelihood-based Generative Models", 2020.
- feature_l2: mean over the discriminator's feature of (f(x) - f(x_hat))^2; pooling does not apply. Only where there is
  a discriminator: in a run, not in an artefact.
"""

_OF_RECONSTRUCTIONS = frozenset({"reconstruction_l1", "relative_latent_l2"})

WEIGHTED_SUM: Mapping[str, float] = {"latent_l2": 1.0, "reconstruction_l1": 50.0, "feature_l2": 1.0}
"""The sum that is shown beside the single components: their weights in the paper's generator loss."""

STATISTICS_NAME = "image_statistics"
"""What `ScoreRule.statistics` gives is called so beside the components."""


@dataclass(frozen=True)
class ScoreRule:
    """How the score and the anomaly map are made from a model's outputs.

    Attributes:
        components: Weight by name of a component (see `COMPONENTS`); the score is the weighted sum ...
        statistics: ... or the geometric mean of that and of how unusual the image is against these statistics of good
            images.
        pooling: "mean", "max" or "top" (mean of the largest hundredth) of the windows' distances.
        map_source: "reconstruction" (difference of the pixels) or "latent" (distance of the windows).

    Raises:
        MetadataError: An unknown name, or weights that make no score.
    """

    components: Mapping[str, float] = field(default_factory=lambda: {"latent_l2": 1.0})
    pooling: str = "mean"
    map_source: str = "reconstruction"
    statistics: ImageStatistics | None = None

    def __post_init__(self) -> None:
        for name in self.components:
            if name not in COMPONENTS:
                raise MetadataError(f"The score component '{name}' is unknown; known are {', '.join(COMPONENTS)}.")
        weights = list(self.components.values())
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
            raise MetadataError(f"The score's weights are {weights}; numbers >= 0, one of them above 0, were expected.")
        if self.pooling not in POOLINGS:
            raise MetadataError(f"The pooling is '{self.pooling}'; one of {', '.join(POOLINGS)} was expected.")
        if self.map_source not in MAP_SOURCES:
            raise MetadataError(f"The map source is '{self.map_source}'; one of {', '.join(MAP_SOURCES)} was expected.")

    @property
    def formula(self) -> str:
        """The score in words, such as "latent_l2", "√(latent_l2 × image_statistics)" or "weighted_sum"."""
        terms = [(name, weight) for name, weight in self.components.items() if weight]
        text = " + ".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in terms)
        if dict(self.components) == WEIGHTED_SUM:
            text = "weighted_sum"
        if self.statistics is None:
            return text
        return f"√(({text}) × {STATISTICS_NAME})" if " + " in text else f"√({text} × {STATISTICS_NAME})"

    @property
    def needs_discriminator(self) -> bool:
        """Whether the score is made from the discriminator's feature."""
        return bool(self.components.get("feature_l2"))

    @property
    def needs_reconstruction(self) -> bool:
        """Whether the score or the map is made from the reconstruction."""
        return self.map_source == "reconstruction" or any(map(self.components.get, _OF_RECONSTRUCTIONS))

    @property
    def is_map_relative(self) -> bool:
        """Whether the map is, as the score is, by how hard the image was to reconstruct."""
        return self.map_source == "latent" and bool(self.components.get("relative_latent_l2"))

    @property
    def needs_textures(self) -> bool:
        """Whether the map is made from the images' texture too; the score never is."""
        return self.statistics is not None and self.map_source == "latent"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "components": dict(self.components),
            "pooling": self.pooling,
            "map_source": self.map_source,
            "statistics": None if self.statistics is None else self.statistics.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ScoreRule:
        """Return the rule that `to_dict` described.

        Raises:
            MetadataError: A field is missing, has the wrong type or an unknown value.
        """
        fields = StoredFields(data, "score rule")
        components = fields.mapping("components")
        weights = StoredFields(components, "score rule's components")
        has_statistics = "statistics" in fields and not fields.is_null("statistics")
        return cls(
            components={name: weights.number(name) for name in components},
            pooling=fields.text("pooling"),
            map_source=fields.text("map_source"),
            statistics=ImageStatistics.from_dict(fields.mapping("statistics")) if has_statistics else None,
        )


def latent_distances(outputs: ModelOutputs) -> np.ndarray:
    """Return d = mean over nz of (z - z_hat)^2 for each window: float64 (B, h, w), >= 0."""
    return np.square(_latent_residual(outputs)).mean(axis=-1)


def window_distances(rule: ScoreRule, inputs: np.ndarray) -> np.ndarray | None:
    """Return what score, components and map all need of a rule's statistics, for who wants more than one of them.

    Args:
        rule: See `anomaly_scores`.
        inputs: float32 (B, H, W, C) in [-1, 1], what the model was given.

    Returns:
        `ImageStatistics.window_distances`, or None where the rule has no statistics.
    """
    return None if rule.statistics is None else rule.statistics.window_distances(inputs)


def score_components(
    rule: ScoreRule, inputs: np.ndarray, outputs: ModelOutputs, windows: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return every component of `COMPONENTS` that the outputs allow, for scores side by side.

    Args:
        rule: Its pooling is used, and its statistics where it has any.
        inputs: float32 (B, H, W, C) in [-1, 1], what the model was given.
        outputs: What it gave.
        windows: `window_distances` of these inputs, where they are known already.

    Returns:
        float32 (B,) by name. What needs a reconstruction or a discriminator is left out when there is none. Where there
        is everything that `WEIGHTED_SUM` needs, also "weighted_sum"; where the rule has statistics, also
        `STATISTICS_NAME`.
    """
    missing = {"feature_l2"} if outputs.feature_distance is None else set()
    if outputs.reconstruction is None:
        missing |= _OF_RECONSTRUCTIONS
    values = {
        name: component(inputs, outputs, rule.pooling) for name, component in COMPONENTS.items() if name not in missing
    }
    if values.keys() >= WEIGHTED_SUM.keys():
        values["weighted_sum"] = np.sum([weight * values[name] for name, weight in WEIGHTED_SUM.items()], axis=0)
    if rule.statistics is not None:
        values[STATISTICS_NAME] = _statistics_factors(rule.statistics, inputs, windows)
    return {name: value.astype(np.float32) for name, value in values.items()}


def anomaly_scores(
    rule: ScoreRule, inputs: np.ndarray, outputs: ModelOutputs, windows: np.ndarray | None = None
) -> np.ndarray:
    """Return the raw score of each image.

    An image's score does not depend on the other images of its batch, to the last bit: sums run in float64
    over one image at a time.

    Args:
        rule: Which components, with which weights, and which statistics.
        inputs: float32 (B, H, W, C) in [-1, 1], what the model was given.
        outputs: What it gave.
        windows: `window_distances` of these inputs, where they are known already.

    Returns:
        float32 (B,), >= 0, higher is more anomalous.

    Raises:
        ValueError: The rule needs a reconstruction and the outputs have none.
    """
    total: np.ndarray = np.zeros(len(outputs.latent), np.float64)
    for name, weight in rule.components.items():
        if weight:
            total += weight * COMPONENTS[name](inputs, outputs, rule.pooling)
    if rule.statistics is not None:
        total = np.sqrt(total * _statistics_factors(rule.statistics, inputs, windows))
    return total.astype(np.float32)


def anomaly_maps(
    rule: ScoreRule,
    inputs: np.ndarray,
    outputs: ModelOutputs,
    textures: np.ndarray | None = None,
    windows: np.ndarray | None = None,
) -> np.ndarray:
    """Return where each image is anomalous.

    "reconstruction": mean over channels of |x - x_hat|, smoothed by a binomial filter of 5 x 5 pixels, which
    takes away single noisy pixels and leaves a scratch of two. "latent": the windows' distances, interpolated
    between the windows' centres; where the rule has statistics, the geometric mean of that and of the product of their
    factors of windows and of cells, interpolated alike. Where the score is "relative_latent_l2", such a map is divided
    by the mean over the image of |x - x_hat|: what is rough everywhere deviates more everywhere.

    Args:
        rule: Where the map comes from.
        inputs: float32 (B, H, W, C) in [-1, 1], what the model was given.
        outputs: What it gave.
        textures: `image_figures.cell_figures` of each image; not looked at unless `ScoreRule.needs_textures`.
        windows: `window_distances` of these inputs, where they are known already.

    Returns:
        float32 (B, H, W), >= 0, in the model's input pixels.

    Raises:
        ValueError: The rule needs the reconstruction, which the outputs do not have, or the textures.
    """
    if rule.map_source == "reconstruction":
        return _smooth(np.abs(inputs - _reconstruction(outputs)).mean(axis=-1, dtype=np.float32))
    height, width = inputs.shape[1:3]
    maps = _upsample_windows(latent_distances(outputs), height, width)
    if rule.statistics is not None:
        if textures is None:
            raise ValueError("The map needs the images' textures, which were not given.")
        known = rule.statistics.window_distances(inputs) if windows is None else windows
        of_windows, of_cells = rule.statistics.map_factors(known, rule.statistics.cell_distances(textures))
        of_windows = _upsample_windows(of_windows, height, width, overlap=0.5)
        maps = np.sqrt(maps * of_windows * _upsample_windows(of_cells, height, width))
    if rule.is_map_relative:
        maps /= _difficulty(inputs, outputs)[:, np.newaxis, np.newaxis]
    return maps.astype(np.float32)


def _statistics_factors(statistics: ImageStatistics, inputs: np.ndarray, windows: np.ndarray | None) -> np.ndarray:
    return statistics.score_factors(statistics.window_distances(inputs) if windows is None else windows)


def _doubles(array: np.ndarray) -> np.ndarray:
    # Contiguous float64 before any reduction: numpy then adds up each image in the same order in any batch.
    return np.ascontiguousarray(array, np.float64)


def _latent_residual(outputs: ModelOutputs) -> np.ndarray:
    return _doubles(outputs.latent) - _doubles(outputs.reconstructed_latent)


def _reconstruction(outputs: ModelOutputs) -> np.ndarray:
    if outputs.reconstruction is None:
        raise ValueError("The score rule needs the reconstruction, which this model does not give.")
    return outputs.reconstruction


def _smooth(maps: np.ndarray) -> np.ndarray:
    """Return float32 (B, H, W) filtered by [1 4 6 4 1] / 16 along both axes, the border repeated."""
    for _ in range(2):  # along the rows, then, the axes swapped, along the columns
        size = maps.shape[1]
        padded = maps[:, np.clip(np.arange(-2, size + 2), 0, size - 1)]
        outer = padded[:, :size] + padded[:, 4:]
        inner = padded[:, 1 : size + 1] + padded[:, 3 : size + 3]
        smooth = (outer + np.float32(4) * inner + np.float32(6) * maps) / np.float32(16)
        maps = smooth.swapaxes(1, 2)
    return np.ascontiguousarray(maps)


def _upsample_windows(distances: np.ndarray, height: int, width: int, overlap: float = 0.0) -> np.ndarray:
    """Return float64 (B, h, w) distances of windows as float64 (B, height, width) per pixel.

    The windows together cover the image; neighbours share `overlap` of their pixels.
    """
    rows = _interpolation_weights(distances.shape[1], height, overlap)
    columns = _interpolation_weights(distances.shape[2], width, overlap)
    return np.matmul(np.matmul(rows, distances), columns.T)


def _interpolation_weights(windows: int, size_px: int, overlap: float) -> np.ndarray:
    """Return (size_px, windows) weights that interpolate linearly between the windows' centres."""
    window_px = size_px / (windows - (windows - 1) * overlap)
    stride_px = window_px * (1 - overlap)
    pixels_px = np.arange(size_px) + 0.5
    position = np.clip((pixels_px - window_px / 2) / stride_px, 0, windows - 1)
    return np.clip(1 - np.abs(position[:, np.newaxis] - np.arange(windows)), 0, None)
