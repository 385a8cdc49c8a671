"""Hears from the operating system which files in a folder are complete: the one place that knows `watchdog`."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

from edge_runtime.errors import MissingExtraError
from edge_runtime.extras import needs_extra

_MAX_WAITING = 100_000
_RETRY_SECONDS = 3600.0  # each try that meets the limit of watches costs file descriptors, which `watchdog` loses


class FolderObserver:
    """Collects the paths of files that were closed after writing, or moved into place.

    It only makes things quicker: whoever looks at the folder now and then misses nothing when no word comes, because
    the folder is on a network share, the system's limit of watches is reached, or `watchdog` is not installed.

    Args:
        folder: The folder to watch, with its sub-folders. It may vanish and return.
        awake: Set whenever there is something to take.
    """

    def __init__(self, folder: Path, awake: Event) -> None:
        self._folder = folder
        self._awake = awake
        self._completed: deque[str] = deque(maxlen=_MAX_WAITING)
        self._observer: Any = None
        self._inode = 0
        self._retry_seconds = 0.0
        self.problem = ""

    def keep_running(self) -> None:
        """Watch the folder, anew if it has gone and another one is there under its name."""
        try:
            inode = self._folder.stat().st_ino
        except OSError:
            return
        is_running = self._observer is not None and self._observer.is_alive()
        if inode == self._inode and (is_running or monotonic() < self._retry_seconds):
            return
        self.stop()
        self._inode = inode
        try:
            self._observer = self._watch()
            self._retry_seconds = 0.0
            self.problem = ""
        except (MissingExtraError, OSError) as error:
            self._retry_seconds = monotonic() + _RETRY_SECONDS
            self.problem = f"New files are found by looking, not by being told: {error}"

    def take_completed(self) -> list[str]:
        """Return the paths since the last call, in the order of their completion, each below the folder as given."""
        paths: list[str] = []
        with suppress(IndexError):
            while self._completed:
                paths.append(self._completed.popleft())
        return paths

    def stop(self) -> None:
        """End watching."""
        observer, self._observer = self._observer, None
        if observer is not None and observer.is_alive():
            observer.stop()
            observer.join(2)

    def _watch(self) -> Any:
        with needs_extra("watch", "watchdog"):
            from watchdog.events import (
                DirCreatedEvent,
                FileClosedEvent,
                FileMovedEvent,
                FileSystemEvent,
                FileSystemEventHandler,
            )
            from watchdog.observers import Observer
        completed, awake = self._completed, self._awake

        class Handler(FileSystemEventHandler):
            def on_closed(self, event: FileSystemEvent) -> None:
                completed.append(os.fsdecode(event.src_path))
                awake.set()

            def on_moved(self, event: FileSystemEvent) -> None:
                if not event.is_directory and event.dest_path:  # empty: moved out of the folder
                    completed.append(os.fsdecode(event.dest_path))
                    awake.set()

        make_observer: Any = Observer
        try:
            observer = make_observer(generate_full_events=True)  # a move from outside too, of which inotify sees a half
        except TypeError:  # another system, whose observer has no such choice
            observer = make_observer()
        observer.daemon = True
        # The making of a folder is asked for because inotify would not follow into a new one otherwise.
        observer.schedule(
            Handler(),
            os.fspath(self._folder),
            recursive=True,
            event_filter=[FileClosedEvent, FileMovedEvent, DirCreatedEvent],
        )
        observer.start()
        return observer
