"""Turns what a user writes as SOURCE into a source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from edge_runtime.errors import SourceError
from edge_runtime.sources.camera import Camera, Video
from edge_runtime.sources.folder import FolderSource
from edge_runtime.sources.live import LiveSource
from edge_runtime.sources.pacing import Pacing
from edge_runtime.sources.source import Source
from edge_runtime.sources.state_file import StateFile
from edge_runtime.sources.video_file import VideoFileSource

STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
_KINDS = "a folder, a video, camera:0, /dev/video0, picamera:0 or a stream's URL"
_DEVICES, _SHARED_MEMORY = Path("/dev"), Path("/dev/shm")


@dataclass(frozen=True)
class SourceOptions:
    """What decides how a source is read.

    Attributes:
        once: Of a folder: end when all complete files were judged.
        include_existing: Of a folder: judge what is there at the start too.
        settle_seconds: Of a folder: how long a file must be unchanged when nobody says that it was closed, or it cannot
            be decoded.
        state: Of a folder: the file that keeps what was judged over a restart.
    """

    once: bool = False
    include_existing: bool = True
    settle_seconds: float = 1.0
    state: str | None = None


def open_source(specification: str, options: SourceOptions | None = None, pacing: Pacing | None = None) -> Source:
    """Return the source that a user means; nothing is opened before `start`.

    Args:
        specification: A folder; a video file; "camera:0" or "0"; a camera's device file, such as "/dev/video0" or one
            in /dev/v4l/by-id; "picamera:0"; a URL of `STREAM_SCHEMES`.
        options: How to read it.
        pacing: Which of its frames the caller takes. That of a video file is turned from seconds into frames when the
            file is opened.

    Raises:
        SourceError: It is empty, none of these, or not of a kind that the options fit.
    """
    if not specification.strip():  # as a path it would be the working directory
        raise SourceError(f"SOURCE is empty. Give {_KINDS}; '.' is the current folder.")
    options = options or SourceOptions()
    path = Path(specification)
    scheme = specification.partition("://")[0].lower() if "://" in specification else ""
    number = re.fullmatch(r"(?:(camera|picamera):)?(\d{1,3})", specification)
    is_device = path.is_relative_to(_DEVICES) and not path.is_relative_to(_SHARED_MEMORY)  # where folders may be
    if options.once and (scheme or number or is_device):
        raise SourceError(f"'{without_password(specification)}' never ends; --once is for a folder. Leave it out.")
    is_video = path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()
    if options.state is not None and (scheme or is_device or is_video or (number and not path.exists())):
        raise SourceError(f"--state is for a folder, and '{without_password(specification)}' is none. Leave it out.")
    if scheme:
        name = without_password(specification)
        if scheme not in STREAM_SCHEMES:
            raise SourceError(f"'{name}' begins with {scheme}://; expected one of {', '.join(STREAM_SCHEMES)}.")
        return LiveSource(name, partial(_open_stream, specification, name))
    if is_device:
        return LiveSource(specification, partial(_open_stream, path, specification))
    if number and not path.exists():
        index = int(number[2])
        if number[1] == "picamera":
            return LiveSource(f"picamera:{index}", partial(_open_picamera, index))
        return LiveSource(f"camera:{index}", partial(_open_stream, index, f"camera:{index}"))
    if is_video:
        return VideoFileSource(specification, partial(_open_video, specification), pacing)
    if path.is_file():
        raise SourceError(
            f"'{specification}' is a file and no video ({', '.join(VIDEO_SUFFIXES)}). Give {_KINDS}; for single images "
            "there is `tfganomaly inspect`."
        )
    if not path.exists() and not path.parent.is_dir():
        raise SourceError(f"'{specification}' does not exist. Give {_KINDS}.")
    return FolderSource(
        path,
        once=options.once,
        include_existing=options.include_existing,
        settle_seconds=options.settle_seconds,
        state=None if options.state is None else StateFile(options.state),
    )


def without_password(url: str) -> str:
    """Return a URL as it may stand in a log: user, password and query left out.

    Raises:
        SourceError: It is no URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise SourceError(f"The URL that begins with '{url.partition('://')[0]}://' is none: {error}.") from None
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def _open_stream(target: int | str | Path, name: str) -> Camera:
    from edge_runtime.sources.opencv import OpenCvCamera

    return OpenCvCamera(target, name)


def _open_video(path: str) -> Video:
    from edge_runtime.sources.opencv import OpenCvCamera

    return OpenCvCamera(path, path, is_file=True)


def _open_picamera(index: int) -> Camera:
    from edge_runtime.sources.picamera import PiCamera

    return PiCamera(index)
