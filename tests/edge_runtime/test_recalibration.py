from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.artefact import read_artefact
from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import CalibrationError, OutputError
from edge_runtime.image_files import find_images
from edge_runtime.recalibration import calibrate_artefact
from tests.edge_runtime.tiny_model import tiny_calibration, tiny_metadata

SMOOTH = np.tile(np.linspace(80, 160, 32).astype(np.uint8), (32, 1))
MARKED = SMOOTH.copy()
MARKED[10:13, 20:23] = 255


def test_calibrating_sets_threshold_and_ranges_in_the_file(artefact_path: Path, image_folder: Path) -> None:
    images = find_images(image_folder)
    scores = [detection.score for detection in AnomalyDetector(artefact_path).detect_many(images)]
    flatbuffer = read_artefact(artefact_path).flatbuffer
    calls: list[tuple[int, int]] = []
    result = calibrate_artefact(artefact_path, images, 0.25, lambda done, total: calls.append((done, total)))
    assert result.calibration.threshold == sorted(scores)[9]  # ceil(13 * 0.75) = 10th of 12
    assert (result.calibration.score_min, result.calibration.score_max) == (min(scores), max(scores))
    assert 0 < result.calibration.map_low < result.calibration.map_high
    assert result.previous == tiny_calibration()
    assert result.unreadable == ()
    assert calls == [(done, 12) for done in range(1, 13)]
    stored = read_artefact(artefact_path)
    assert stored.flatbuffer == flatbuffer
    assert stored.metadata == replace(tiny_metadata(), calibration=result.calibration)
    detections = list(AnomalyDetector(artefact_path).detect_many(images))
    assert sum(detection.is_anomaly for detection in detections) == 2
    assert max(detection.normalised_score for detection in detections) == 0.5


def test_unreadable_images_are_skipped_and_named(artefact_path: Path, image_folder: Path) -> None:
    (image_folder / "part3.png").write_bytes(b"")
    frame = np.zeros((4, 4, 2), np.uint8)
    result = calibrate_artefact(artefact_path, [*find_images(image_folder), frame], 0.1)
    assert result.calibration.num_images == 11
    assert [name for name, _ in result.unreadable] == [str(image_folder / "part3.png"), "image 13"]
    assert "0 bytes" in result.unreadable[0][1]


def test_a_calibration_that_fails_leaves_the_artefact_as_it_is(
    artefact_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = artefact_path.read_bytes()
    bad = image_folder / "bad.png"
    bad.write_bytes(b"")
    with pytest.raises(CalibrationError, match=r"1 of 2 good images could be read.*bad\.png"):
        calibrate_artefact(artefact_path, [image_folder / "part1.png", bad])
    with pytest.raises(CalibrationError, match="0 of 0"):
        calibrate_artefact(artefact_path, [])
    with pytest.raises(CalibrationError, match="share above 0"):
        calibrate_artefact(artefact_path, find_images(image_folder)[:3], 2.0)

    def full_disk(path: object, data: bytes) -> None:
        raise OutputError("full")

    monkeypatch.setattr("edge_runtime.artefact.write_bytes_atomically", full_disk)
    with pytest.raises(OutputError):
        calibrate_artefact(artefact_path, [SMOOTH, MARKED])
    assert artefact_path.read_bytes() == before
