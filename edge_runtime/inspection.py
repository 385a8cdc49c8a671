"""Inspects many images: one result for each, whatever is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.atomic_files import atomic_path, output_error
from edge_runtime.detector import AnomalyDetector, Detection
from edge_runtime.errors import ImageError, OutputError
from edge_runtime.heatmap import heatmap_overlay


@dataclass(frozen=True)
class InspectionResult:
    """What came out for one image: a detection or an error.

    Attributes:
        path: The image.
        detection: The verdict, or None when the image could not be read.
        error: Why it could not be read, or None.
    """

    path: Path
    detection: Detection | None = None
    error: str | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the JSON object that `inspect --format json` prints for the image."""
        if self.detection is None:
            return {"path": str(self.path), "error": self.error}
        return {
            "path": str(self.path),
            "score": self.detection.score,
            "normalised_score": self.detection.normalised_score,
            "threshold": self.detection.threshold,
            "is_anomaly": self.detection.is_anomaly,
            "latency_ms": round(self.detection.timings.total_ms, 3),
        }


def inspect_images(
    detector: AnomalyDetector, paths: Iterable[str | os.PathLike[str]], *, with_map: bool = True
) -> Iterator[InspectionResult]:
    """Judge images one after the other. An image that cannot be read gives a result with its error.

    Args:
        detector: What judges.
        paths: Image files, such as `find_images` returns.
        with_map: Whether anomaly maps are made; see `AnomalyDetector.detect`.

    Yields:
        One result an image, in order, each when it is asked for.

    Raises:
        BackendError: The interpreter failed. That is no fault of the image, so it ends the inspection.
    """
    for path in map(Path, paths):
        try:
            yield InspectionResult(path, detection=detector.detect(path, with_map=with_map))
        except ImageError as error:
            yield InspectionResult(path, error=str(error))


class HeatmapFolder:
    """A folder of heatmaps, one `<name>_heatmap.jpg` for each image. Images of equal name get a number.

    Args:
        folder: Where to write. It is made, with its parents, if it does not exist.
        images: The files and folders that are inspected.

    Raises:
        OutputError: The folder cannot be made, or lies in one that is inspected, where heatmaps would be taken for
            photographs the next time.
    """

    def __init__(self, folder: str | os.PathLike[str], images: Iterable[str | os.PathLike[str]] = ()) -> None:
        self.folder = Path(folder)
        place = Path(os.path.realpath(folder))
        for inspected in filter(os.path.isdir, images):
            if place.is_relative_to(os.path.realpath(inspected)):
                raise OutputError(
                    f"--heatmaps is '{folder}', inside '{os.fspath(inspected)}', whose images are inspected: heatmaps "
                    "written there would be taken for photographs the next time. Name a place outside of that folder."
                )
        self._names: set[str] = set()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(self.folder, error) from error

    def write(self, detector: AnomalyDetector, result: InspectionResult) -> Path | None:
        """Draw the heatmap of one image over it.

        Args:
            detector: What judged the image, with `with_map`.
            result: Its result.

        Returns:
            The file, or None when the image could not be read or its detection has no map.

        Raises:
            ImageError: The image has gone since it was judged.
            OutputError: The file cannot be written.
        """
        if result.detection is None or result.detection.anomaly_map is None:
            return None
        overlay = heatmap_overlay(
            result.path, result.detection.anomaly_map, detector.preprocessing, detector.calibration
        )
        target = self.folder / self._free_name(result.path.stem)
        with atomic_path(target) as temporary:
            overlay.save(temporary, quality=90)
        return target

    def _free_name(self, stem: str) -> str:
        name, number = f"{stem}_heatmap.jpg", 1
        while name.lower() in self._names:
            number += 1
            name = f"{stem}_{number}_heatmap.jpg"
        self._names.add(name.lower())
        return name
