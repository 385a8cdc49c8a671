"""The Raspberry Pi's own cameras through picamera2: the one place that knows it."""

from __future__ import annotations

from concurrent.futures import TimeoutError as ResultTimeoutError
from contextlib import suppress
from typing import Any

import numpy as np

from edge_runtime.errors import MissingExtraError
from edge_runtime.sources.camera import CameraLost

DEFAULT_SIZE_PX = (1280, 720)
_FRAME_TIMEOUT_SECONDS = 5.0


class PiCamera:
    """A camera of the Raspberry Pi.

    Args:
        index: 0 for the first.
        camera_class: `picamera2.Picamera2`; tests pass a fake.

    Raises:
        CameraLost: It is not there now.
        MissingExtraError: picamera2 is not installed.
    """

    def __init__(self, index: int, camera_class: Any = None) -> None:
        camera_class = camera_class or _load_picamera2()
        self._name = f"picamera:{index}"
        try:
            self._camera = camera_class(index)
            try:
                self._begin()
            except Exception:
                with suppress(Exception):  # the first error is the one to tell
                    self._camera.close()  # else nobody could open it again
                raise
        except (RuntimeError, IndexError, OSError) as error:
            raise CameraLost(f"'{self._name}' cannot be opened: {error}. It is tried again.") from error

    def read(self) -> np.ndarray:
        """Wait for the next picture; see `Camera`."""
        try:
            job = self._camera.capture_array("main", wait=False)
            return np.asarray(job.get_result(timeout=_FRAME_TIMEOUT_SECONDS))
        except ResultTimeoutError as error:
            raise CameraLost(
                f"'{self._name}' gives no frames: none came for {_FRAME_TIMEOUT_SECONDS:g} s. It is opened again."
            ) from error
        except (RuntimeError, OSError) as error:
            raise CameraLost(f"'{self._name}' gives no frames: {error}. It is opened again.") from error

    def close(self) -> None:
        """Release the camera."""
        cancel = getattr(self._camera, "cancel_all_and_flush", None)  # older releases have none
        if cancel is not None:
            with suppress(Exception):  # a frame that came at this very moment cannot be cancelled any more
                cancel()  # closing waits for what was asked for before, such as a frame that never comes
        self._camera.close()

    def _begin(self) -> None:
        # libcamera's "BGR888" lies in memory as R, G, B.
        main = {"format": "BGR888", "size": DEFAULT_SIZE_PX}
        self._camera.configure(self._camera.create_still_configuration(main=main))
        self._camera.start()


def _load_picamera2() -> Any:
    try:
        from picamera2 import Picamera2
    except ImportError as error:  # not on PyPI for every system: it belongs to Raspberry Pi OS
        raise MissingExtraError(
            f"This needs picamera2, which cannot be imported ({error}). On Raspberry Pi OS: sudo apt install "
            "python3-picamera2, and make the virtual environment with --system-site-packages."
        ) from error
    return Picamera2
