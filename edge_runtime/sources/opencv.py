"""Cameras, video files and streams through OpenCV: the one place that knows `cv2`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.extras import needs_extra
from edge_runtime.sources.camera import CameraLost, EndOfVideo

OPEN_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 5_000
"""Without these FFmpeg waits for half a minute and more when a network camera goes away."""


class OpenCvCamera:
    """A camera by its index or device file, a video file or the URL of a stream (RTSP, MJPEG over HTTP).

    Args:
        target: Index, device file as a `Path`, path of a video file or URL.
        name: How errors call it, with passwords left out.
        is_file: Whether it ends.

    Raises:
        CameraLost: It is not there now.
        SourceError: The file does not exist or is no video; or the path of a camera leads to something else.
        MissingExtraError: OpenCV is not installed.
    """

    def __init__(self, target: int | str | Path, name: str, *, is_file: bool = False) -> None:
        cv2 = _load_cv2()
        self._bgr_to_rgb = cv2.COLOR_BGR2RGB
        self._convert = cv2.cvtColor
        self._rate_property = cv2.CAP_PROP_FPS
        self._name = name
        self._is_file = is_file
        self._frames = 0
        if is_file and not Path(str(target)).is_file():
            raise SourceError(f"Video file '{name}' does not exist. Check the path.")
        if isinstance(target, Path) and target.exists() and not target.is_char_device():
            raise SourceError(f"'{name}' is no camera. `ls /dev/video* /dev/v4l/by-id/*` shows those that are there.")
        if isinstance(target, (int, Path)):
            which = (target,) if isinstance(target, int) else (str(target), cv2.CAP_V4L2)
            self._capture = cv2.VideoCapture(*which)
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not one from half a second ago
        else:
            timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC]
            # The time limits hold for the FFmpeg backend only, and only as parameters of opening.
            self._capture = cv2.VideoCapture(target, cv2.CAP_FFMPEG, [*timeouts, READ_TIMEOUT_MS])
        if self._capture.isOpened():
            return
        self._capture.release()
        if is_file:
            raise SourceError(f"'{name}' is no video that OpenCV can read. Convert it, for example to MP4 or AVI.")
        raise CameraLost(f"'{name}' cannot be opened. It is tried again.")

    def read(self) -> np.ndarray:
        """Wait for the next picture; see `Camera`."""
        was_read, picture = self._capture.read()
        if was_read and picture is not None:
            self._frames += 1
            return picture if picture.ndim == 2 else self._convert(picture, self._bgr_to_rgb)
        if self._is_file and self._frames:
            raise EndOfVideo
        if self._is_file:
            raise SourceError(f"'{self._name}' is a video without a frame. Convert it, for example to MP4 or AVI.")
        raise CameraLost(f"'{self._name}' gives no frames. It is opened again.")

    @property
    def frame_rate(self) -> float:
        """See `Video`."""
        return float(self._capture.get(self._rate_property))

    def close(self) -> None:
        """Release the device, file or connection."""
        self._capture.release()


def _load_cv2() -> Any:
    # FFmpeg and V4L2 write their troubles to standard error; the health says it in one line instead.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")  # UDP tears frames on busy networks
    with needs_extra("camera", "OpenCV"):
        import cv2
    return cv2
