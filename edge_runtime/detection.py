"""What a detector says about one image: score and verdict at once, everything else when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_runtime.artefact import ArtefactMetadata
from edge_runtime.image_figures import cell_figures
from edge_runtime.output_reading import OutputReader
from edge_runtime.preprocessing import scale_pixels, unscale_pixels
from edge_runtime.scoring import ModelOutputs, anomaly_maps


@dataclass(frozen=True)
class Timings:
    """How long one image took, in milliseconds.

    Attributes:
        preprocess_ms: Reading, decoding and resizing.
        inference_ms: The interpreter, with filling its input and copying its outputs.
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


class Examination:
    """The verdict on one image, and what its map, its reconstruction and its timings are made of; some kilobytes.

    It needs no model any more: any thread may ask it. A loop makes one a frame and asks most of them for nothing but
    score and verdict, so all else is made when it is asked for.

    Args:
        score: The raw score.
        threshold: The raw score above which an image is an anomaly.
        clock_readings: `perf_counter` in seconds: at the start, with the image prepared, after the model, at the end.
        pixels: uint8 (H, W, C), what the model was given; looked at again for the map alone.
        raw_outputs: What the backend gave; None where neither map nor reconstruction will be asked for.
        detail: `prepare_detail` of the image; None where the map is not made from it.
        windows: `scoring.window_distances` of the image.
        reader: What reads the outputs.
        metadata: Of the artefact; its score rule says where the map comes from.

    Attributes:
        score, threshold, is_anomaly: As in `Detection`.
    """

    __slots__ = (
        "_clock_readings",
        "_detail",
        "_metadata",
        "_pixels",
        "_raw_outputs",
        "_reader",
        "_windows",
        "is_anomaly",
        "score",
        "threshold",
    )

    def __init__(
        self,
        score: float,
        threshold: float,
        clock_readings: tuple[float, float, float, float],
        pixels: np.ndarray,
        raw_outputs: list[np.ndarray] | None,
        detail: np.ndarray | None,
        windows: np.ndarray | None,
        reader: OutputReader,
        metadata: ArtefactMetadata,
    ) -> None:
        self.score = score
        self.threshold = threshold
        self.is_anomaly = score > threshold
        self._clock_readings = clock_readings
        self._pixels = pixels
        self._raw_outputs = raw_outputs
        self._detail = detail
        self._windows = windows
        self._reader = reader
        self._metadata = metadata

    @property
    def detection(self) -> Detection:
        """Score and verdict."""
        return Detection(
            score=self.score,
            normalised_score=self.normalised_score,
            threshold=self.threshold,
            is_anomaly=self.is_anomaly,
            anomaly_map=None,
            reconstruction=None,
            timings=self.timings,
        )

    @property
    def normalised_score(self) -> float:
        """The score in [0, 1]; see `Detection`."""
        return float(self._metadata.calibration.normalise(self.score))

    @property
    def total_ms(self) -> float:
        """From the picture to the verdict; see `Timings`."""
        return 1000 * (self._clock_readings[3] - self._clock_readings[0])

    @property
    def timings(self) -> Timings:
        """How long it took."""
        start, prepared, inferred, end = self._clock_readings
        return Timings(
            preprocess_ms=1000 * (prepared - start),
            inference_ms=1000 * (inferred - prepared),
            score_ms=1000 * (end - inferred),
        )

    @property
    def outputs(self) -> ModelOutputs:
        """What the model gave.

        Raises:
            ValueError: The image was examined without its map.
        """
        if self._raw_outputs is None:
            raise ValueError("The image was examined without its map. Ask for it with with_map=True.")
        return self._reader.read(self._raw_outputs)

    def anomaly_map(self) -> np.ndarray:
        """Make the map, float32 (H, W) in the model's input pixels, >= 0."""
        outputs, inputs = self.outputs, scale_pixels(self._pixels)[np.newaxis]
        textures = None if self._detail is None else cell_figures(self._detail)[np.newaxis]
        return anomaly_maps(self._metadata.score_rule, inputs, outputs, textures, self._windows)[0]

    def reconstruction(self) -> np.ndarray | None:
        """Return how the model would draw the part if it were good, uint8 (H, W, C); None where it does not."""
        drawn = self.outputs.reconstruction
        return None if drawn is None else unscale_pixels(drawn[0])
