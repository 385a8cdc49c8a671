"""Saves the pictures of anomalous frames, and of the frames around a raised alarm, with their heatmaps."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from edge_runtime.atomic_files import atomic_path, output_error
from edge_runtime.errors import OutputError, SinkError, TfganomalyError
from edge_runtime.json_bytes import json_bytes
from edge_runtime.sinks.evidence_folder import EvidenceFolder
from edge_runtime.sinks.sink import Evidence, SinkCounts
from edge_runtime.watching.events import AlarmChanged, ComponentHealth, Event, Judgement, compact_milliseconds

LOGGER = logging.getLogger("tfganomaly.watch")
_MAX_WAITING = 8  # beside those around an alarm; each holds a frame
_RETRY_SECONDS = 5.0
_JPEG_QUALITY = 92
# On a full disk so much of the oldest evidence may go for one new file. Where that makes no room, others take what is
# freed, or it is kept for the system, and all evidence would go for nothing: no more goes until a file can be written.
_MOST_FREED_BYTES = 8 << 20
_MOST_FREED_FILES = 30


class EvidenceSink:
    """A folder of pictures: `TIME_SEQUENCE_anomalous.jpg`, `..._heatmap.jpg` and the judgement as `.json`.

    Names sort by time. Every anomalous frame is saved unless the camera was blind; of the others (`good`, `blind`)
    those just before and just after an alarm was raised. When all files together exceed the budget the oldest are
    removed. Files are drawn and written by a thread of its own; when frames come faster than that, waiting ones are
    dropped and counted: good ones first, then the oldest. While the folder cannot be written `health` says so, and
    frames that come meanwhile are dropped.

    Args:
        folder: Where to write.
        max_bytes: Size budget of the folder's evidence.
        around_alarm: How many good frames are saved just before and just after a raised alarm.

    Raises:
        SinkError: `folder` is a file.

    Attributes:
        folder: Where it writes.
    """

    def __init__(self, folder: str | os.PathLike[str], *, max_bytes: int, around_alarm: int) -> None:
        path = Path(folder)
        if path.exists() and not path.is_dir():
            raise SinkError(f"'{folder}' is a file; a folder for evidence was expected.")
        self.name = f"evidence {path}"
        self.folder = path
        self._folder = EvidenceFolder(path, max_bytes)
        self._around_alarm = around_alarm
        self._max_waiting = _MAX_WAITING + around_alarm
        self._recent_good: deque[tuple[Judgement, Evidence]] = deque(maxlen=around_alarm)
        self._good_still_wanted = 0
        self._waiting: deque[tuple[Judgement, Evidence]] = deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_forever, name="evidence", daemon=True)
        self._closing = False
        self._busy = False
        self._problem = ""
        self._retry_at = 0.0
        self._saved = self._dropped = 0
        self._too_fast = False
        self._freeing_helps = True  # until it has not, and again from the next file on that could be written

    def start(self) -> None:
        """Begin to write; a folder that cannot be written is told by `health`."""
        try:
            self._folder.prepare()
        except OSError as error:
            self._problem = str(output_error(self._folder.path, error))
        self._thread.start()

    def deliver(self, event: Event, evidence: Evidence | None) -> None:
        """Note a frame that is to be saved; see `Sink.deliver`."""
        if isinstance(event, AlarmChanged) and event.alarm == "on":
            self._good_still_wanted = self._around_alarm
            while self._recent_good:
                self._enqueue(*self._recent_good.popleft())
        if not isinstance(event, Judgement) or evidence is None:
            return
        if event.shows_defect:
            self._enqueue(event, evidence)
        elif self._good_still_wanted:
            self._good_still_wanted -= 1
            self._enqueue(event, evidence)
        else:
            self._recent_good.append((event, evidence))

    def health(self) -> ComponentHealth:
        """Failed while the folder cannot be written."""
        if self._problem:
            return ComponentHealth(self.name, "failed", f"{self._problem} Frames are not saved.")
        message = "frames came faster than they could be saved; some were dropped" if self._too_fast else ""
        return ComponentHealth(self.name, "ok", message)

    def counts(self) -> SinkCounts:
        """How many frames were saved, wait and were dropped."""
        with self._changed:
            return SinkCounts(self._saved, len(self._waiting) + self._busy, self._dropped)

    def close(self, timeout_seconds: float) -> None:
        """Save what waits, then end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        saved, deadline_seconds = self._saved, monotonic() + timeout_seconds
        while self._thread.is_alive() and monotonic() < deadline_seconds:
            self._thread.join(0.1)
            if self._saved != saved:
                saved, deadline_seconds = self._saved, monotonic() + timeout_seconds

    def _enqueue(self, judgement: Judgement, evidence: Evidence) -> None:
        with self._changed:
            self._waiting.append((judgement, evidence))
            if len(self._waiting) > self._max_waiting:
                del self._waiting[self._least_wanted()]
                self._dropped += 1
                self._too_fast = True
            self._changed.notify_all()

    def _least_wanted(self) -> int:
        """Return the position of the oldest waiting frame that shows no defect, or of the oldest of all."""
        return next((place for place, (judgement, _) in enumerate(self._waiting) if not judgement.shows_defect), 0)

    def _write_forever(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.wait_for(lambda: self._waiting or self._closing, timeout=_RETRY_SECONDS)
                if self._waiting:
                    judgement, evidence = self._waiting.popleft()
                    self._busy = True
                elif self._closing:
                    return
            if self._busy:
                self._save_or_drop(judgement, evidence)
            elif self._problem:
                self._look_again()

    def _save_or_drop(self, judgement: Judgement, evidence: Evidence) -> None:
        if self._problem and monotonic() < self._retry_at:
            self._dropped += 1
            return
        try:
            self._save(judgement, evidence)
        except Exception as error:  # a thread that ends here would save nothing for months
            self._problem = self._described(error)
            self._retry_at = monotonic() + _RETRY_SECONDS
            self._dropped += 1
        else:
            self._problem = ""
            self._saved += 1

    def _look_again(self) -> None:
        """Find out whether the folder can be written again although no frame asks for it."""
        try:
            self._folder.prepare()
            probe = self._folder.path / ".tfganomaly-probe"
            with atomic_path(probe) as temporary:
                temporary.write_bytes(b"\0" * 4096)
            probe.unlink()
        except Exception as error:
            self._problem = self._described(error)
        else:
            self._problem = ""

    def _described(self, error: Exception) -> str:
        """Return what went wrong with the folder, without a file's name, which would be news at each try."""
        cause = error.__cause__ if isinstance(error, OutputError) else error
        if isinstance(cause, OSError):
            return str(output_error(self.folder, cause))
        if isinstance(error, TfganomalyError):
            return str(error)
        LOGGER.error("%s failed", self.name, exc_info=error)
        return f"Evidence for '{self.folder}' could not be made: {type(error).__name__}: {error}."

    def _save(self, judgement: Judgement, evidence: Evidence) -> None:
        self._folder.prepare()
        stem = f"{compact_milliseconds(judgement.time)}_{judgement.sequence:06d}_{judgement.verdict}"
        document = json_bytes(judgement.to_dict(), indent=1) + b"\n"
        self._write(f"{stem}.jpg", lambda path: evidence.frame.save(path, quality=_JPEG_QUALITY))
        self._write(f"{stem}.json", lambda path: path.write_bytes(document))
        self._write(f"{stem}_heatmap.jpg", lambda path: evidence.heatmap.save(path, quality=_JPEG_QUALITY))

    def _write(self, name: str, save: Callable[[Path], object]) -> None:
        """Write one file; on a full disk the oldest evidence makes room, as it would for the budget."""
        size_before_bytes = self._folder.size_bytes
        for num_removed in range(_MOST_FREED_FILES + 1):
            try:
                with atomic_path(self._folder.path / name) as temporary:
                    save(temporary)
            except OutputError as error:
                cause = error.__cause__
                is_full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
                freed_bytes = size_before_bytes - self._folder.size_bytes
                if is_full and (num_removed == _MOST_FREED_FILES or freed_bytes >= _MOST_FREED_BYTES):
                    self._freeing_helps = False
                if not (is_full and self._freeing_helps and self._folder.remove_oldest(not_of=name)):
                    raise
            else:
                self._freeing_helps = True
                self._folder.add(name)
                return
