"""Judges uploads with a detector of their own, one at a time, by the model and the threshold of the watch."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from PIL import Image

from edge_runtime.detection import Detection
from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import ArtefactError
from edge_runtime.heatmap import heatmap_overlay
from edge_runtime.image_reading import decode_image
from edge_runtime.serving.freed_memory import give_back_freed_memory
from edge_runtime.watching.hang_watchdog import HangWatchdog
from edge_runtime.watching.model_slot import DetectorLoader, ModelSlot, judge_test_picture


@dataclass(frozen=True)
class JudgedUpload:
    """What is said of an upload.

    Attributes:
        detection: Score and verdict, without the map.
        model_sha256: Of the artefact that judged it, the first 12 hexadecimal digits.
        heatmap: The picture with its anomaly map, RGB; None when it was not asked for.
    """

    detection: Detection
    model_sha256: str
    heatmap: Image.Image | None


class UploadJudge:
    """Judges images that were sent; safe in any thread.

    A detector belongs to one thread, so uploads need a second one of the same model. It is loaded in the same step as
    the watch's own: which file lies at the path when an upload comes does not count.

    Args:
        slot: The model of the watch, which is not running yet. From now on the slot loads both detectors.
        load_detector: Makes the detector for uploads.
        watchdog: Whether an inference hangs.
        max_pixels: Largest picture that is judged.

    Raises:
        ArtefactError: The artefact cannot be used, or is not the one that the watch has loaded.
        BackendError: No interpreter is installed, or it cannot load the model.
    """

    def __init__(self, slot: ModelSlot, load_detector: DetectorLoader, watchdog: HangWatchdog, max_pixels: int) -> None:
        self._slot = slot
        self._load_watching = slot.load
        self._load_judging = load_detector
        self._watchdog = watchdog
        self._max_pixels = max_pixels
        # By the watch's detector. What the slot refuses or replaces goes away with its counterpart.
        self._judging: WeakKeyDictionary[AnomalyDetector, AnomalyDetector] = WeakKeyDictionary()
        self._judging[slot.current.detector] = load_detector(slot.path)
        if not _holds(slot.path, slot.current.sha256):
            raise ArtefactError(f"Artefact '{slot.path}' changed while it was read. Move it into place in one step.")
        slot.load = self._load_both
        # One lock for decoding and drawing too: of large pictures only one at a time is in memory.
        self._lock = threading.Lock()

    def judge(self, content: bytes, name: str, *, with_heatmap: bool) -> JudgedUpload:
        """Return what the watch's model says of a picture.

        Args:
            content: The bytes of an image file.
            name: How errors call it.
            with_heatmap: Whether to draw the anomaly map.

        Raises:
            ImageError: It is no image, or larger than is judged.
            BackendError: The model failed.
        """
        with self._lock:
            try:
                return self._judged(content, name, with_heatmap)
            finally:
                give_back_freed_memory()

    def _judged(self, content: bytes, name: str, with_heatmap: bool) -> JudgedUpload:
        picture = decode_image(content, name, max_pixels=self._max_pixels)
        watching = self._slot.current
        detector = self._judging[watching.detector]
        detector.threshold = watching.detector.threshold
        with self._watchdog.inference("uploads"):
            examination = detector.examine(picture)
        heatmap = None
        if with_heatmap:
            anomaly_map = examination.anomaly_map()
            heatmap = heatmap_overlay(picture, anomaly_map, detector.preprocessing, detector.calibration)
        return JudgedUpload(examination.detection, watching.sha256, heatmap)

    def _load_both(self, path: Path) -> AnomalyDetector:
        """Return a detector for the watch, having loaded its counterpart; the slot sees to it that the file stays."""
        watching, judging = self._load_watching(path), self._load_judging(path)
        judge_test_picture(judging)
        self._judging[watching] = judging
        return watching


def _holds(path: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest().startswith(sha256)
    except OSError:
        return False
