"""Chooses threshold and ranges from the scores of good images, and of defective ones where there are any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from edge_runtime.calibrating.defect_trade import BALANCED_MISS_COST, best_trade
from edge_runtime.calibrating.false_alarm_bound import most_images_above
from edge_runtime.calibration import NUM_SCORE_QUANTILES, Calibration, DefectCounts, num_above_quantile
from edge_runtime.errors import CalibrationError

DEFAULT_FALSE_ALARM_RATE = 0.01


class MapRange(NamedTuple):
    """The usual values of an anomaly map on good images.

    Attributes:
        low: In calm places.
        high: At the highest place of a usual good image.
        threshold: What the highest place of a good image exceeds only at the false alarm rate.
    """

    low: float
    high: float
    threshold: float


def calibrate(
    scores: np.ndarray,
    maps: np.ndarray | MapRange,
    false_alarm_rate: float = DEFAULT_FALSE_ALARM_RATE,
    confidence: float | None = None,
) -> Calibration:
    """Choose the threshold so that a further good image exceeds it at most at the rate asked for.

    Args:
        scores: (N,) raw scores of good images that the model was not trained on, all finite, N >= 2.
        maps: (N, H, W) anomaly maps of good images, or their range as `measure_map_range` gives it.
        false_alarm_rate: Share of good images that may be called anomalies, above 0 and below 1.
        confidence: None: the rate is kept on average, by the conformal quantile (`num_above_quantile`). A share above
            0 and below 1: it is kept with this confidence, by a higher threshold. With too few images for either
            it is the highest score, and `Calibration.note` says so.

    Returns:
        The calibration, its method being "quantile".

    Raises:
        CalibrationError: Fewer than two scores, a score that is not finite, or an impossible rate or confidence.
    """
    check_false_alarm_rate(false_alarm_rate)
    rising = _rising(scores)
    if confidence is None:
        num_above = num_above_quantile(len(rising), false_alarm_rate)
    else:
        check_confidence(confidence)
        num_above = most_images_above(len(rising), false_alarm_rate, confidence) or 0
    threshold = float(rising[len(rising) - num_above - 1])
    map_range = maps if isinstance(maps, MapRange) else measure_map_range(maps, false_alarm_rate)
    return Calibration(
        threshold=threshold,
        score_min=float(rising[0]),
        score_max=float(rising[-1]),
        method="quantile",
        false_alarm_rate=float(false_alarm_rate),
        num_images=len(rising),
        score_quantiles=tuple(np.quantile(rising, np.linspace(0, 1, NUM_SCORE_QUANTILES)).tolist()),
        map_low=float(map_range.low),
        map_high=float(map_range.high),
        map_threshold=float(map_range.threshold),
        num_above=int(np.count_nonzero(rising > threshold)),
        confidence=confidence,
    )


def calibrate_with_defects(
    scores: np.ndarray,
    defect_scores: np.ndarray,
    maps: np.ndarray | MapRange,
    false_alarm_rate: float = DEFAULT_FALSE_ALARM_RATE,
    miss_cost: float = BALANCED_MISS_COST,
) -> Calibration:
    """Choose the threshold with the best trade between missed defects and false alarms; see `best_trade`.

    Args:
        scores: (N,) as `calibrate`.
        defect_scores: (M,) raw scores of defective images, all finite, M >= 1.
        maps: As `calibrate`.
        false_alarm_rate: Kept for the next calibration; the outlines on heatmaps go by it.
        miss_cost: What a share of missed defects costs, measured in the same share of false alarms.

    Returns:
        The calibration, its method being "defects".

    Raises:
        CalibrationError: As `calibrate`, or no score of a defective image, or an impossible miss cost.
    """
    calibration = calibrate(scores, maps, false_alarm_rate)
    trade = best_trade(scores, _finite(defect_scores), miss_cost)
    return replace(
        calibration,
        threshold=trade.threshold,
        method="defects",
        num_above=trade.num_above,
        defects=DefectCounts(len(defect_scores), trade.num_found, float(miss_cost)),
    )


def count_defects(calibration: Calibration, defect_scores: np.ndarray) -> Calibration:
    """Return the same calibration, knowing how its threshold does on defective images.

    Args:
        calibration: Its threshold was chosen without them.
        defect_scores: (M,) raw scores of defective images, all finite, M >= 1.

    Raises:
        CalibrationError: No score, or one that is not finite.
    """
    num_found = int(np.count_nonzero(_finite(defect_scores) > calibration.threshold))
    return replace(calibration, defects=DefectCounts(len(defect_scores), num_found))


def measure_map_range(maps: Iterable[np.ndarray], false_alarm_rate: float = DEFAULT_FALSE_ALARM_RATE) -> MapRange:
    """Return the usual values of anomaly maps of good images, looking at one map at a time.

    Args:
        maps: Anomaly maps (H, W), or an array (N, H, W). At least one.
        false_alarm_rate: Share of good images that may have a place above the map's threshold.

    Returns:
        The range as `map_range_of_extents` makes it.

    Raises:
        CalibrationError: No map, or a value that is not finite.
    """
    return map_range_of_extents([map_extent(anomaly_map) for anomaly_map in maps], false_alarm_rate)


def map_extent(anomaly_map: np.ndarray) -> tuple[float, float]:
    """Return median and maximum of an anomaly map (H, W): what is kept of it for the range."""
    return float(np.median(anomaly_map)), float(np.max(anomaly_map))


def map_range_of_extents(
    extents: Sequence[tuple[float, float]], false_alarm_rate: float = DEFAULT_FALSE_ALARM_RATE
) -> MapRange:
    """Return the range of the anomaly maps of good images from their extents.

    Args:
        extents: (median, maximum) of each map, at least one.
        false_alarm_rate: Share of good images that may have a place above the map's threshold.

    Returns:
        low: the median over images of the medians. high: the median over images of the maxima, which one dirty
        image among the good ones does not move; half of the good images stay below it everywhere. threshold: the
        conformal quantile of the maxima, as the image's threshold is one of the scores.

    Raises:
        CalibrationError: No map, or a value that is not finite.
    """
    statistics = np.array(extents, np.float64).reshape(-1, 2)
    if len(statistics) == 0 or not np.isfinite(statistics).all():
        raise CalibrationError(
            "The anomaly maps of the good images are missing or not finite. Train or export the model again."
        )
    low = float(np.median(statistics[:, 0]))
    maxima = np.sort(statistics[:, 1])
    threshold = float(maxima[len(maxima) - num_above_quantile(len(maxima), false_alarm_rate) - 1])
    high = max(low, float(np.median(maxima)))
    return MapRange(low=low, high=high, threshold=max(high, threshold))


def check_false_alarm_rate(false_alarm_rate: float) -> None:
    """Refuse a rate that is not a share.

    Raises:
        CalibrationError: The rate is not above 0 and below 1.
    """
    if not 0 < false_alarm_rate < 1:
        raise CalibrationError(
            f"The false alarm rate is {false_alarm_rate}; a share above 0 and below 1 was expected, such as 0.01."
        )


def check_confidence(confidence: float | None) -> None:
    """Refuse a confidence that is neither None nor a share.

    Raises:
        CalibrationError: The confidence is not above 0 and below 1.
    """
    if confidence is not None and not 0 < confidence < 1:
        raise CalibrationError(
            f"The confidence is {confidence}; a share above 0 and below 1 was expected, such as 0.95."
        )


def _rising(scores: np.ndarray) -> np.ndarray:
    """Return the scores of good images as float64 in rising order."""
    rising = np.sort(np.asarray(scores, np.float64).reshape(-1))
    if len(rising) < 2:
        raise CalibrationError(
            f"{len(rising)} good image(s) cannot set a threshold; at least 2 are needed, better 100."
        )
    return _finite(rising)


def _finite(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if not len(scores):
        raise CalibrationError("No defective image was scored; at least 1 is needed, better 20.")
    if not np.isfinite(scores).all():
        raise CalibrationError(
            f"{np.count_nonzero(~np.isfinite(scores))} of {len(scores)} scores are not finite numbers. "
            "The model is broken: train or export it again."
        )
    return scores
