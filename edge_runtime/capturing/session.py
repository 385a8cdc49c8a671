"""From a source to a folder of photographs: each frame is cut, turned and checked as a watch does, then saved."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from time import monotonic

import numpy as np

from edge_runtime.calibrating.calibration_images import find_good_images
from edge_runtime.capturing.console import CaptureConsole
from edge_runtime.capturing.options import CaptureOptions
from edge_runtime.capturing.photograph_folder import PhotographFolder
from edge_runtime.capturing.result import CaptureResult
from edge_runtime.errors import ImageError, OutputError, SourceError
from edge_runtime.sources.folder import FolderSource
from edge_runtime.sources.opening import open_source
from edge_runtime.sources.pacing import Pacing, parse_pacing
from edge_runtime.sources.source import Frame, Source
from edge_runtime.watching.events import utc_now
from edge_runtime.watching.frame_checks import FrameChecks

_LOOK_EVERY_SECONDS = 1.0
_WAIT_SECONDS = 0.2  # how soon a stop is noticed while no frame comes


class CaptureSession:
    """One capture, from its parts to its end.

    Making it checks everything that the user wrote, and starts nothing.

    Args:
        source: What `open_source` takes, or a source. A folder is read once.
        folder: Where the photographs go. It is made if it does not exist.
        options: Which frames, what of them, how many.
        console: Where progress and messages go.

    Raises:
        TfganomalyError: The source, an option or the folder cannot be used as it was given.
    """

    def __init__(
        self, source: str | Source, folder: str | os.PathLike[str], options: CaptureOptions, console: CaptureConsole
    ) -> None:
        self._view = options.view()
        self._pacing = parse_pacing(options.every)
        self._count = options.count
        self._source = _open_once(source, self._pacing) if isinstance(source, str) else source
        self._folder = PhotographFolder(folder)
        if isinstance(self._source, FolderSource):
            _check_apart(self._source, self._folder.path)
        self._console = console
        self._checks = FrameChecks(options.frozen_frames) if options.frame_checks else None
        self._done = CaptureResult(self._folder.path)
        self._stop = threading.Event()
        self._next_look_seconds = 0.0
        self._source_problem = ""
        self._view_problem = ""
        self._unreadable_reason = self._left_out_reason = ""

    def stop(self, reason: str) -> None:
        """End after the frame at hand; may be called from any thread."""
        self._done.reason = self._done.reason or reason
        self._stop.set()

    def run(self) -> CaptureResult:
        """Take photographs until there are enough, the source ends or somebody says stop.

        Raises:
            SourceError, MissingExtraError: The source can never work, or it has ended without one photograph.
            OutputError: The folder cannot be written; what was saved before stays.
        """
        try:
            self._source.start()
            self._folder.prepare()
            self._take_frames()
        finally:
            self._source.close()
            self._console.end_progress()
        return self._done

    def _take_frames(self) -> None:
        source, pacing, stop = self._source, self._pacing, self._stop
        while not stop.is_set():
            now_seconds = monotonic()
            if now_seconds >= self._next_look_seconds:
                self._next_look_seconds = now_seconds + _LOOK_EVERY_SECONDS
                self._look_at_source()
            wait_seconds = pacing.wait_seconds(now_seconds)
            if wait_seconds:
                stop.wait(min(wait_seconds, _WAIT_SECONDS))
                continue
            frame = source.next_frame(_WAIT_SECONDS)
            if frame is not None:
                if pacing.takes(now_seconds):
                    self._take(frame)
            elif source.exhausted:
                self._look_at_source()
                self._end_of_source()

    def _take(self, frame: Frame) -> None:
        """Save one frame, or count why not."""
        done = self._done
        try:
            picture = self._view.of(frame.decode(), frame.name)
        except ImageError as error:
            self._leave_out_unreadable(frame, str(error))
            return
        checks = self._checks
        is_blind = checks is not None and checks.is_blind(picture)
        if checks is not None and checks.problem != self._view_problem:
            self._view_problem = checks.problem
            self._console.say(self._view_problem or "The camera sees again.")
        if is_blind:
            done.blind += 1
            return
        # As an array, a picture from a file is without what its camera wrote into it, such as how to turn it upright,
        # which has been done.
        pixels = np.asarray(picture)
        original = Path(frame.name).stem if isinstance(frame.content, bytes) else ""
        try:
            path = self._folder.save(pixels, utc_now(), original)
        except OutputError as error:
            raise OutputError(f"{error} Until then: {done.text()}.") from error
        done.photographs += 1
        done.shapes.add(pixels.shape)
        wanted = f" of {self._count}" if self._count else ""
        self._console.progress(f"{done.photographs}{wanted} taken{done.left_out()}; last {path.name}")
        if done.photographs == self._count:
            self.stop("all taken")

    def _leave_out_unreadable(self, frame: Frame, reason: str) -> None:
        self._done.unreadable += 1
        self._left_out_reason = reason
        if isinstance(frame.content, np.ndarray):  # a camera: what is wrong with one frame is wrong with all
            without_name = reason.replace(frame.name, "")
            if without_name == self._unreadable_reason:
                return
            self._unreadable_reason = without_name
        self._console.say(f"left out: {reason}")

    def _look_at_source(self) -> None:
        health = self._source.health()
        problem = "" if health.state == "ok" else health.message
        if problem != self._source_problem:
            self._source_problem = problem
            self._console.say(problem or f"'{self._source.name}' works again.")

    def _end_of_source(self) -> None:
        if not self._done.photographs:
            advice = " --no-frame-checks saves blind frames." if self._done.blind else ""
            if self._left_out_reason:
                advice += f" The last one left out: {self._left_out_reason}"
            raise SourceError(
                f"'{self._source.name}' has ended without a photograph{self._done.left_out()}. Check what is in it."
                f"{advice}"
            )
        self.stop("the source has ended")


def _open_once(specification: str, pacing: Pacing) -> Source:
    """Open a source; a folder so that it ends when all that is in it was taken.

    Raises:
        TfganomalyError: It can never work, or is a folder without images, or one whose photographs would lie mixed in
            the new folder: a whole data set, good parts beside others, masks.
    """
    source = open_source(specification, pacing=pacing)
    if not isinstance(source, FolderSource):
        return source
    source = FolderSource(source.folder, once=True)
    find_good_images(source.folder)
    return source


def _check_apart(source: FolderSource, folder: Path) -> None:
    """Refuse to write photographs where they would be taken again, or would stand among those that are not cut yet.

    Raises:
        OutputError: One of the two folders is the other, or lies in it.
    """
    if source.covers(folder) or source.folder.resolve().is_relative_to(folder.resolve()):
        raise OutputError(
            f"'{folder}' and the source '{source.name}' are one folder, or one lies in the other, so photographs would "
            "be taken of photographs. Name a folder outside of it."
        )
