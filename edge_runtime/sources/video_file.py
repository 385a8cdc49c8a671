"""A video file as a source: every frame, one after the other."""

from __future__ import annotations

from edge_runtime.errors import SourceError
from edge_runtime.sources.camera import CameraLost, EndOfVideo, Video, VideoOpener
from edge_runtime.sources.pacing import Pacing
from edge_runtime.sources.source import SOURCE_COMPONENT, Frame
from edge_runtime.watching.events import ComponentHealth

_RATES_BELOW = 1000.0  # FFmpeg tells the ticks of the clock in a second, 1000 or 90000, of a file that has no rate


class VideoFileSource:
    """Gives each frame of a video file once, as fast as they are asked for; none is dropped.

    Args:
        name: The file's path.
        open_video: Opens it.
        pacing: Which of its frames the caller takes. Seconds between them are meant in the video's time, which has
            nothing to do with the clock, so `start` turns them into frames.
    """

    def __init__(self, name: str, open_video: VideoOpener, pacing: Pacing | None = None) -> None:
        self.name = name
        self.dropped = 0
        self.exhausted = False
        self._open_video = open_video
        self._pacing = Pacing() if pacing is None else pacing
        self._video: Video | None = None
        self._frames = 0
        self._problem = ""

    def start(self) -> None:
        """Open the file.

        Raises:
            SourceError: It does not exist or is no video, or has no frame rate to turn seconds into frames by.
            MissingExtraError: OpenCV is not installed.
        """
        self._video = self._open_video()
        if self._pacing.every_seconds:
            self._pacing.count_frames(self._frame_rate(self._video))

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

    def _frame_rate(self, video: Video) -> float:
        rate = video.frame_rate
        if not 0 < rate < _RATES_BELOW:
            raise SourceError(
                f"'{self.name}' does not say how many frames it has in a second, so none can be chosen by time. Let "
                "--every be a number of frames, such as 50."
            )
        return rate
