"""A folder as a source: the images in it and those that come, each once, each when it is complete.

A file is complete when its writer has closed it or moved it there (the system says so, through `watchdog`), or when two
looks at the folder, `settle_seconds` or more apart, found the same size and time of change. The looks never stop, so
nothing is missed where the system says nothing: network shares, a folder that vanished and returned, an overflow.

Some writers close a file several times before it is whole. So one that has just changed is given only when it can be
decoded, and one that is empty only when it stays so; what is damaged or empty for good is given by a later look.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from threading import Event
from time import monotonic, time

from edge_runtime.errors import SourceError
from edge_runtime.sources.folder_listing import images_below, is_hidden, is_listed_image, listing_order
from edge_runtime.sources.folder_observer import FolderObserver
from edge_runtime.sources.seen_files import SeenFiles, content_fingerprint, fingerprint
from edge_runtime.sources.source import SOURCE_COMPONENT, Frame
from edge_runtime.sources.state_file import StateFile
from edge_runtime.watching.events import ComponentHealth

MAX_FILE_BYTES = 512 * 1024 * 1024
_GIVE_UP_SECONDS = 30.0  # what is empty or cannot be opened for so long will be no picture
_LOOK_SHARE_OF_TIME = 0.1  # a folder that takes long to list is listed less often
_IMAGES_A_PART = 2000  # of a look; the loop has chores about once a second, also on a slow device


@dataclass(slots=True)
class _FileLook:
    """What a look at the folder found of one file; as long as it finds the same, the first stays."""

    size_bytes: int
    modified_ns: int
    since_seconds: float = field(compare=False)
    was_tried: bool = field(default=False, compare=False)


@dataclass(slots=True)
class _FolderLook:
    """A look at the whole folder that is under way.

    Attributes:
        images: What is still to be listed.
        files: What was found of the files that were not given yet, by path.
        settled: Those of them that have not changed, with the key that sorts them.
        num_unread: How many were tried before, again and again, and could not be read.
        spent_seconds: How long it took until now.
    """

    images: Iterator[tuple[str, os.stat_result]]
    files: dict[str, _FileLook] = field(default_factory=dict)
    settled: list[tuple[str, str]] = field(default_factory=list)
    num_unread: int = 0
    spent_seconds: float = 0.0


class FolderSource:
    """Gives the images in a folder and below it; a file that is changed later is a new image.

    Hidden files and folders (a leading dot) are passed over, and links to folders are not followed, as `find_images`
    does.

    Args:
        folder: The folder. It may vanish and return; what was judged is remembered.
        once: End when every complete file has been given, instead of waiting for more.
        include_existing: Whether files that are there at the start are given.
        settle_seconds: How long a file must be unchanged when nobody says that it was closed, or it cannot be decoded.
        seen: The record of what was given.
        state: Keeps that record over a restart. A file is put there once its frame has been dealt with, that is when
            the next one is asked for, or at the end.

    Raises:
        SourceError: The path is a file, or `once` was asked for and it does not exist.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        once: bool = False,
        include_existing: bool = True,
        settle_seconds: float = 1.0,
        seen: SeenFiles | None = None,
        state: StateFile | None = None,
    ) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise SourceError(f"'{folder}' is a file; a folder of images was expected.")
        if once and not self.folder.is_dir():
            raise SourceError(f"Folder '{folder}' does not exist. Check the path.")
        self.dropped = 0
        self.exhausted = False
        self._once = once
        self._include_existing = include_existing
        self._settle_seconds = settle_seconds
        self._seen = SeenFiles() if seen is None else seen
        self._state = state
        self._unrecorded: list[int] = []
        self._root_length = len(os.path.join(self.folder, ""))  # noqa: PTH118 - with the separator at its end
        self._look: _FolderLook | None = None
        self._unsettled: dict[str, _FileLook] = {}
        self._ready: deque[str] = deque()
        self._awake = Event()
        self._observer = FolderObserver(self.folder, self._awake)
        self._next_look_seconds = 0.0
        self._problem = ""
        self._files_unread = 0

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self.folder)

    def start(self) -> None:
        """Begin to watch; without `include_existing` what is there now is passed over.

        With a state file only at its first start: later, what is there and not in the file has come meanwhile.

        Raises:
            SourceError, OutputError: The state file cannot be used.
        """
        if self._state is not None:
            self._seen.add_all(self._state.open())
        self._observer.keep_running()
        if not self._include_existing and (self._state is None or self._state.is_new):
            with suppress(OSError):  # it is away; what it brings when it comes is new
                for path, status in images_below(os.fspath(self.folder)):
                    self._remember(self._mark(path, status))
            self._record()

    def next_frame(self, timeout_seconds: float) -> Frame | None:
        """Return the next complete file that has not been given yet; see `Source`."""
        self._record()
        deadline_seconds = monotonic() + timeout_seconds
        while True:
            frame = self._next_ready(deadline_seconds)
            if frame is not None or self._ready:
                return frame
            now_seconds = monotonic()
            if now_seconds >= self._next_look_seconds:
                is_complete = self._look_on(now_seconds)
                if self._ready:
                    continue
                if not is_complete:
                    if monotonic() >= deadline_seconds:
                        return None
                    continue
                if self._once and not self._unsettled and not self._problem:
                    self.exhausted = True
                    return None
            wait_seconds = min(deadline_seconds, self._next_look_seconds) - monotonic()
            if wait_seconds > 0:
                self._awake.wait(wait_seconds)
            if self._awake.is_set():
                self._awake.clear()
            elif monotonic() >= deadline_seconds:
                return None

    def give_back(self) -> None:
        """Leave the latest file out of the state file; see `Source`."""
        for mark in self._unrecorded:
            self._seen.discard(mark)
        self._unrecorded.clear()

    def health(self) -> ComponentHealth:
        """Failed while the folder is away, degraded while files in it cannot be read."""
        if self._problem:
            return ComponentHealth(SOURCE_COMPONENT, "failed", self._problem)
        if self._files_unread:
            return ComponentHealth(
                SOURCE_COMPONENT,
                "degraded",
                f"Some files in '{self.folder}' are empty or cannot be opened; they are tried again.",
            )
        if self._state is not None and self._state.problem:
            message = f"{self._state.problem} After a restart, images would be judged again."
            return ComponentHealth(SOURCE_COMPONENT, "degraded", message)
        if self._observer.problem:
            return ComponentHealth(SOURCE_COMPONENT, "ok", self._observer.problem)
        return ComponentHealth(SOURCE_COMPONENT, "ok")

    def covers(self, folder: Path) -> bool:
        """Return whether an image that is put into a folder would be given: it is the watched one, or below it."""
        root, path = self.folder.resolve(), folder.resolve()
        return path.is_relative_to(root) and not is_hidden(os.fspath(path.relative_to(root)))

    def close(self) -> None:
        """Stop watching."""
        self._observer.stop()
        self._record()
        if self._state is not None:
            self._state.close()

    def _next_ready(self, deadline_seconds: float) -> Frame | None:
        """Return the next file that is to be given; None when there is none, or only known ones up to the deadline."""
        for path in self._observer.take_completed():
            if is_listed_image(path[self._root_length :]):
                self._unsettled.pop(path, None)
                self._ready.append(path)
        while self._ready:
            frame = self._read(self._ready.popleft())
            if frame is not None or monotonic() >= deadline_seconds:
                return frame
        return None

    def _read(self, path: str) -> Frame | None:
        """Read one file whole; None if it was given already, has gone, is not complete or cannot be opened now."""
        try:
            with open(path, "rb", opener=_open_at_once) as file:
                before = os.fstat(file.fileno())
                mark = self._mark(path, before)
                if not stat.S_ISREG(before.st_mode) or mark in self._seen:
                    return None
                if before.st_size > MAX_FILE_BYTES:
                    self._remember(mark)
                    return _unreadable(path, f"has {before.st_size / 1e6:.0f} MB; {MAX_FILE_BYTES / 1e6:.0f} are read")
                if not before.st_size and _has_changed_within(before, _GIVE_UP_SECONDS):
                    return None
                content = file.read()
                after = os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        except OSError as error:
            return self._given_up(path, error)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            return None  # still being written; the next look begins anew
        content_mark = content_fingerprint(path[self._root_length :], content)
        if content_mark in self._seen:
            self._remember(mark)
            return None  # only its date is new, as `cp -p` sets it after closing, or it came back with its folder
        frame = Frame(path, content)
        if _has_changed_within(after, self._settle_seconds):
            try:
                frame = replace(frame, picture=frame.decode())
            except Exception:  # perhaps it is closed again when it is whole; else a later look gives it as it is
                return None
        self._remember(mark)
        self._remember(content_mark)
        self._problem = ""
        return frame

    def _given_up(self, path: str, error: OSError) -> Frame | None:
        """Report a file that cannot be opened although its folder is there, once that has lasted; None before."""
        look = self._unsettled.get(path)
        if look is None or monotonic() - look.since_seconds < _GIVE_UP_SECONDS:
            return None
        self._remember(fingerprint(path[self._root_length :], look.size_bytes, look.modified_ns))
        return _unreadable(path, f"cannot be opened: {error.strerror or error}")

    def _look_on(self, now_seconds: float) -> bool:
        """Look at one more part of the folder: settle what has not changed, notice what is new, tell an outage.

        Returns:
            Whether the look at the whole folder is complete. False: the next part is due at once.
        """
        if self._look is None:
            self._look = _FolderLook(images_below(os.fspath(self.folder)))
        look = self._look
        try:
            num_images = self._take_images(look, now_seconds)
        except OSError as error:
            self._look = None
            self._problem = f"Folder '{self.folder}' cannot be read: {error.strerror or error}. It is tried again."
            self._unsettled.clear()  # a look before an outage says nothing about a file after it
            self._next_look_seconds = now_seconds + self._settle_seconds
            return True
        look.spent_seconds += monotonic() - now_seconds
        if num_images == _IMAGES_A_PART:
            return False
        self._look = None
        self._finish_look(look)
        return True

    def _take_images(self, look: _FolderLook, now_seconds: float) -> int:
        """Take the next images of a look, one after the other: a list of all would need most memory of all."""
        num_images = 0
        for path, status in islice(look.images, _IMAGES_A_PART):
            num_images += 1
            if not stat.S_ISREG(status.st_mode) or self._mark(path, status) in self._seen:
                continue
            file = _FileLook(status.st_size, status.st_mtime_ns, now_seconds)
            former = self._unsettled.get(path)
            if former == file:
                file = former
            unchanged_seconds = now_seconds - file.since_seconds
            look.num_unread += file.was_tried and unchanged_seconds > 5 * self._settle_seconds
            if unchanged_seconds >= self._settle_seconds:
                file.was_tried = True
                look.settled.append((listing_order(path), path))
            look.files[path] = file
        return num_images

    def _finish_look(self, look: _FolderLook) -> None:
        self._problem = ""
        self._observer.keep_running()
        # A settled file stays among the unsettled ones until it could be read, so that an outage loses none.
        self._unsettled = look.files
        self._files_unread = look.num_unread
        if len(self._seen) > self._seen.capacity:
            self._forget_missing()
        look.settled.sort()
        self._ready.extend(path for _, path in look.settled)
        pause_seconds = self._settle_seconds / 2 if look.files else self._settle_seconds
        self._next_look_seconds = monotonic() + max(pause_seconds, look.spent_seconds / _LOOK_SHARE_OF_TIME)

    def _forget_missing(self) -> None:
        with suppress(OSError):  # away again: later
            images = images_below(os.fspath(self.folder))
            before = len(self._seen)
            self._seen.forget_missing({self._mark(path, status) for path, status in images})
            if self._state is not None and len(self._seen) < before:
                self._state.rewrite(self._seen.all())

    def _mark(self, path: str, status: os.stat_result) -> int:
        # The path below the folder: the record holds wherever the folder is, and however it was named.
        return fingerprint(path[self._root_length :], status.st_size, status.st_mtime_ns)

    def _remember(self, mark: int) -> None:
        self._seen.add(mark)
        if self._state is not None:
            self._unrecorded.append(mark)

    def _record(self) -> None:
        """Put into the state file what has been dealt with since the last time."""
        state, marks = self._state, self._unrecorded
        if state is None or not (marks or state.is_behind):
            return
        self._unrecorded = []
        if not state.is_behind:
            state.append(marks)
        elif state.may_retry:
            state.rewrite(self._seen.all())


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for a writer, as a named pipe would."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _has_changed_within(status: os.stat_result, seconds: float) -> bool:
    """Return whether a file was written so lately, or has a date as little ahead of this clock."""
    return abs(time() - status.st_mtime) < seconds


def _unreadable(path: str, reason: str) -> Frame:
    return Frame(path, b"", f"Image '{path}' {reason}.")
