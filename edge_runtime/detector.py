"""Judges images with an artefact: picture in, score and verdict out."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from edge_runtime.artefact import Artefact, ArtefactMetadata, read_artefact
from edge_runtime.calibration import Calibration
from edge_runtime.errors import ArtefactError, BackendError, CalibrationError
from edge_runtime.interpreter import BackendLoader, load_backend
from edge_runtime.preprocessing import (
    ImageSource,
    Preprocessing,
    image_name,
    prepare_image,
    scale_pixels,
    unscale_pixels,
)
from edge_runtime.scoring import ModelOutputs, ScoreRule, anomaly_maps, anomaly_scores


@dataclass(frozen=True)
class Timings:
    """How long one image took, in milliseconds.

    Attributes:
        preprocess_ms: Reading, decoding and resizing.
        inference_ms: The interpreter, with quantizing its input and dequantizing its outputs.
        score_ms: Score, anomaly map and reconstruction.
    """

    preprocess_ms: float
    inference_ms: float
    score_ms: float

    @property
    def total_ms(self) -> float:
        """From the picture to the verdict."""
        return self.preprocess_ms + self.inference_ms + self.score_ms


@dataclass(frozen=True)
class Detection:
    """What the detector says about one image.

    Attributes:
        score: The raw score, higher is more anomalous.
        normalised_score: The score in [0, 1]; 0.5 is the most unusual good image seen at calibration.
        threshold: The raw score above which an image is an anomaly.
        is_anomaly: Whether the score is above the threshold.
        anomaly_map: float32 (H, W) in the model's input pixels, >= 0; None when it was not asked for.
        reconstruction: uint8 (H, W, C), how the model would draw the part if it were good; None where the
            model does not give it, or when no map was asked for.
        timings: How long it took.
    """

    score: float
    normalised_score: float
    threshold: float
    is_anomaly: bool
    anomaly_map: np.ndarray | None
    reconstruction: np.ndarray | None
    timings: Timings


@dataclass(frozen=True)
class Examination:
    """A detection without its map, and what the map is made of; some kilobytes.

    Attributes:
        detection: Score and verdict.
        score_rule: Where the map comes from.
        inputs: float32 (1, H, W, C) in [-1, 1], what the model was given.
        outputs: What it gave.
    """

    detection: Detection
    score_rule: ScoreRule
    inputs: np.ndarray
    outputs: ModelOutputs

    def anomaly_map(self) -> np.ndarray:
        """Make the map, float32 (H, W) in the model's input pixels, >= 0. Needs no model: any thread may do it."""
        return anomaly_maps(self.score_rule, self.inputs, self.outputs)[0]

    def reconstruction(self) -> np.ndarray | None:
        """Return how the model would draw the part if it were good, uint8 (H, W, C); None where it does not."""
        drawn = self.outputs.reconstruction
        return None if drawn is None else unscale_pixels(drawn[0])


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
        self._outputs = self._checked_outputs(artefact)
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
        if not math.isfinite(threshold):
            raise CalibrationError(f"The threshold is {threshold}; a finite raw score was expected.")
        self._threshold = float(threshold)

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
        examination = self.examine(image)
        detection = examination.detection
        if not with_map:
            return detection
        start = perf_counter()
        anomaly_map, reconstruction = examination.anomaly_map(), examination.reconstruction()
        timings = replace(detection.timings, score_ms=detection.timings.score_ms + 1000 * (perf_counter() - start))
        return replace(detection, anomaly_map=anomaly_map, reconstruction=reconstruction, timings=timings)

    def examine(self, image: ImageSource) -> Examination:
        """Judge one image, and keep what its map can be made of later.

        Args:
            image: See `detect`.

        Raises:
            ImageError, BackendError: As `detect`.
        """
        start = perf_counter()
        inputs = scale_pixels(prepare_image(image, self.preprocessing))[np.newaxis]
        prepared = perf_counter()
        outputs = self._run(inputs[0])
        inferred = perf_counter()
        score = float(anomaly_scores(self.score_rule, inputs, outputs)[0])
        if not math.isfinite(score):
            raise BackendError(
                f"{image_name(image)} got the score {score}, so the model of '{self.path}' is broken. Train "
                "or export it again."
            )
        end = perf_counter()
        detection = Detection(
            score=score,
            normalised_score=self.calibration.normalise(score),
            threshold=self._threshold,
            is_anomaly=score > self._threshold,
            anomaly_map=None,
            reconstruction=None,
            timings=Timings(
                preprocess_ms=1000 * (prepared - start),
                inference_ms=1000 * (inferred - prepared),
                score_ms=1000 * (end - inferred),
            ),
        )
        return Examination(detection, self.score_rule, inputs, outputs)

    def detect_many(self, images: Iterable[ImageSource], *, with_map: bool = True) -> Iterator[Detection]:
        """Judge images one after the other, each when it is asked for.

        Args:
            images: Any number of images; see `detect`.
            with_map: See `detect`.

        Yields:
            One detection an image, in order.

        Raises:
            ImageError: An image cannot be read, which ends the iteration. `inspection.inspect_images` goes
                on.
        """
        return (self.detect(image, with_map=with_map) for image in images)

    def model_outputs(self, pixels: np.ndarray) -> ModelOutputs:
        """Return what the model gives for prepared images, for evaluation and parity.

        Args:
            pixels: uint8 (B, H, W, C) as `prepare_image` returns them, B >= 1.

        Returns:
            The outputs of all, computed one image at a time as `detect` does.
        """
        return ModelOutputs.concatenate([self._run(inputs) for inputs in scale_pixels(pixels)])

    def _run(self, inputs: np.ndarray) -> ModelOutputs:
        outputs = self._backend.run(inputs)
        reconstruction = self._outputs.get("reconstruction")
        return ModelOutputs(
            latent=outputs[self._outputs["latent"]],
            reconstructed_latent=outputs[self._outputs["reconstructed_latent"]],
            reconstruction=None if reconstruction is None else outputs[reconstruction],
        )

    def _checked_outputs(self, artefact: Artefact) -> dict[str, int]:
        """Return the position of each output after comparing model and metadata."""
        expected_input = (1, *artefact.metadata.preprocessing.input_shape)
        given_input = self._backend.input_details.shape
        shapes = [details.shape for details in self._backend.output_details]
        outputs = dict(artefact.metadata.outputs)
        if given_input != expected_input:
            problem = f"the model takes {given_input}, the metadata says {expected_input}"
        elif max(outputs.values()) >= len(shapes):
            problem = f"the model has {len(shapes)} outputs, the metadata names number {max(outputs.values())}"
        elif (
            len(shapes[outputs["latent"]]) != 4 or shapes[outputs["latent"]] != shapes[outputs["reconstructed_latent"]]
        ):
            problem = f"the latents have shapes {shapes}, twice the same (1, h, w, nz) was expected"
        elif "reconstruction" in outputs and shapes[outputs["reconstruction"]] != expected_input:
            problem = f"the reconstruction has shape {shapes[outputs['reconstruction']]}, not the input's"
        else:
            return outputs
        raise ArtefactError(f"Artefact '{self.path}' does not fit its metadata: {problem}. Export it again.")
