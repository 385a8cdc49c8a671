"""A camera or stream as a source: the newest frame wins, an outage is waited out."""

from __future__ import annotations

import threading
from contextlib import suppress
from time import monotonic

import numpy as np

from edge_runtime.back_off import BackOff
from edge_runtime.errors import MissingExtraError, SourceError, TfganomalyError
from edge_runtime.sources.camera import Camera, CameraLost, CameraOpener, EndOfVideo
from edge_runtime.sources.source import SOURCE_COMPONENT, Frame
from edge_runtime.watching.events import ComponentHealth

# Longer than a camera takes to give up (`opencv.OPEN_TIMEOUT_MS`): a process that ends while a thread is inside a
# driver is aborted by it.
_JOIN_SECONDS = 7.0
_FIRST_TRY_SECONDS = 3.0


class LiveSource:
    """Takes pictures in a thread of its own and keeps the newest.

    A frame that nobody took before the next one came is dropped and counted. When the camera is lost it is opened again
    and again, with growing waits.

    Args:
        name: As the user named it, with passwords left out.
        open_camera: Opens the camera.
        back_off: The waits between two tries.
        silent_seconds: Without a frame for so long the health says so, also when the camera reports no error.
    """

    def __init__(
        self,
        name: str,
        open_camera: CameraOpener,
        *,
        back_off: BackOff | None = None,
        silent_seconds: float = 10.0,
    ) -> None:
        self.name = name
        self.dropped = 0
        self.exhausted = False
        self._open_camera = open_camera
        self._back_off = back_off or BackOff()
        self._silent_seconds = silent_seconds
        self._changed = threading.Condition()
        self._newest: np.ndarray | None = None
        self._frames = 0
        self._latest_seconds = monotonic()
        self._problem = ""
        self._stop = threading.Event()
        self._tried = threading.Event()
        self._refusal: SourceError | MissingExtraError | None = None
        self._thread = threading.Thread(target=self._record, name=f"source {name}", daemon=True)

    def start(self) -> None:
        """Begin to record; what can never work is said at once.

        Raises:
            SourceError, MissingExtraError: The first try to open the camera said so.
        """
        self._thread.start()
        self._tried.wait(_FIRST_TRY_SECONDS)
        if self._refusal is not None:
            raise self._refusal

    def next_frame(self, timeout_seconds: float) -> Frame | None:
        """Return the newest frame that has not been given yet; see `Source`."""
        with self._changed:
            if self._newest is None:
                self._changed.wait_for(lambda: self._newest is not None or self.exhausted, timeout_seconds)
            picture, self._newest = self._newest, None
            return None if picture is None else Frame(f"frame {self._frames}", picture)

    def give_back(self) -> None:
        """Nothing: a frame that has gone by does not come again."""

    def health(self) -> ComponentHealth:
        """Failed while no frames come."""
        with self._changed:
            problem = self._problem
            silent_seconds = monotonic() - self._latest_seconds
        if problem:
            return ComponentHealth(SOURCE_COMPONENT, "failed", problem)
        if silent_seconds > self._silent_seconds:
            return ComponentHealth(
                SOURCE_COMPONENT, "failed", f"'{self.name}' has given no frame for {self._silent_seconds:g} s or more."
            )
        return ComponentHealth(SOURCE_COMPONENT, "ok")

    def close(self) -> None:
        """Stop recording and release the camera."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)  # a driver that hangs must not keep the process from ending

    def _record(self) -> None:
        camera: Camera | None = None
        while not self._stop.is_set():
            try:
                if camera is None:
                    camera = self._open_camera()
                    self._tried.set()
                self._keep(camera.read())
                self._back_off.reset()
            except EndOfVideo:
                self._end()
                break
            except Exception as error:  # a driver may raise anything, and the inspection goes on without it
                if not self._tried.is_set() and isinstance(error, (SourceError, MissingExtraError)):
                    self._refusal = error
                    self._lose(error)  # `start` may have gone on without waiting for it
                    return
                _release(camera)
                camera = None
                self._lose(error)
                self._stop.wait(self._back_off.next_seconds())
        _release(camera)

    def _lose(self, error: Exception) -> None:
        known = isinstance(error, (CameraLost, TfganomalyError))
        with self._changed:
            self._problem = str(error) if known else f"'{self.name}' failed: {error or type(error).__name__}."
        self._tried.set()

    def _keep(self, picture: np.ndarray) -> None:
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = picture
            self._frames += 1
            self._latest_seconds = monotonic()
            self._problem = ""
            self._changed.notify()

    def _end(self) -> None:
        with self._changed:
            self.exhausted = True
            self._changed.notify()


def _release(camera: Camera | None) -> None:
    if camera is not None:
        with suppress(Exception):  # a driver in trouble may raise here too, and the thread must go on
            camera.close()
