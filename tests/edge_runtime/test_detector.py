from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.artefact import write_artefact
from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import ArtefactError, BackendError, CalibrationError
from edge_runtime.preprocessing import Preprocessing, prepare_image, scale_pixels
from edge_runtime.quantization import TensorDetails
from edge_runtime.scoring import ScoreRule, anomaly_maps, anomaly_scores
from tests.edge_runtime.conftest import FakeBackend
from tests.edge_runtime.tiny_model import tiny_flatbuffer, tiny_metadata

SMOOTH = np.tile(np.linspace(80, 160, 32).astype(np.uint8), (32, 1))
MARKED = SMOOTH.copy()
MARKED[10:13, 20:23] = 255
MARKED[11, 21] = 0


def test_a_detection_holds_all_that_was_promised(artefact_path: Path) -> None:
    detection = AnomalyDetector(artefact_path).detect(MARKED)
    assert detection.score > 0
    assert 0 < detection.normalised_score < 1
    assert detection.threshold == 0.5
    assert detection.is_anomaly is (detection.score > 0.5)
    assert detection.anomaly_map is not None
    assert detection.anomaly_map.shape == (32, 32)
    assert detection.anomaly_map.dtype == np.float32
    assert detection.reconstruction is not None
    assert detection.reconstruction.shape == (32, 32, 1)
    assert detection.reconstruction.dtype == np.uint8
    timings = detection.timings
    assert min(timings.preprocess_ms, timings.inference_ms, timings.score_ms) > 0
    assert timings.total_ms == pytest.approx(timings.preprocess_ms + timings.inference_ms + timings.score_ms)


@pytest.mark.parametrize("quantized", [True, False])
def test_a_mark_raises_the_score_and_is_found_in_the_map(make_artefact: Callable[..., Path], quantized: bool) -> None:
    detector = AnomalyDetector(make_artefact(quantized=quantized))
    good, bad = detector.detect(SMOOTH), detector.detect(MARKED)
    assert bad.score > 1.5 * good.score
    assert bad.anomaly_map is not None
    row, column = np.unravel_index(bad.anomaly_map.argmax(), bad.anomaly_map.shape)
    assert (9 <= row <= 13, 19 <= column <= 23) == (True, True)


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("rule", ["stretch", "letterbox", "crop"])
def test_one_image_gives_one_score_by_every_way(
    make_artefact: Callable[..., Path], tmp_path: Path, quantized: bool, channels: int, rule: str
) -> None:
    path = make_artefact(channels=channels, quantized=quantized, preprocessing=Preprocessing(32, 32, channels, rule))
    detector = AnomalyDetector(path)
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (30 + index, 50, 3), np.uint8) for index in range(7)]
    files = [tmp_path / f"frame{index}.png" for index in range(7)]
    for frame, file in zip(frames, files, strict=True):
        Image.fromarray(frame).save(file)
    from_frames = [detector.detect(frame) for frame in frames]
    scores = [detection.score for detection in from_frames]
    assert [detector.detect(file).score for file in files] == scores
    assert [detector.detect(Image.open(file)).score for file in files] == scores
    assert [detector.detect(file, with_map=False).score for file in reversed(files)] == scores[::-1]
    assert [AnomalyDetector(path).detect(file).score for file in files] == scores

    pixels = np.stack([prepare_image(frame, detector.preprocessing) for frame in frames])
    outputs = detector.model_outputs(pixels)
    assert anomaly_scores(detector.score_rule, scale_pixels(pixels), outputs).tolist() == scores
    maps = anomaly_maps(detector.score_rule, scale_pixels(pixels), outputs)
    for anomaly_map, detection in zip(maps, from_frames, strict=True):
        np.testing.assert_array_equal(anomaly_map, detection.anomaly_map)


@pytest.mark.parametrize(
    "rule",
    [
        ScoreRule({"latent_l2": 0.7}, "max"),
        ScoreRule({"latent_l1": 1.0}),
        ScoreRule({"latent_l2": 1.0, "reconstruction_l1": 50.0}),
    ],
)
def test_a_detectors_score_is_that_of_its_outputs_by_every_rule(
    make_artefact: Callable[..., Path], rule: ScoreRule
) -> None:
    detector = AnomalyDetector(make_artefact(score_rule=rule))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 1), np.uint8)
    scores = anomaly_scores(rule, scale_pixels(pixels), detector.model_outputs(pixels))
    assert [detector.detect(picture).score for picture in pixels] == scores.tolist()


def test_an_examination_keeps_what_its_map_is_made_of_when_other_images_follow(artefact_path: Path) -> None:
    detector = AnomalyDetector(artefact_path)
    expected = detector.detect(MARKED[:, :, np.newaxis])
    frame = MARKED[:, :, np.newaxis].copy()
    examination = detector.examine(frame)
    frame[:] = SMOOTH[:, :, np.newaxis]  # as a camera that writes all its frames to one place
    detector.examine(frame)
    detection = examination.detection
    assert (detection.score, detection.normalised_score) == (expected.score, expected.normalised_score)
    assert (examination.score, examination.is_anomaly) == (expected.score, expected.is_anomaly)
    assert detection.timings.total_ms == pytest.approx(examination.total_ms)
    np.testing.assert_array_equal(examination.anomaly_map(), expected.anomaly_map)
    np.testing.assert_array_equal(examination.reconstruction(), expected.reconstruction)


def test_an_examination_without_a_map_has_the_same_verdict_and_says_that_it_has_no_map(artefact_path: Path) -> None:
    detector = AnomalyDetector(artefact_path)
    examination = detector.examine(MARKED, with_map=False)
    assert examination.score == detector.examine(MARKED).score
    with pytest.raises(ValueError, match="examined without its map"):
        examination.anomaly_map()


def test_the_threshold_can_be_given_and_changed(artefact_path: Path) -> None:
    detector = AnomalyDetector(artefact_path, threshold=0.0)
    assert detector.detect(MARKED).is_anomaly
    detector.threshold = 1e6
    detection = detector.detect(MARKED)
    assert not detection.is_anomaly
    assert detection.threshold == 1e6
    assert detector.calibration.threshold == 0.5
    for threshold in (math.nan, math.inf):
        with pytest.raises(CalibrationError, match="finite raw score"):
            detector.threshold = threshold
    assert detector.threshold == 1e6
    with pytest.raises(CalibrationError, match="finite raw score"):
        AnomalyDetector(artefact_path, threshold=math.nan)


def test_a_score_at_the_threshold_is_no_anomaly(artefact_path: Path) -> None:
    score = AnomalyDetector(artefact_path).detect(MARKED).score
    assert not AnomalyDetector(artefact_path, threshold=score).detect(MARKED).is_anomaly
    assert AnomalyDetector(artefact_path, threshold=score * 0.999).detect(MARKED).is_anomaly


def test_without_a_map_there_is_neither_map_nor_reconstruction(artefact_path: Path) -> None:
    detection = AnomalyDetector(artefact_path).detect(MARKED, with_map=False)
    assert detection.anomaly_map is None
    assert detection.reconstruction is None


def test_a_detector_says_where_it_comes_from(artefact_path: Path) -> None:
    detector = AnomalyDetector(artefact_path, num_threads=2)
    assert detector.description == "artefact tiny.tflite (int8, ptq)"
    assert (detector.data_source, detector.data_seed) == ("parts", 7)
    assert "2 threads" in detector.backend_name
    assert detector.model_bytes == len(tiny_flatbuffer())


def test_metadata_without_a_source_leaves_it_empty(make_artefact: Callable[..., Path]) -> None:
    detector = AnomalyDetector(make_artefact(data={}))
    assert (detector.data_source, detector.data_seed) == ("", 0)


def test_a_fake_backend_takes_the_interpreters_place(artefact_path: Path, fake_backend: FakeBackend) -> None:
    fake_backend.latent_value = 0.6
    detector = AnomalyDetector(artefact_path, backend_loader=lambda flatbuffer, num_threads: fake_backend)
    detection = detector.detect(np.full((5, 5), 255, np.uint8))
    assert detection.score == pytest.approx(0.36)
    np.testing.assert_array_equal(fake_backend.pixels[0], np.full((32, 32, 1), 255, np.uint8))
    np.testing.assert_allclose(detection.anomaly_map, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_an_error_and_never_a_good_part(
    artefact_path: Path, fake_backend: FakeBackend, value: float
) -> None:
    fake_backend.latent_value = value
    detector = AnomalyDetector(artefact_path, backend_loader=lambda flatbuffer, num_threads: fake_backend)
    with pytest.raises(BackendError, match=r"the model of '.*' is broken"):
        detector.detect(SMOOTH)


def test_a_model_that_does_not_fit_its_metadata_is_refused(tmp_path: Path, fake_backend: FakeBackend) -> None:
    path = tmp_path / "a.tflite"
    write_artefact(path, tiny_flatbuffer(16), tiny_metadata(32))
    with pytest.raises(ArtefactError, match=r"takes \(1, 16, 16, 1\), the metadata says \(1, 32, 32, 1\)"):
        AnomalyDetector(path)
    outputs = {"latent": 0, "reconstructed_latent": 1, "reconstruction": 5}
    write_artefact(path, tiny_flatbuffer(32), tiny_metadata(32, outputs=outputs))
    with pytest.raises(ArtefactError, match="has 3 outputs, the metadata names number 5"):
        AnomalyDetector(path)
    outputs = {"latent": 0, "reconstructed_latent": 2, "reconstruction": 1}
    write_artefact(path, tiny_flatbuffer(32), tiny_metadata(32, outputs=outputs))
    with pytest.raises(ArtefactError, match="twice the same"):
        AnomalyDetector(path)
    write_artefact(path, tiny_flatbuffer(32), tiny_metadata(32))
    smaller = TensorDetails("reconstruction", (1, 16, 16, 1), "float32")
    fake_backend.output_details = (*fake_backend.output_details[:2], smaller)
    with pytest.raises(ArtefactError, match="not the input's"):
        AnomalyDetector(path, backend_loader=lambda flatbuffer, num_threads: fake_backend)


def test_a_model_without_reconstruction_scores_by_its_latents(make_artefact: Callable[..., Path]) -> None:
    detector = AnomalyDetector(
        make_artefact(
            outputs={"latent": 0, "reconstructed_latent": 1}, score_rule=ScoreRule(map_source="latent", pooling="max")
        )
    )
    detection = detector.detect(MARKED)
    assert detection.reconstruction is None
    assert detection.anomaly_map is not None
    np.testing.assert_allclose(detection.anomaly_map, detection.score, rtol=1e-6)


def test_detectors_are_made_in_several_threads_and_standard_error_stays(artefact_path: Path) -> None:
    before, made = os.fstat(2), []

    def make() -> None:
        for _ in range(5):
            made.append(AnomalyDetector(artefact_path))

    threads = [threading.Thread(target=make, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 20
    after = os.fstat(2)
    assert (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)
