"""What is known about a model's scores on good images: threshold, score range, and what both promise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_runtime.calibrating.false_alarm_bound import CONFIDENCE, highest_false_alarm_rate, images_needed
from edge_runtime.errors import CalibrationError, MetadataError
from edge_runtime.stored_fields import StoredFields

NUM_SCORE_QUANTILES = 101
# Of the map's range on good images: where files that do not state the map's threshold yet have it.
_USUAL_MAP_THRESHOLD = 1.3
_POOR_BALANCED_ACCURACY = 0.7


@dataclass(frozen=True)
class DefectCounts:
    """How a threshold does on the defective images that were at hand.

    Attributes:
        num_images: Defective images that were scored.
        num_found: How many of them are above the threshold.
        miss_cost: What a missed share of them weighed against the same share of false alarms when the threshold was
            chosen; None where it was chosen from the good images alone.
    """

    num_images: int
    num_found: int
    miss_cost: float | None = None


@dataclass(frozen=True)
class Calibration:
    """What is known about a model's scores on good images.

    Attributes:
        threshold: A raw score above it is an anomaly (the paper's phi).
        score_min: Lowest raw score of the good images.
        score_max: Highest raw score of the good images.
        method: How the threshold was chosen: "quantile" of good images, or "defects", the best trade between good and
            defective ones.
        false_alarm_rate: The share of good images that the threshold was asked to let through as anomalies, 0
            .. 1. Where defects decided it is kept for the next calibration.
        num_images: How many good images were scored.
        score_quantiles: The 0, 1, .. 100 % quantiles of their raw scores. A device compares what it sees with
            them.
        map_low: Value of the anomaly map in calm places of good images.
        map_high: Value of the anomaly map at the highest place of a usual good image. Heatmaps are
            coloured relative to it.
        map_threshold: A place of the map above it is outlined: as many good images have such a place as the false
            alarm rate allows.
        num_above: How many of the good images are above the threshold; None: not known.
        confidence: The confidence with which the false alarm rate was asked for, 0 .. 1; None: on average.
        defects: How the threshold does on defective images, where there were any.

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
    map_threshold: float
    num_above: int | None = None
    confidence: float | None = None
    defects: DefectCounts | None = None

    def __post_init__(self) -> None:
        limits = (self.threshold, self.score_min, self.score_max, self.map_low, self.map_high, self.map_threshold)
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
        counts = [(self.num_above or 0, self.num_images)]
        counts += [(self.defects.num_found, self.defects.num_images)] if self.defects else []
        rates_are_shares = 0 <= self.false_alarm_rate <= 1 and 0 <= (self.confidence or 0) < 1
        has_defects = self.defects is None or self.defects.num_images > 0
        if not rates_are_shares or not has_defects or not all(0 <= part <= whole for part, whole in counts):
            raise MetadataError("The stored calibration has an impossible rate or number of images. Calibrate again.")

    @property
    def highest_false_alarm_rate(self) -> float | None:
        """The share of further good images that exceeds the threshold at most, with `CONFIDENCE`; None: not known."""
        if self.num_above is None or not self.num_images:
            return None
        return highest_false_alarm_rate(self.num_images, self.num_above, was_chosen_by_scores=self.method == "defects")

    @property
    def promise(self) -> str:
        """The false alarms to expect, with a stated confidence; empty where nothing is known of them."""
        bound = self.highest_false_alarm_rate
        if bound is None:
            return ""
        text = (
            f"at most {_percent(bound)} of further good images exceed the threshold, with {_percent(CONFIDENCE)} "
            f"confidence ({self.num_above} of the {self.num_images} do)"
        )
        if bound <= self.false_alarm_rate or self.method != "quantile":
            return text
        needed = images_needed(self.false_alarm_rate)
        if self.num_images < needed:
            return f"{text}; to be sure of {_percent(self.false_alarm_rate)} takes {needed} good images"
        return (
            f"{text}; `tfganomaly calibrate --confidence {CONFIDENCE}` makes sure of {_percent(self.false_alarm_rate)}"
        )

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean share of defective images found and of good ones passed, on the images at hand; None: not known."""
        if self.defects is None or self.num_above is None or not self.num_images:
            return None
        return (self.defects.num_found / self.defects.num_images + 1 - self.num_above / self.num_images) / 2

    @property
    def note(self) -> str:
        """What to tell the user when the images could not give what was asked for, else empty."""
        accuracy = self.balanced_accuracy
        if self.method == "defects" and accuracy is not None and accuracy < _POOR_BALANCED_ACCURACY:
            return (
                f"The defects hardly score higher than good images (balanced accuracy {accuracy:.2f}, 0.5 is chance): "
                "no threshold parts them. Calibrate by --false-alarm-rate instead, and look for a better model."
            )
        if self.method != "quantile":
            return ""
        rate = _percent(self.false_alarm_rate)
        if self.confidence is not None:
            needed = images_needed(self.false_alarm_rate, self.confidence)
            asked = f"a false alarm rate of {rate} with {_percent(self.confidence)} confidence"
        else:
            needed = _images_needed_on_average(self.false_alarm_rate)
            asked = f"a false alarm rate of {rate}"
        if self.num_images >= needed:
            return ""
        consequence = ""
        if self.threshold == self.score_max:  # an exported file has its run's threshold, on its own scale
            consequence = (
                ": the threshold lies at the highest score among them, and on average up to "
                f"{1 / (self.num_images + 1):.1%} of further good images exceed it"
            )
        return (
            f"{self.num_images} good images are too few for {asked}, which needs at least {needed}{consequence}. "
            "When there are more, set the threshold anew with `tfganomaly calibrate` on the exported file."
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should read after a calibration: `note` and `promise`, where there are any."""
        return tuple(text for text in (self.note, self.promise) if text)

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

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object. It also states the promise's rate, for readers that are not this package."""
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
            "map_threshold": self.map_threshold,
            "num_above": self.num_above,
            "confidence": self.confidence,
            "defects": asdict(self.defects) if self.defects else None,
            "highest_false_alarm_rate_95": self.highest_false_alarm_rate,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Return the calibration that `to_dict` described, or one of an older release, which had fewer fields.

        Raises:
            MetadataError: A field is missing, has the wrong type or an impossible value.
        """
        fields = StoredFields(data, "calibration")
        num_images = fields.integer("num_images")
        false_alarm_rate = fields.number("false_alarm_rate")
        map_low, map_high = fields.number("map_low"), fields.number("map_high")
        num_above: int | None = None
        if "num_above" in fields:
            num_above = fields.optional_integer("num_above")
        elif 0 <= false_alarm_rate <= 1:
            num_above = num_above_quantile(num_images, false_alarm_rate)
        return cls(
            threshold=fields.number("threshold"),
            score_min=fields.number("score_min"),
            score_max=fields.number("score_max"),
            method=fields.text("method"),
            false_alarm_rate=false_alarm_rate,
            num_images=num_images,
            score_quantiles=fields.numbers("score_quantiles"),
            map_low=map_low,
            map_high=map_high,
            map_threshold=fields.number("map_threshold")
            if "map_threshold" in fields
            else map_low + _USUAL_MAP_THRESHOLD * (map_high - map_low),
            num_above=num_above,
            confidence=fields.optional_number("confidence") if "confidence" in fields else None,
            defects=_stored_defects(fields),
        )


def check_threshold(threshold: float) -> float:
    """Return a raw score that may serve as threshold.

    Raises:
        CalibrationError: It is not a finite number.
    """
    if not math.isfinite(threshold):
        raise CalibrationError(f"The threshold is {threshold}; a finite raw score was expected.")
    return float(threshold)


def num_above_quantile(num_images: int, false_alarm_rate: float) -> int:
    """Return how many of n good scores the conformal quantile leaves above it: the highest where n is too small.

    It is number ceil((n + 1) * (1 - rate)) of n scores in rising order: on average further scores exceed it at most at
    the rate, whatever their distribution, where the plain quantile of a small sample is too low.
    """
    return max(0, num_images - math.ceil(round((num_images + 1) * (1 - false_alarm_rate), 9)))


def _images_needed_on_average(false_alarm_rate: float) -> int:
    return math.ceil(round(1 / false_alarm_rate, 9)) - 1 if false_alarm_rate > 0 else 0


def _stored_defects(fields: StoredFields) -> DefectCounts | None:
    if "defects" not in fields or fields.is_null("defects"):
        return None
    stored = StoredFields(fields.mapping("defects"), "calibration's defects")
    return DefectCounts(stored.integer("num_images"), stored.integer("num_found"), stored.optional_number("miss_cost"))


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
