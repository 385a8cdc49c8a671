"""A video file as a source: every frame, one after the other."""

from __future__ import annotations

from edge_runtime.sources.camera import Camera, CameraLost, CameraOpener, EndOfVideo
from edge_runtime.sources.source import SOURCE_COMPONENT, Frame
from edge_runtime.watching.events import ComponentHealth


class VideoFileSource:
    """Gives each frame of a video file once, as fast as they are asked for; none is dropped.

    Args:
        name: The file's path.
        open_video: Opens it.
    """

    def __init__(self, name: str, open_video: CameraOpener) -> None:
        self.name = name
        self.dropped = 0
        self.exhausted = False
        self._open_video = open_video
        self._video: Camera | None = None
        self._frames = 0
        self._problem = ""

    def start(self) -> None:
        """Open the file.

        Raises:
            SourceError: It does not exist or is no video.
            MissingExtraError: OpenCV is not installed.
        """
        self._video = self._open_video()

    def next_frame(self, timeout_seconds: float) -> Frame | None:
        """Return the next frame, or None at the end of the video."""
        if self._video is None:
            return None
        try:
            picture = self._video.read()
        except (EndOfVideo, CameraLost) as end:
            self.exhausted = True
            self._problem = str(end) if isinstance(end, CameraLost) else ""
            return None
        self._frames += 1
        return Frame(f"{self.name}, frame {self._frames}", picture)

    def give_back(self) -> None:
        """Nothing: what is shown once is not kept."""

    def health(self) -> ComponentHealth:
        """Failed when the file broke off."""
        return ComponentHealth(SOURCE_COMPONENT, "failed" if self._problem else "ok", self._problem)

    def close(self) -> None:
        """Close the file."""
        if self._video is not None:
            self._video.close()
            self._video = None
