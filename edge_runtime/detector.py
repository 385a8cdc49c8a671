"""Judges images with an artefact: picture in, score and verdict out."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from edge_runtime.artefact import Artefact, ArtefactMetadata, read_artefact
from edge_runtime.calibration import Calibration, check_threshold
from edge_runtime.detection import Detection, Examination
from edge_runtime.errors import ArtefactError, BackendError
from edge_runtime.integer_scoring import integer_score
from edge_runtime.interpreter import BackendLoader, load_backend
from edge_runtime.output_reading import OutputReader
from edge_runtime.preprocessing import (
    ImageSource,
    Preprocessing,
    image_name,
    prepare_detail,
    prepare_image,
    read_image,
    scale_pixels,
)
from edge_runtime.scoring import ModelOutputs, ScoreRule, anomaly_scores, window_distances

__all__ = ["AnomalyDetector", "Detection", "Examination"]


class AnomalyDetector:
    """Judges images with one artefact.

    Example:
        detector = AnomalyDetector("tiles.tflite")
        detection = detector.detect("part_0815.png")
        print(detection.score, detection.is_anomaly)

    An image's score is the same number in any process and in any batch. A detector is not to be shared
    between threads; make one for each.

    Args:
        path: The artefact, a `.tflite` file that `tfganomaly export` wrote.
        threshold: A raw score that replaces the artefact's threshold.
        num_threads: CPU threads for one inference.
        backend_loader: What makes the interpreter; tests pass a fake.

    Raises:
        ArtefactError: The artefact cannot be used; see `read_artefact`.
        BackendError: No interpreter is installed, or it cannot load the model.
        CalibrationError: The threshold is not a finite number.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threshold: float | None = None,
        num_threads: int = 1,
        backend_loader: BackendLoader = load_backend,
    ) -> None:
        artefact = read_artefact(path)
        self.path = Path(path)
        self.metadata: ArtefactMetadata = artefact.metadata
        self.model_bytes = len(artefact.flatbuffer)
        self._backend = backend_loader(artefact.flatbuffer, num_threads)
        self._reader = self._output_reader(artefact)
        self._latents = (self._reader.latent, self._reader.reconstructed_latent)
        self._integer_score = integer_score(self.score_rule, self._reader)
        self._threshold = artefact.metadata.calibration.threshold
        if threshold is not None:
            self.threshold = threshold

    @property
    def preprocessing(self) -> Preprocessing:
        """How a picture becomes the model's input."""
        return self.metadata.preprocessing

    @property
    def score_rule(self) -> ScoreRule:
        """How scores and maps are made."""
        return self.metadata.score_rule

    @property
    def calibration(self) -> Calibration:
        """The artefact's calibration; `threshold` can differ from its threshold."""
        return self.metadata.calibration

    @property
    def threshold(self) -> float:
        """The raw score above which an image is an anomaly. It can be set between two images."""
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        self._threshold = check_threshold(threshold)

    @property
    def backend_name(self) -> str:
        """What runs the model, such as "LiteRT 2.3.0 (CPU, 1 thread)"."""
        return self._backend.name

    @property
    def description(self) -> str:
        """One line for reports, such as "artefact tiles.tflite (int8, qat)"."""
        return f"artefact {self.path.name} ({self._backend.input_details.dtype}, {self.metadata.quantization})"

    @property
    def data_source(self) -> str:
        """What the model was trained on, as `train` was given it; empty when the artefact does not say."""
        return str(self.metadata.data.get("source", ""))

    @property
    def data_seed(self) -> int:
        """The seed of the split into training, validation and test images."""
        seed = self.metadata.data.get("seed", 0)
        return seed if isinstance(seed, int) else 0

    @property
    def validation_fraction(self) -> float | None:
        """The share of the good training images that was held back; None: the usual one of `tfganomaly train`."""
        fraction = self.metadata.data.get("validation_fraction")
        return float(fraction) if isinstance(fraction, (int, float)) else None

    def detect(self, image: ImageSource, *, with_map: bool = True) -> Detection:
        """Judge one image.

        Args:
            image: A path, a Pillow image or an array (RGB, not OpenCV's BGR); see `ImageSource`.
            with_map: Whether to make the anomaly map and keep the reconstruction. Without them it is a little
                faster.

        Returns:
            Score, verdict, map and times.

        Raises:
            ImageError: The image cannot be read.
            BackendError: The interpreter failed, or the model gave a score that is not a number.
        """
        examination = self.examine(image, with_map=with_map)
        detection = examination.detection
        if not with_map:
            return detection
        start = perf_counter()
        anomaly_map, reconstruction = examination.anomaly_map(), examination.reconstruction()
        timings = replace(detection.timings, score_ms=detection.timings.score_ms + 1000 * (perf_counter() - start))
        return replace(detection, anomaly_map=anomaly_map, reconstruction=reconstruction, timings=timings)

    def examine(self, image: ImageSource, *, with_map: bool = True) -> Examination:
        """Judge one image, and keep what its map can be made of later.

        Args:
            image: See `detect`.
            with_map: Whether the map or the reconstruction may be asked for later.

        Raises:
            ImageError, BackendError: As `detect`.
        """
        start = perf_counter()
        metadata, detail = self.metadata, None
        if with_map and metadata.score_rule.needs_textures:
            image = read_image(image)  # once for both
            detail = prepare_detail(image, metadata.preprocessing)
        pixels = prepare_image(image, metadata.preprocessing)
        if with_map and pixels is image:
            pixels = pixels.copy()  # a camera may write its next frame over it before the map is asked for
        prepared = perf_counter()
        if with_map or self._integer_score is None:
            raw_outputs = self._backend.run(pixels)
            inferred = perf_counter()
            score, windows = self._score(pixels, raw_outputs)
        else:
            raw_outputs, windows = None, None
            latent, reconstructed_latent = self._backend.run_and_lend(pixels, self._latents)
            inferred = perf_counter()
            score = self._integer_score(latent, reconstructed_latent)
        if not math.isfinite(score):
            raise BackendError(
                f"{image_name(image)} got the score {score}, so the model of '{self.path}' is broken. Train "
                "or export it again."
            )
        return Examination(
            score,
            self._threshold,
            (start, prepared, inferred, perf_counter()),
            pixels,
            raw_outputs,
            detail,
            windows,
            self._reader,
            metadata,
        )

    def model_outputs(self, pixels: np.ndarray) -> ModelOutputs:
        """Return what the model gives for prepared images, for evaluation and parity.

        Args:
            pixels: uint8 (B, H, W, C) as `prepare_image` returns them, B >= 1.

        Returns:
            The outputs of all, computed one image at a time as `detect` does.
        """
        return ModelOutputs.concatenate([self._reader.read(self._backend.run(image)) for image in pixels])

    def _score(self, pixels: np.ndarray, raw_outputs: list[np.ndarray]) -> tuple[float, np.ndarray | None]:
        """Return the score, and what of its making the map needs too."""
        if self._integer_score is not None:
            latent, reconstructed_latent = self._latents
            return self._integer_score(raw_outputs[latent], raw_outputs[reconstructed_latent]), None
        inputs = scale_pixels(pixels)[np.newaxis]
        windows = window_distances(self.score_rule, inputs)
        return float(anomaly_scores(self.score_rule, inputs, self._reader.read(raw_outputs), windows)[0]), windows

    def _output_reader(self, artefact: Artefact) -> OutputReader:
        """Return what reads the model's outputs, after comparing model and metadata.

        Raises:
            ArtefactError: They do not fit.
        """
        expected_input = (1, *artefact.metadata.preprocessing.input_shape)
        given_input = self._backend.input_details.shape
        try:
            if given_input != expected_input:
                raise ArtefactError(f"the model takes {given_input}, the metadata says {expected_input}")
            return OutputReader.from_names(artefact.metadata.outputs, self._backend.output_details, expected_input)
        except ArtefactError as error:
            raise ArtefactError(
                f"Artefact '{self.path}' does not fit its metadata: {error}. Export it again."
            ) from error
