from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.artefact import read_artefact
from edge_runtime.calibrating.defect_trade import best_trade
from edge_runtime.calibrating.recalibration import CalibrationWish, calibrate_artefact
from edge_runtime.calibration import DefectCounts
from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import ArtefactError, CalibrationError, OutputError
from edge_runtime.image_files import find_images
from edge_runtime.text_output import calibration_text
from tests.edge_runtime.tiny_model import tiny_calibration, tiny_metadata

SMOOTH = np.tile(np.linspace(80, 160, 32).astype(np.uint8), (32, 1))
MARKED = SMOOTH.copy()
MARKED[10:13, 20:23] = 255


def test_calibrating_sets_threshold_and_ranges_in_the_file(artefact_path: Path, image_folder: Path) -> None:
    images = find_images(image_folder)
    scores = [AnomalyDetector(artefact_path).detect(image).score for image in images]
    flatbuffer = read_artefact(artefact_path).flatbuffer
    calls: list[tuple[int, int]] = []
    result = calibrate_artefact(
        artefact_path, images, CalibrationWish(0.25), lambda done, total: calls.append((done, total))
    )
    assert result.calibration.threshold == sorted(scores)[9]  # ceil(13 * 0.75) = 10th of 12
    assert (result.calibration.score_min, result.calibration.score_max) == (min(scores), max(scores))
    assert 0 < result.calibration.map_low < result.calibration.map_high
    assert result.previous == tiny_calibration()
    assert result.unreadable == ()
    assert calls == [(done, 12) for done in range(1, 13)]
    stored = read_artefact(artefact_path)
    assert stored.flatbuffer == flatbuffer
    assert stored.metadata == replace(tiny_metadata(), calibration=result.calibration)
    detections = [AnomalyDetector(artefact_path).detect(image) for image in images]
    assert sum(detection.is_anomaly for detection in detections) == 2
    assert max(detection.normalised_score for detection in detections) == 0.5


def test_unreadable_images_are_skipped_and_named(artefact_path: Path, image_folder: Path) -> None:
    (image_folder / "part3.png").write_bytes(b"")
    frame = np.zeros((4, 4, 2), np.uint8)
    result = calibrate_artefact(artefact_path, [*find_images(image_folder), frame], CalibrationWish(0.1))
    assert result.calibration.num_images == 11
    assert [name for name, _ in result.unreadable] == [str(image_folder / "part3.png"), "image 13"]
    assert "0 bytes" in result.unreadable[0][1]


def marked_image(strength: int) -> np.ndarray:
    pixels = SMOOTH.copy()
    pixels[10:13, 20:23] = strength
    return pixels


def test_some_defects_give_the_best_trade_in_one_pass(artefact_path: Path, image_folder: Path, tmp_path: Path) -> None:
    good, defective = find_images(image_folder), [marked_image(strength) for strength in (200, 255)]
    detector = AnomalyDetector(artefact_path)
    good_scores = sorted(detector.detect(image).score for image in good)
    defect_scores = sorted(detector.detect(image).score for image in defective)
    trade = best_trade(np.array(good_scores), np.array(defect_scores))
    calls: list[tuple[int, int]] = []
    result = calibrate_artefact(
        artefact_path, good, None, lambda done, total: calls.append((done, total)), defective_images=defective
    )
    assert calls == [(done, 14) for done in range(1, 15)]
    stored = read_artefact(artefact_path).metadata.calibration
    assert stored == result.calibration
    assert (stored.method, stored.threshold, stored.num_above) == ("defects", trade.threshold, trade.num_above)
    assert stored.defects == DefectCounts(2, trade.num_found, 1.0)
    assert "best trade" in calibration_text(result, 12)
    assert f"{trade.num_found} of 2 found" in calibration_text(result, 12)
    assert calibration_text(result, 12).splitlines()[-1].startswith("next         tfganomaly inspect ")
    # With a rate the good images decide, and the defects are only counted.
    by_rate = calibrate_artefact(artefact_path, good, CalibrationWish(0.25), defective_images=defective).calibration
    assert (by_rate.method, by_rate.threshold) == ("quantile", good_scores[9])
    assert by_rate.defects is not None
    assert by_rate.defects.num_found == sum(score > by_rate.threshold for score in defect_scores)


def test_copies_among_the_good_images_are_said(artefact_path: Path, image_folder: Path) -> None:
    good = find_images(image_folder)
    assert calibrate_artefact(artefact_path, good, defective_images=[MARKED, MARKED]).copies_note == ""
    result = calibrate_artefact(artefact_path, [*good, *good[:3], good[0]], CalibrationWish(0.25))
    assert result.num_copies == 4
    assert result.copies_note.startswith("4 of 16 good images are exact copies of others for the model: the threshold")
    assert "rests on 12 only" in result.copies_note


def test_the_weight_of_a_miss_is_said_in_shares(artefact_path: Path, image_folder: Path) -> None:
    good = find_images(image_folder)
    weighed = calibrate_artefact(artefact_path, good, CalibrationWish(miss_cost=5.0), defective_images=[MARKED])
    assert "missing 1% of the defects weighs as much as 5% false alarms" in calibration_text(weighed, 12)
    balanced = calibrate_artefact(artefact_path, good, defective_images=[MARKED])
    assert "(balanced)" in calibration_text(balanced, 12)


def test_wishes_that_contradict_each_other_are_refused(artefact_path: Path, image_folder: Path, tmp_path: Path) -> None:
    good = find_images(image_folder)
    before = artefact_path.read_bytes()
    for values, words in (
        ({"false_alarm_rate": 0.1, "miss_cost": 2.0}, "two ways"),
        ({"confidence": 0.9, "miss_cost": 2.0}, "two ways"),
        ({"confidence": 1.0}, "such as 0.95"),
        ({"miss_cost": 0.0}, "above 0"),
    ):
        with pytest.raises(CalibrationError, match=words):
            CalibrationWish(**values)
    with pytest.raises(CalibrationError, match="no defective images"):
        calibrate_artefact(artefact_path, good, CalibrationWish(miss_cost=3.0))
    with pytest.raises(CalibrationError, match=r"1 image\(s\) are given as good and as defective.*part0\.png"):
        calibrate_artefact(artefact_path, good, defective_images=[good[0], MARKED])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(CalibrationError, match=r"None of the 1 defective images could be read.*broken\.png"):
        calibrate_artefact(artefact_path, good, defective_images=[broken])
    assert artefact_path.read_bytes() == before
    result = calibrate_artefact(artefact_path, good, defective_images=[broken, MARKED])
    assert [name for name, _ in result.unreadable] == [str(broken)]
    assert result.calibration.defects is not None
    assert result.calibration.defects.num_images == 1


def test_a_model_that_is_moved_there_while_images_are_scored_keeps_its_own_threshold(
    artefact_path: Path, image_folder: Path, make_artefact: Callable[..., Path]
) -> None:
    newer = make_artefact(quantized=False, name="newer.tflite")
    content = newer.read_bytes()

    def progress(done: int, total: int) -> None:
        if done == 5:
            newer.replace(artefact_path)

    with pytest.raises(ArtefactError, match="replaced by another model in the meantime"):
        calibrate_artefact(artefact_path, find_images(image_folder), progress=progress)
    assert artefact_path.read_bytes() == content


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
        CalibrationWish(2.0)

    def full_disk(path: object, data: bytes) -> None:
        raise OutputError("full")

    monkeypatch.setattr("edge_runtime.artefact.write_bytes_atomically", full_disk)
    with pytest.raises(OutputError):
        calibrate_artefact(artefact_path, [SMOOTH, MARKED])
    assert artefact_path.read_bytes() == before
