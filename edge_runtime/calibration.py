"""Chooses the threshold and the score range from good images, and puts raw scores into that range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from edge_runtime.errors import CalibrationError, MetadataError
from edge_runtime.stored_fields import StoredFields

NUM_SCORE_QUANTILES = 101
DEFAULT_FALSE_ALARM_RATE = 0.01


class MapRange(NamedTuple):
    """The usual values of an anomaly map on good images: in calm places, and at the highest places."""

    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """What is known about a model's scores on good images.

    Attributes:
        threshold: A raw score above it is an anomaly (the paper's phi).
        score_min: Lowest raw score of the good images.
        score_max: Highest raw score of the good images.
        method: How the threshold was chosen: "quantile" of good images, or "manual".
        false_alarm_rate: The share of good images that the threshold was asked to let through as anomalies, 0
            .. 1.
        num_images: How many good images were scored.
        score_quantiles: The 0, 1, .. 100 % quantiles of their raw scores. A device compares what it sees with
            them.
        map_low: Value of the anomaly map in calm places of good images.
        map_high: Value of the anomaly map at the highest place of a usual good image. Heatmaps are
            coloured relative to it.

    Raises:
        MetadataError: A value is impossible, such as a minimum above the maximum.
    """

    threshold: float
    score_min: float
    score_max: float
    method: str
    false_alarm_rate: float
    num_images: int
    score_quantiles: tuple[float, ...]
    map_low: float
    map_high: float

    def __post_init__(self) -> None:
        limits = (self.threshold, self.score_min, self.score_max, self.map_low, self.map_high)
        numbers = (*limits, *self.score_quantiles)
        if not all(math.isfinite(number) for number in numbers):
            raise MetadataError("The stored calibration has a number that is not finite. Calibrate again.")
        if self.score_min > self.score_max or self.map_low > self.map_high:
            raise MetadataError("The stored calibration has a minimum above its maximum. Calibrate again.")
        is_rising = list(self.score_quantiles) == sorted(self.score_quantiles)
        if len(self.score_quantiles) != NUM_SCORE_QUANTILES or not is_rising:
            raise MetadataError(
                f"The stored calibration has {len(self.score_quantiles)} score quantiles; "
                f"{NUM_SCORE_QUANTILES} in rising order were expected. Calibrate again."
            )
        if not 0 <= self.false_alarm_rate <= 1 or self.num_images < 0:
            raise MetadataError("The stored calibration has an impossible rate or number of images. Calibrate again.")

    @property
    def note(self) -> str:
        """What to tell the user when there were too few good images for the rate asked for, else empty."""
        needed = _images_needed(self.false_alarm_rate) if self.method == "quantile" else 0
        if self.num_images >= needed:
            return ""
        return (
            f"{self.num_images} good images are too few for a false alarm rate of {self.false_alarm_rate:.2%}, "
            f"which needs at least {needed}: the threshold is the highest score among them, and up to "
            f"{1 / (self.num_images + 1):.1%} of further good images may exceed it."
        )

    def normalise(self, raw: float | np.ndarray) -> Any:
        """Put raw scores into [0, 1], where 0.5 is the most unusual good image that was seen.

        With r = max - min over the good images: 0.5 * (s - min) / r up to the maximum (0 below the minimum),
        and 1 - 0.5 * r / (r + s - max) above it. Both meet at 0.5 with the slope 0.5 / r, and a higher raw
        score never gets a lower value.

        Args:
            raw: A raw score, or an array of them of any shape.

        Returns:
            A float for a number, a float64 array of the same shape for an array.
        """
        smallest_range = max(abs(self.score_max) * 1e-9, 1e-12)  # all good scores equal: any other is far away
        score_range = max(self.score_max - self.score_min, smallest_range)
        if isinstance(raw, float):  # the same in plain Python, without numpy's cost for a single number
            above = raw - self.score_max
            if above <= 0:
                return min(max(0.5 * (1 + above / score_range), 0.0), 0.5)
            return 1 - 0.5 * score_range / (score_range + above)
        scores = np.asarray(raw, np.float64)
        excess = scores - self.score_max
        usual = np.clip(0.5 * (1 + excess / score_range), 0, 0.5)
        unusual = 1 - 0.5 * score_range / (score_range + np.maximum(excess, 0))
        normalised = np.where(excess <= 0, usual, unusual)
        return float(normalised) if normalised.ndim == 0 else normalised

    def with_threshold(self, threshold: float) -> Calibration:
        """Return the same calibration with a threshold that a person chose."""
        return replace(self, threshold=float(threshold), method="manual")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "threshold": self.threshold,
            "score_min": self.score_min,
            "score_max": self.score_max,
            "method": self.method,
            "false_alarm_rate": self.false_alarm_rate,
            "num_images": self.num_images,
            "score_quantiles": list(self.score_quantiles),
            "map_low": self.map_low,
            "map_high": self.map_high,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Return the calibration that `to_dict` described.

        Raises:
            MetadataError: A field is missing, has the wrong type or an impossible value.
        """
        fields = StoredFields(data, "calibration")
        return cls(
            threshold=fields.number("threshold"),
            score_min=fields.number("score_min"),
            score_max=fields.number("score_max"),
            method=fields.text("method"),
            false_alarm_rate=fields.number("false_alarm_rate"),
            num_images=fields.integer("num_images"),
            score_quantiles=fields.numbers("score_quantiles"),
            map_low=fields.number("map_low"),
            map_high=fields.number("map_high"),
        )


def calibrate(
    scores: np.ndarray,
    maps: np.ndarray | MapRange,
    false_alarm_rate: float = DEFAULT_FALSE_ALARM_RATE,
) -> Calibration:
    """Choose the threshold so that a further good image exceeds it at most at the rate asked for.

    Of n good scores in rising order the threshold is number ceil((n + 1) * (1 - rate)), or the highest where
    there are fewer than 1 / rate - 1 of them (then `Calibration.note` says so). This is the conformal
    quantile: it holds on average for any distribution of scores, where the plain quantile of a small sample
    is too low.

    Args:
        scores: (N,) raw scores of good images that the model was not trained on, all finite, N >= 2.
        maps: (N, H, W) anomaly maps of good images, or their range as `measure_map_range` gives it.
        false_alarm_rate: Share of good images that may be called anomalies, above 0 and below 1.

    Returns:
        The calibration, its method being "quantile".

    Raises:
        CalibrationError: Fewer than two scores, a score that is not finite, or an impossible rate.
    """
    check_false_alarm_rate(false_alarm_rate)
    rising = np.sort(np.asarray(scores, np.float64).reshape(-1))
    if len(rising) < 2:
        raise CalibrationError(
            f"{len(rising)} good image(s) cannot set a threshold; at least 2 are needed, better 100."
        )
    if not np.isfinite(rising).all():
        raise CalibrationError(
            f"{np.count_nonzero(~np.isfinite(rising))} of {len(rising)} scores are not finite numbers. "
            "The model is broken: train or export it again."
        )
    low, high = maps if isinstance(maps, MapRange) else measure_map_range(maps)
    rank = min(len(rising), math.ceil(round((len(rising) + 1) * (1 - false_alarm_rate), 9)))
    return Calibration(
        threshold=float(rising[rank - 1]),
        score_min=float(rising[0]),
        score_max=float(rising[-1]),
        method="quantile",
        false_alarm_rate=float(false_alarm_rate),
        num_images=len(rising),
        score_quantiles=tuple(np.quantile(rising, np.linspace(0, 1, NUM_SCORE_QUANTILES)).tolist()),
        map_low=float(low),
        map_high=float(high),
    )


def measure_map_range(maps: Iterable[np.ndarray]) -> MapRange:
    """Return the usual values of anomaly maps of good images, looking at one map at a time.

    Args:
        maps: Anomaly maps (H, W), or an array (N, H, W). At least one.

    Returns:
        The range as `map_range_of_extents` makes it.

    Raises:
        CalibrationError: No map, or a value that is not finite.
    """
    return map_range_of_extents([map_extent(anomaly_map) for anomaly_map in maps])


def map_extent(anomaly_map: np.ndarray) -> tuple[float, float]:
    """Return median and maximum of an anomaly map (H, W): what is kept of it for the range."""
    return float(np.median(anomaly_map)), float(np.max(anomaly_map))


def map_range_of_extents(extents: Sequence[tuple[float, float]]) -> MapRange:
    """Return the range of the anomaly maps of good images from their extents.

    Args:
        extents: (median, maximum) of each map, at least one.

    Returns:
        low: the median over images of the medians. high: the median over images of the maxima, which one dirty
        image among the good ones does not move; half of the good images stay below it everywhere.

    Raises:
        CalibrationError: No map, or a value that is not finite.
    """
    statistics = np.array(extents, np.float64).reshape(-1, 2)
    if len(statistics) == 0 or not np.isfinite(statistics).all():
        raise CalibrationError(
            "The anomaly maps of the good images are missing or not finite. Train or export the model again."
        )
    low = float(np.median(statistics[:, 0]))
    return MapRange(low=low, high=max(low, float(np.median(statistics[:, 1]))))


def check_false_alarm_rate(false_alarm_rate: float) -> None:
    """Refuse a rate that is not a share.

    Raises:
        CalibrationError: The rate is not above 0 and below 1.
    """
    if not 0 < false_alarm_rate < 1:
        raise CalibrationError(
            f"The false alarm rate is {false_alarm_rate}; a share above 0 and below 1 was expected, such as 0.01."
        )


def _images_needed(false_alarm_rate: float) -> int:
    return math.ceil(round(1 / false_alarm_rate, 9)) - 1 if false_alarm_rate > 0 else 0
