"""Judges uploads with a detector of its own, one at a time, by the model and the threshold of the watch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from edge_runtime.detector import AnomalyDetector, Examination
from edge_runtime.image_reading import decode_image
from edge_runtime.watching.model_slot import DetectorLoader


class UploadJudge:
    """Judges images that were sent; safe in any thread.

    Args:
        model: The artefact.
        load_detector: Makes a detector of it.
        model_sha256: Gives the checksum of what the watch judges with now; when it changes the artefact is read again.
        threshold: Gives the threshold of the watch.
    """

    def __init__(
        self,
        model: Path,
        load_detector: DetectorLoader,
        model_sha256: Callable[[], str],
        threshold: Callable[[], float],
    ) -> None:
        self._model = model
        self._load_detector = load_detector
        self._model_sha256 = model_sha256
        self._threshold = threshold
        self._loaded_sha256 = model_sha256()
        self._detector = load_detector(model)
        # One lock for decoding too: of large pictures only one at a time is in memory.
        self._lock = threading.Lock()

    def judge(self, content: bytes, name: str) -> tuple[Image.Image, Examination, AnomalyDetector]:
        """Return the picture, what came out, and what judged it.

        Args:
            content: The bytes of an image file.
            name: How errors call it.

        Raises:
            ImageError: It is no image, or larger than `MAX_IMAGE_PIXELS`.
            BackendError, ArtefactError: The model failed.
        """
        with self._lock:
            picture = decode_image(content, name)
            detector = self._current()
            detector.threshold = self._threshold()
            return picture, detector.examine(picture), detector

    def _current(self) -> AnomalyDetector:
        wanted = self._model_sha256()
        if wanted != self._loaded_sha256:
            self._detector = self._load_detector(self._model)
            self._loaded_sha256 = wanted
        return self._detector
