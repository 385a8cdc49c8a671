"""Chooses an artefact's threshold anew from good images, and defective ones, on the device that it will judge on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_runtime.artefact import flatbuffer_sha256, replace_metadata
from edge_runtime.calibrating.calibrate import (
    calibrate,
    calibrate_with_defects,
    check_confidence,
    check_false_alarm_rate,
    count_defects,
    map_extent,
    map_range_of_extents,
)
from edge_runtime.calibrating.defect_trade import BALANCED_MISS_COST, check_miss_cost
from edge_runtime.calibration import Calibration
from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import CalibrationError, ImageError
from edge_runtime.interpreter import Backend, BackendLoader, load_backend
from edge_runtime.preprocessing import ImageSource

FEWEST_COPIES = 0.05
"""From this share of exact copies among good images on they are said."""

Progress = Callable[[int, int], None]
"""Called with (images done, images in all) after each."""


@dataclass(frozen=True)
class CalibrationWish:
    """What a threshold is to keep.

    Attributes:
        false_alarm_rate: Share of good images that may be called anomalies, above 0 and below 1; None: the rate that
            the artefact was calibrated for. Where there are defective images and no rate is given, the best trade
            between the two kinds of error decides instead.
        confidence: Keep the rate with this confidence, above 0 and below 1; None: on average.
        miss_cost: In that trade, what a share of missed defects costs, measured in the same share of false alarms;
            None: the same.

    Raises:
        CalibrationError: A value is out of its range, or two of them contradict each other.
    """

    false_alarm_rate: float | None = None
    confidence: float | None = None
    miss_cost: float | None = None

    def __post_init__(self) -> None:
        if self.false_alarm_rate is not None:
            check_false_alarm_rate(self.false_alarm_rate)
        check_confidence(self.confidence)
        if self.miss_cost is not None:
            check_miss_cost(self.miss_cost)
            if self.false_alarm_rate is not None or self.confidence is not None:
                raise CalibrationError(
                    "A miss cost and a false alarm rate or confidence are two ways to choose a threshold. Give one."
                )

    @property
    def asks_for_a_rate(self) -> bool:
        """Whether the threshold goes by a rate even where there are defective images."""
        return self.false_alarm_rate is not None or self.confidence is not None


@dataclass(frozen=True)
class ArtefactCalibration:
    """What `calibrate_artefact` did.

    Attributes:
        calibration: What is in the artefact now.
        previous: What was in it before.
        unreadable: (name, reason) of each image that was skipped.
        num_copies: How many of the good images have score and map of an earlier one, to the bit: the same picture again
            as the model sees it.
    """

    calibration: Calibration
    previous: Calibration
    unreadable: tuple[tuple[str, str], ...]
    num_copies: int

    @property
    def copies_note(self) -> str:
        """What to tell the user of copies among the good images; empty where there are hardly any."""
        total = self.calibration.num_images
        if self.num_copies < max(1, FEWEST_COPIES * total):
            return ""
        return (
            f"{self.num_copies} of {total} good images are exact copies of others for the model: the threshold rests "
            f"on {total - self.num_copies} only, and the promise is too good. Leave copies out and calibrate again."
        )


def calibrate_artefact(
    path: str | os.PathLike[str],
    good_images: Iterable[ImageSource],
    wish: CalibrationWish | None = None,
    progress: Progress | None = None,
    *,
    defective_images: Iterable[ImageSource] = (),
    num_threads: int = 1,
    backend_loader: BackendLoader = load_backend,
) -> ArtefactCalibration:
    """Choose an artefact's threshold and score range anew from images, and write them into it.

    Do this on the device and with the camera that will be used: another interpreter or another lamp gives
    other scores.
    The model itself is untouched, and the file is replaced in one step. Each image is read and scored once. A model
    that was moved over the artefact in the meantime stays as it is.

    Args:
        path: The artefact.
        good_images: Images of good parts that the model was not trained on. One that cannot be read is
            skipped.
        wish: What the threshold is to keep.
        progress: Called with (images done, images in all) after each.
        defective_images: Images of defective parts, where there are some. Without a rate in `wish` they and the
            good ones decide the threshold together; with one they only tell how many of them it finds.
        num_threads: CPU threads for one inference.
        backend_loader: What makes the interpreter.

    Returns:
        The new and the former calibration, and the images that were skipped.

    Raises:
        ArtefactError, BackendError: The artefact cannot be used, or holds another model by now.
        CalibrationError: Fewer than two good images could be read, or none of the defective ones; a file is among both;
            or a miss cost was given without defective images.
        OutputError: The artefact cannot be written; it is as before.
    """
    wish = wish or CalibrationWish()
    good, defective = list(good_images), list(defective_images)
    if wish.miss_cost is not None and not defective:
        raise CalibrationError(
            "A miss cost weighs defects, and there are no defective images. Give some, or leave it out."
        )
    _refuse_files_in_both(good, defective)
    loader = _RememberingLoader(backend_loader)
    detector = AnomalyDetector(path, num_threads=num_threads, backend_loader=loader)
    rate = detector.calibration.false_alarm_rate if wish.false_alarm_rate is None else wish.false_alarm_rate
    check_false_alarm_rate(rate)

    scored = _ScoredImages(detector, progress, len(good) + len(defective))
    scores, extents = scored.score(good, with_maps=True)
    if len(scores) < 2:
        raise CalibrationError(
            f"{len(scores)} of {len(good)} good images could be read; at least 2 are needed, better 100."
            + scored.first_problem()
        )
    defect_scores, _ = scored.score(defective, with_maps=False)
    if defective and not len(defect_scores):
        raise CalibrationError(f"None of the {len(defective)} defective images could be read." + scored.first_problem())

    map_range = map_range_of_extents(extents, rate)
    if not defective:
        calibration = calibrate(scores, map_range, rate, wish.confidence)
    elif wish.asks_for_a_rate:
        calibration = count_defects(calibrate(scores, map_range, rate, wish.confidence), defect_scores)
    else:
        miss_cost = BALANCED_MISS_COST if wish.miss_cost is None else wish.miss_cost
        calibration = calibrate_with_defects(scores, defect_scores, map_range, rate, miss_cost)
    replace_metadata(path, replace(detector.metadata, calibration=calibration), loader.loaded_sha256)
    return ArtefactCalibration(calibration, detector.calibration, tuple(scored.unreadable), scored.num_copies)


class _RememberingLoader:
    """Makes the interpreter, and remembers for which model: the file can hold another one when the scores are there."""

    def __init__(self, backend_loader: BackendLoader) -> None:
        self.loaded_sha256 = ""
        self._backend_loader = backend_loader

    def __call__(self, flatbuffer: bytes, num_threads: int) -> Backend:
        self.loaded_sha256 = flatbuffer_sha256(flatbuffer)
        return self._backend_loader(flatbuffer, num_threads)


class _ScoredImages:
    """Scores images one after the other, counts copies and keeps the names of those that cannot be read."""

    def __init__(self, detector: AnomalyDetector, progress: Progress | None, total: int) -> None:
        self.unreadable: list[tuple[str, str]] = []
        self.num_copies = 0
        self._seen: set[tuple[float, bytes]] = set()
        self._detector = detector
        self._progress = progress
        self._total = total
        self._done = 0

    def score(self, images: list[ImageSource], *, with_maps: bool) -> tuple[np.ndarray, list[tuple[float, float]]]:
        """Return the raw scores of the readable images, and the extents of their maps where asked for."""
        scores: list[float] = []
        extents: list[tuple[float, float]] = []
        for number, image in enumerate(images, start=1):
            try:
                detection = self._detector.detect(image, with_map=with_maps)
            except ImageError as error:
                name = os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {number}"
                self.unreadable.append((name, str(error)))
            else:
                scores.append(detection.score)
                if detection.anomaly_map is not None:
                    extents.append(map_extent(detection.anomaly_map))
                    self._look_for_copy(detection.score, detection.anomaly_map)
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, self._total)
        return np.array(scores), extents

    def _look_for_copy(self, score: float, anomaly_map: np.ndarray) -> None:
        # The score alone does not tell: of an integer model it has few values, which different parts share.
        looks = (score, hashlib.blake2b(np.ascontiguousarray(anomaly_map).data, digest_size=16).digest())
        self.num_copies += looks in self._seen
        self._seen.add(looks)

    def first_problem(self) -> str:
        """Return the sentence about the first image that could not be read; empty when all could."""
        return f" The first that could not: {self.unreadable[0][1]}" if self.unreadable else ""


def _refuse_files_in_both(good: list[ImageSource], defective: list[ImageSource]) -> None:
    files = {Path(image).resolve() for image in good if isinstance(image, (str, os.PathLike))}
    both = [image for image in defective if isinstance(image, (str, os.PathLike)) and Path(image).resolve() in files]
    if both:
        raise CalibrationError(
            f"{len(both)} image(s) are given as good and as defective, such as '{os.fspath(both[0])}'. Folders are "
            "searched with all that is below them: keep the two apart."
        )
