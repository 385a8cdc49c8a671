"""Cameras, video files and streams: with OpenCV on a file and a server that the test makes, else with a fake."""

from __future__ import annotations

import http.server
import io
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from edge_runtime.back_off import BackOff
from edge_runtime.errors import MissingExtraError, SourceError
from edge_runtime.sources.camera import CameraLost, EndOfVideo
from edge_runtime.sources.folder import FolderSource
from edge_runtime.sources.live import LiveSource
from edge_runtime.sources.opening import SourceOptions, open_source, without_password
from edge_runtime.sources.pacing import parse_pacing
from edge_runtime.sources.picamera import PiCamera
from edge_runtime.sources.source import Frame, Source
from edge_runtime.sources.video_file import VideoFileSource
from tests.edge_runtime.watching.fakes import wait_for


def plain(value: int) -> np.ndarray:
    return np.full((48, 64, 3), value, np.uint8)


class FakeCamera:
    """Gives the pictures it is told to; an exception among them is raised."""

    def __init__(self, pictures: list[object], pause_seconds: float = 0.0) -> None:
        self.pictures = pictures
        self.pause_seconds = pause_seconds
        self.closed = False

    def read(self) -> np.ndarray:
        time.sleep(self.pause_seconds)
        picture = self.pictures.pop(0) if self.pictures else EndOfVideo()
        if isinstance(picture, Exception):
            raise picture
        assert isinstance(picture, np.ndarray)
        return picture

    def close(self) -> None:
        self.closed = True


def next_of(source: Source, timeout_seconds: float = 20.0) -> Frame:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        frame = source.next_frame(0.1)
        if frame is not None:
            return frame
    raise AssertionError(f"no frame came; {source.health()}")


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    source = LiveSource("camera:0", lambda: FakeCamera([plain(value) for value in range(10)]))
    source.start()
    wait_for(lambda: source.exhausted)
    frame = source.next_frame(1)
    assert frame is not None
    assert (frame.name, int(np.asarray(frame.content).max())) == ("frame 10", 9)
    assert source.dropped == 9
    assert source.next_frame(0.01) is None
    source.close()


def test_a_lost_camera_is_opened_again_with_growing_waits() -> None:
    cameras = [
        FakeCamera([plain(1), CameraLost("unplugged")], 0.05),
        CameraLost("not there"),
        RuntimeError("a driver's own error"),
        FakeCamera([plain(2), CameraLost("unplugged again")], 0.05),
        FakeCamera([plain(3)] * 100, 0.05),
    ]
    opened: list[float] = []

    def open_camera() -> FakeCamera:
        opened.append(time.monotonic())
        camera = cameras[len(opened) - 1]
        if isinstance(camera, Exception):
            raise camera
        return camera

    source = LiveSource("camera:0", open_camera, back_off=BackOff(first_seconds=0.3))
    source.start()
    assert int(np.asarray(next_of(source).content).max()) == 1
    states = set()

    def is_open_again() -> bool:
        states.add((source.health().state, source.health().message))
        return len(opened) >= 4

    wait_for(is_open_again)
    assert ("failed", "unplugged") in states
    assert ("failed", "not there") in states
    assert ("failed", "'camera:0' failed: a driver's own error.") in states
    assert int(np.asarray(next_of(source).content).max()) == 2
    assert int(np.asarray(next_of(source).content).max()) == 3
    assert source.health().state == "ok"
    waits = np.diff(opened)
    assert waits[2] > waits[1] > 0.1
    assert waits[3] < waits[2]  # a camera that has given a frame is not waited for as one that never came back
    assert isinstance(cameras[0], FakeCamera)
    assert cameras[0].closed
    source.close()


def test_a_camera_that_cannot_even_be_closed_is_opened_again() -> None:
    class Stuck(FakeCamera):
        def close(self) -> None:
            raise RuntimeError("the device is gone")

    cameras = [Stuck([CameraLost("unplugged")]), FakeCamera([plain(2)] * 100, 0.05)]
    source = LiveSource("camera:0", lambda: cameras.pop(0), back_off=BackOff(first_seconds=0.05))
    source.start()
    assert int(np.asarray(next_of(source).content).max()) == 2
    source.close()


def test_a_camera_that_falls_silent_without_an_error_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    now_seconds = 100.0
    monkeypatch.setattr("edge_runtime.sources.live.monotonic", lambda: now_seconds)
    ends = threading.Event()

    class Silent(FakeCamera):
        def read(self) -> np.ndarray:
            if not self.pictures:
                ends.wait()
            return super().read()

    source = LiveSource("camera:0", lambda: Silent([plain(1)]), silent_seconds=10)
    source.start()
    next_of(source)
    now_seconds = 109.0
    assert source.health().state == "ok"
    now_seconds = 111.0
    assert source.health().state == "failed"
    assert "no frame for 10 s" in source.health().message
    ends.set()
    source.close()


def test_what_can_never_work_is_said_at_the_start() -> None:
    def refuse() -> FakeCamera:
        raise MissingExtraError("install it")

    with pytest.raises(MissingExtraError, match="install it"):
        LiveSource("camera:0", refuse).start()


def test_a_camera_that_is_refused_late_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.sources.live._FIRST_TRY_SECONDS", 0.01)

    looked = threading.Event()

    def refuse() -> FakeCamera:
        looked.wait()
        raise MissingExtraError("install it")

    source = LiveSource("camera:0", refuse)
    source.start()
    assert source.health().state == "ok"
    looked.set()
    wait_for(lambda: source.health().state != "ok")
    assert source.health().message == "install it"
    source.close()


def test_waits_double_up_to_a_limit_and_begin_anew_after_a_success() -> None:
    back_off = BackOff(first_seconds=1, longest_seconds=5)
    waits = [back_off.next_seconds() for _ in range(100)]
    for wait, expected in zip(waits, [1, 2, 4, 5, 5, 5], strict=False):
        assert 0.75 * expected <= wait <= expected
    assert max(waits) <= 5
    back_off.reset()
    assert back_off.next_seconds() <= 1


def write_video(path: Path, values: list[int]) -> Path:
    cv2 = pytest.importorskip("cv2", reason="the camera extra is not installed")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for value in values:
        writer.write(np.dstack([plain(0)[..., 0], plain(0)[..., 0], plain(value)[..., 0]]))  # BGR: red
    writer.release()
    return path


def test_a_video_file_is_given_frame_by_frame_in_rgb(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "line.avi", [50, 100, 150, 200])))
    source.start()
    frames = [source.next_frame(0.1) for _ in range(4)]
    assert [round(float(np.asarray(frame.decode())[..., 0].mean()), -1) for frame in frames if frame] == [
        50,
        100,
        150,
        200,
    ]
    assert all(np.asarray(frame.decode())[..., 2].mean() < 20 for frame in frames if frame)
    assert frames[3] is not None
    assert frames[3].name == f"{tmp_path / 'line.avi'}, frame 4"
    assert source.next_frame(0.1) is None
    assert source.exhausted
    assert source.health().state == "ok"
    source.close()


@pytest.mark.parametrize("frame_rate", [0.0, 1000.0, 90_000.0])
def test_a_video_without_a_frame_rate_has_no_seconds(frame_rate: float) -> None:
    class Recording(FakeCamera):
        def __init__(self) -> None:
            super().__init__([plain(1)])
            self.frame_rate = frame_rate

    recording = Recording()
    source = VideoFileSource("line.webm", lambda: recording, parse_pacing("2s"))
    with pytest.raises(SourceError, match=r"'line\.webm' does not say how many frames .*--every be a number of frames"):
        source.start()
    source.close()
    assert recording.closed
    by_number = VideoFileSource("line.webm", Recording, parse_pacing("2"))
    by_number.start()
    assert by_number.next_frame(0) is not None
    by_number.close()


def test_a_video_that_is_none_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="the camera extra is not installed")
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(SourceError, match="no video that OpenCV can read"):
        open_source(str(tmp_path / "notes.mp4")).start()
    with pytest.raises(SourceError, match="does not exist"):
        open_source(str(tmp_path / "none.mp4")).start()


class MjpegServer:
    """A network camera on the loopback: JPEG files in an endless multipart answer, until it is taken away."""

    def __init__(self, port: int = 0) -> None:
        self.stop = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    while not server.stop.is_set():
                        file = io.BytesIO()
                        Image.fromarray(np.dstack([plain(180)[..., 0], plain(20)[..., 0], plain(20)[..., 0]])).save(
                            file, "JPEG"
                        )
                        content = file.getvalue()
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                        self.wfile.write(head.encode() + content + b"\r\n")
                        time.sleep(0.03)
                except OSError:
                    pass

            def log_message(self, *arguments: object) -> None:
                pass

        http.server.ThreadingHTTPServer.allow_reuse_address = True
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()


def test_a_network_camera_is_read_lost_and_found_again() -> None:
    pytest.importorskip("cv2", reason="the camera extra is not installed")
    camera = MjpegServer()
    source = open_source(f"http://user:secret@127.0.0.1:{camera.port}/stream.mjpg")
    assert "secret" not in source.name
    source.start()
    picture = np.asarray(next_of(source).decode())
    assert picture.shape == (48, 64, 3)
    assert picture[..., 0].mean() > 150 > 60 > picture[..., 2].mean()
    assert source.health().state == "ok"
    camera.close()
    deadline = time.monotonic() + 30
    while source.health().state == "ok":
        source.next_frame(0.1)
        assert time.monotonic() < deadline
    assert "secret" not in source.health().message
    camera = MjpegServer(camera.port)
    deadline = time.monotonic() + 30
    while source.health().state != "ok":
        source.next_frame(0.1)
        assert time.monotonic() < deadline
    next_of(source)
    source.close()
    camera.close()


def test_a_camera_that_is_not_there_is_a_state_and_no_error() -> None:
    pytest.importorskip("cv2", reason="the camera extra is not installed")
    source = open_source("camera:97")
    source.start()
    assert source.next_frame(0.1) is None
    assert source.health().state == "failed"
    assert "'camera:97' cannot be opened" in source.health().message
    source.close()


class FakeV4l2:
    """What the driver uses of `cv2.VideoCapture` for a USB camera; keeps how it was opened."""

    opened: ClassVar[list[tuple[object, ...]]] = []

    def __init__(self, *which: object) -> None:
        self.opened.append(which)

    def isOpened(self) -> bool:
        return True

    def set(self, property: int, value: float) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray]:
        return True, plain(7)

    def release(self) -> None:
        pass


@pytest.mark.parametrize("specification", ["/dev/video97", "/dev/v4l/by-id/usb-Maker_Camera_4711-video-index0"])
def test_a_usb_camera_is_opened_by_its_device_file(specification: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2", reason="the camera extra is not installed")
    monkeypatch.setattr(FakeV4l2, "opened", [])
    monkeypatch.setattr(cv2, "VideoCapture", FakeV4l2)
    source = open_source(specification)
    assert source.name == specification
    source.start()
    assert next_of(source).name.startswith("frame ")
    source.close()
    assert FakeV4l2.opened == [(specification, cv2.CAP_V4L2)]


def test_a_device_file_that_is_not_there_yet_is_waited_for_and_what_is_no_camera_refused(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="the camera extra is not installed")
    source = open_source("/dev/video97")
    source.start()
    assert source.health().state == "failed"
    assert "'/dev/video97' cannot be opened. It is tried again." in source.health().message
    source.close()
    with pytest.raises(SourceError, match=r"'/dev' is no camera. `ls .*/dev/v4l/by-id/"):
        open_source("/dev").start()
    with pytest.raises(SourceError, match="never ends; --once is for a folder"):
        open_source("/dev/video97", SourceOptions(once=True))
    with pytest.raises(SourceError, match="'/dev/video97' is none"):
        open_source("/dev/video97", SourceOptions(state="judged"))
    assert isinstance(open_source("/dev/shm/line"), FolderSource)


class FakePicamera2:
    """What the driver uses of `picamera2.Picamera2`."""

    def __init__(self, index: int) -> None:
        if index > 0:
            raise IndexError("list index out of range")
        self.calls: list[str] = []

    def create_still_configuration(self, main: dict[str, object]) -> dict[str, object]:
        return main

    def configure(self, configuration: dict[str, object]) -> None:
        assert configuration["format"] == "BGR888"

    def start(self) -> None:
        pass

    def capture_array(self, stream: str, wait: bool) -> FakeJob:
        assert not wait
        return FakeJob(plain(7))

    def cancel_all_and_flush(self) -> None:
        self.calls.append("cancel")

    def close(self) -> None:
        self.calls.append("close")


class FakeJob:
    """What is asked of `picamera2`'s camera thread."""

    def __init__(self, picture: np.ndarray | None) -> None:
        self._future: Future[np.ndarray] = Future()
        if picture is not None:
            self._future.set_result(picture)

    def get_result(self, timeout: float | None = None) -> np.ndarray:
        return self._future.result(timeout)


def test_a_raspberry_pis_camera_that_sends_nothing_more_is_lost_and_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.sources.picamera._FRAME_TIMEOUT_SECONDS", 0.1)

    class Silent(FakePicamera2):
        def capture_array(self, stream: str, wait: bool) -> FakeJob:
            return FakeJob(None)

    driver = Silent(0)
    camera = PiCamera(0, lambda index: driver)
    with pytest.raises(CameraLost, match=r"'picamera:0' gives no frames: none came for 0\.1 s"):
        camera.read()
    camera.close()
    assert driver.calls == ["cancel", "close"]


def test_a_raspberry_pis_camera_that_does_not_start_is_released() -> None:
    class Busy(FakePicamera2):
        def start(self) -> None:
            raise RuntimeError("Camera frontend has timed out")

        def close(self) -> None:
            super().close()
            raise RuntimeError("not running")

    driver = Busy(0)
    with pytest.raises(CameraLost, match=r"'picamera:0' cannot be opened: Camera frontend has timed out"):
        PiCamera(0, lambda index: driver)
    assert driver.calls == ["close"]


def test_the_raspberry_pis_camera_is_read_through_picamera2() -> None:
    camera = PiCamera(0, FakePicamera2)
    assert camera.read().shape == (48, 64, 3)
    camera.close()
    with pytest.raises(CameraLost, match=r"picamera:1.*list index"):
        PiCamera(1, FakePicamera2)


def test_without_picamera2_the_error_names_the_package_of_the_system() -> None:
    with pytest.raises(MissingExtraError, match="sudo apt install python3-picamera2"):
        open_source("picamera:0").start()


@pytest.mark.parametrize(
    ("specification", "name"),
    [
        ("0", "camera:0"),
        ("camera:2", "camera:2"),
        ("picamera:0", "picamera:0"),
        ("rtsp://admin:pass@10.0.0.5:554/live?token=1", "rtsp://10.0.0.5:554/live"),
    ],
)
def test_a_source_is_known_by_what_is_written(specification: str, name: str) -> None:
    assert open_source(specification).name == name


def test_passwords_stay_out_of_names() -> None:
    assert without_password("http://a:b@host:1/x?key=2#f") == "http://host:1/x"


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    for specification, word in (
        (str(tmp_path / "a.png"), "tfganomaly inspect"),
        (str(tmp_path / "no/such/folder"), "does not exist"),
        ("ftp://host/x", "rtsp, rtsps, http, https"),
        ("ftp://user:secret@host/x", "^'ftp://host/x' begins with"),
        ("rtsp://[x/", "begins with 'rtsp://' is none"),
        ("", "SOURCE is empty"),
        (" ", "SOURCE is empty"),
    ):
        with pytest.raises(SourceError, match=word):
            open_source(specification)
    with pytest.raises(SourceError, match="never ends"):
        open_source("camera:0", SourceOptions(once=True))
