"""Chooses an artefact's threshold anew from good images, on the device that it will judge on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from edge_runtime.artefact import replace_metadata
from edge_runtime.calibration import (
    Calibration,
    calibrate,
    check_false_alarm_rate,
    map_extent,
    map_range_of_extents,
)
from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import CalibrationError, ImageError
from edge_runtime.interpreter import BackendLoader, load_backend
from edge_runtime.preprocessing import ImageSource


@dataclass(frozen=True)
class ArtefactCalibration:
    """What `calibrate_artefact` did.

    Attributes:
        calibration: What is in the artefact now.
        previous: What was in it before.
        unreadable: (name, reason) of each image that was skipped.
    """

    calibration: Calibration
    previous: Calibration
    unreadable: tuple[tuple[str, str], ...]


def calibrate_artefact(
    path: str | os.PathLike[str],
    good_images: Iterable[ImageSource],
    false_alarm_rate: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    num_threads: int = 1,
    backend_loader: BackendLoader = load_backend,
) -> ArtefactCalibration:
    """Choose an artefact's threshold and score range anew from good images, and write them into it.

    Do this on the device and with the camera that will be used: another interpreter or another lamp gives
    other scores.
    The model itself is untouched, and the file is replaced in one step.

    Args:
        path: The artefact.
        good_images: Images of good parts that the model was not trained on. One that cannot be read is
            skipped.
        false_alarm_rate: Share of good images that may be called anomalies, above 0 and below 1; None: the
            rate that the artefact was calibrated for.
        progress: Called with (images done, images in all) after each.
        num_threads: CPU threads for one inference.
        backend_loader: What makes the interpreter.

    Returns:
        The new and the former calibration, and the images that were skipped.

    Raises:
        ArtefactError, BackendError: The artefact cannot be used.
        CalibrationError: Fewer than two images could be read, or the rate is impossible.
        OutputError: The artefact cannot be written; it is as before.
    """
    detector = AnomalyDetector(path, num_threads=num_threads, backend_loader=backend_loader)
    if false_alarm_rate is None:
        false_alarm_rate = detector.calibration.false_alarm_rate
    check_false_alarm_rate(false_alarm_rate)
    images = list(good_images)
    scores: list[float] = []
    map_extents: list[tuple[float, float]] = []
    unreadable: list[tuple[str, str]] = []
    for done, image in enumerate(images, start=1):
        try:
            detection = detector.detect(image)
        except ImageError as error:
            name = os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {done}"
            unreadable.append((name, str(error)))
        else:
            scores.append(detection.score)
            if detection.anomaly_map is not None:
                map_extents.append(map_extent(detection.anomaly_map))
        if progress is not None:
            progress(done, len(images))
    if len(scores) < 2:
        raise CalibrationError(
            f"{len(scores)} of {len(images)} good images could be read; at least 2 are needed, better 100."
            + (f" The first that could not: {unreadable[0][1]}" if unreadable else "")
        )
    calibration = calibrate(np.array(scores), map_range_of_extents(map_extents), false_alarm_rate)
    replace_metadata(path, replace(detector.metadata, calibration=calibration))
    return ArtefactCalibration(calibration, detector.calibration, tuple(unreadable))
