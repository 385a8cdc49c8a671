"""Writes events as lines of JSON into a file that is rotated by size."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic

from edge_runtime.atomic_files import output_error
from edge_runtime.errors import SinkError
from edge_runtime.json_bytes import json_bytes
from edge_runtime.sinks.outage_queue import OutageQueue, priority_of
from edge_runtime.sinks.sink import Evidence, SinkCounts
from edge_runtime.sinks.wanted_judgements import is_wanted
from edge_runtime.watching.events import ComponentHealth, Event

_RETRY_SECONDS = 1.0


class JsonLinesSink:
    """A file with one JSON object a line, each written before the next event comes.

    `events.jsonl` is the current file, `events.jsonl.1` the one before it. While the file cannot be written (disk
    full, no permission, disk gone), lines wait in a bounded queue and are written when it can be again. A file that
    was moved away from outside, by logrotate for example, is begun anew.

    Args:
        path: The file to append to.
        max_bytes: Size at which it is moved to the next number.
        num_files: How many files are kept, the current one included.
        queue_capacity: How many lines wait while the file cannot be written.
        judgements: Which judgements are written: "all", "anomalous" or "none".

    Raises:
        SinkError: `path` is a folder, or a file of something else.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_bytes: int, num_files: int, queue_capacity: int, judgements: str
    ) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise SinkError(
                f"'{path}' is a folder; the name of a file was expected, such as jsonl:{path}/events.jsonl."
            )
        if _holds_something_else(self.path):
            raise SinkError(f"'{path}' is no file of JSON lines; name another, such as jsonl:{path}.jsonl.")
        self._max_bytes = max_bytes
        self._num_files = num_files
        self._judgements = judgements
        self._queue = OutageQueue(queue_capacity)
        self._descriptor: int | None = None
        self._size_bytes = 0
        self._problem = ""
        self._retry_at = 0.0
        self._check_at = 0.0
        self._lock = threading.Lock()
        self.name = f"jsonl {self.path}"

    def start(self) -> None:
        """Open the file; if that fails, `health` says so."""
        self._write_waiting(monotonic())

    def deliver(self, event: Event, evidence: Evidence | None) -> None:
        """Write one line; see `Sink.deliver`. It reaches the system's cache, from where a killed process loses none."""
        if not is_wanted(event, self._judgements):
            return
        self._queue.put(json_bytes(event.to_dict()) + b"\n", priority_of(event))
        self._write_waiting(monotonic())

    def health(self) -> ComponentHealth:
        """Failed while the file cannot be written; tries again, so that it recovers without a new event too."""
        if self._problem:
            self._write_waiting(monotonic())
        lost = self._queue.dropped_text()
        if self._problem:
            return ComponentHealth(self.name, "failed", f"{self._problem} Lines wait.")
        return ComponentHealth(self.name, "ok", lost)

    def counts(self) -> SinkCounts:
        """How many lines were written, wait and were lost."""
        return self._queue.counts()

    def close(self, timeout_seconds: float) -> None:
        """Write what waits, once more, and close the file."""
        self._retry_at = 0.0
        self._write_waiting(monotonic())
        with self._lock:
            self._close_file()

    def _write_waiting(self, now_seconds: float) -> None:
        with self._lock:
            if now_seconds < self._retry_at:
                return
            try:
                self._prepare_file(now_seconds)
                while (message := self._queue.take()) is not None:
                    self._write_line(message.payload)
                    self._queue.acknowledge(message)
                self._problem, self._retry_at = "", 0.0
            except OSError as error:
                self._queue.return_unacknowledged()
                self._close_file()
                self._problem = str(output_error(self.path, error))
                self._retry_at = now_seconds + _RETRY_SECONDS

    def _prepare_file(self, now_seconds: float) -> None:
        """Have the file open, and its name still pointing to it."""
        if self._descriptor is not None and now_seconds >= self._check_at:
            self._check_at = now_seconds + _RETRY_SECONDS
            try:
                if not os.path.samestat(self.path.stat(), os.fstat(self._descriptor)):
                    self._close_file()
            except FileNotFoundError:
                self._close_file()
        if self._descriptor is None:
            self._open_file()

    def _open_file(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size_bytes = os.fstat(self._descriptor).st_size
        if self._size_bytes and os.pread(self._descriptor, 1, self._size_bytes - 1) != b"\n":
            # A process was killed, or the power cut, in the middle of a line.
            self._size_bytes += os.write(self._descriptor, b"\n")

    def _write_line(self, line: bytes) -> None:
        if self._size_bytes and self._size_bytes + len(line) > self._max_bytes:
            self._rotate()
        assert self._descriptor is not None
        written = os.write(self._descriptor, line)
        if written < len(line):  # a full disk takes a part: no half line may stay
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size_bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._size_bytes += written

    def _rotate(self) -> None:
        self._close_file()
        for number in range(self._num_files - 1, 0, -1):
            with suppress(FileNotFoundError):
                os.replace(self._numbered(number - 1), self._numbered(number))  # noqa: PTH105 - atomic
        if self._num_files == 1:
            self.path.unlink(missing_ok=True)
        self._open_file()

    def _numbered(self, number: int) -> Path:
        return self.path if number == 0 else self.path.with_name(f"{self.path.name}.{number}")

    def _close_file(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None


def _holds_something_else(path: Path) -> bool:
    """Whether lines would be appended to a model or a photograph.

    What cannot be read now is no such file, nor is one that a power cut left full of zero bytes: a service that refused
    it would never start again.
    """
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(1) not in (b"", b"{", b"\n", b"\0")
    except OSError:
        return False
