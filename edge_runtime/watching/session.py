"""From a model and a source to a finished watch: puts the parts together, runs the loop, closes everything."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_runtime.errors import OptionError
from edge_runtime.sinks.evidence import EvidenceSink
from edge_runtime.sinks.jsonl import JsonLinesSink
from edge_runtime.sinks.sink import Controls, Sink
from edge_runtime.sources.folder import FolderSource
from edge_runtime.sources.folder_listing import is_listed_image
from edge_runtime.sources.opening import SourceOptions, open_source
from edge_runtime.sources.pacing import parse_pacing
from edge_runtime.sources.source import Source
from edge_runtime.watching.console_log import ConsoleLog
from edge_runtime.watching.decision import AlarmDecider, AlarmRule
from edge_runtime.watching.event_hub import EventHub
from edge_runtime.watching.events import WatchEnded
from edge_runtime.watching.frame_checks import FrameChecks
from edge_runtime.watching.frame_judge import FrameJudge
from edge_runtime.watching.hang_watchdog import HangWatchdog
from edge_runtime.watching.health_board import HealthBoard
from edge_runtime.watching.loop import WatchLoop
from edge_runtime.watching.model_slot import DetectorLoader, ModelSlot
from edge_runtime.watching.options import WatchOptions
from edge_runtime.watching.service_manager import ServiceManager

CLOSE_TIMEOUT_SECONDS = 10.0
SinkOpener = Callable[[Controls], Sink]


class WatchSession:
    """One watch, from its parts to its end.

    Making it checks everything that the user wrote, and starts nothing.

    Args:
        model: The artefact.
        source: What `open_source` takes, or a source.
        options: How to watch.
        load_detector: Makes a detector of an artefact; called again when the artefact is replaced.
        sink_openers: Make the sinks, given what they may ask of the loop.
        outlives_source: Whether the watch goes on, without frames, after the source has ended.

    Raises:
        TfganomalyError: The model, the source, an option or a sink cannot be used as it was given.

    Attributes:
        loop: The loop.
        board: The health of all parts.
        hub: Where events go; sinks may be added before `run`.
        model: The model slot.
        watchdog: What notices inferences that hang; it watches while the session runs.
    """

    def __init__(
        self,
        model: Path,
        source: str | Source,
        options: WatchOptions,
        load_detector: DetectorLoader,
        sink_openers: Sequence[SinkOpener] = (),
        *,
        outlives_source: bool = False,
    ) -> None:
        rule = AlarmRule(
            alarm_frames=options.alarm_frames,
            window_frames=options.alarm_window,
            clear_frames=options.clear_frames,
            clear_ratio=options.clear_ratio,
            cooldown_seconds=options.cooldown_seconds,
        )
        view = options.view()
        pacing = parse_pacing(options.every)
        if isinstance(source, str):
            source_options = SourceOptions(options.once, options.existing, options.settle_seconds, options.state)
            source = open_source(source, source_options, pacing)
        elif options.state is not None:
            raise OptionError("--state is for a folder, and no folder is watched. Leave it out.")
        self.source = source
        self.hub = EventHub()
        self.board = HealthBoard(self.hub)
        self.model = ModelSlot(model, load_detector)
        self.watchdog = HangWatchdog(self.board, options.inference_limit_seconds)
        self._service = ServiceManager()
        stop = threading.Event()
        decider = AlarmDecider(rule)
        judge = FrameJudge(
            source_name=source.name,
            model=self.model,
            hub=self.hub,
            board=self.board,
            view=view,
            decider=decider,
            checks=FrameChecks(options.frozen_frames) if options.frame_checks else None,
            watchdog=self.watchdog,
            drift_window_frames=options.drift_window,
            threshold=options.threshold,
            stop=stop,
        )
        self.loop = WatchLoop(
            source=source,
            judge=judge,
            model=self.model,
            hub=self.hub,
            board=self.board,
            pacing=pacing,
            decider=decider,
            watchdog=self.watchdog,
            summary_seconds=options.summary_seconds,
            service=self._service,
            outlives_source=outlives_source,
            stop=stop,
        )
        self.hub.add(ConsoleLog(), takes_judgements=False)
        for open_one in sink_openers:
            sink = open_one(self.loop)
            _check_place(sink, source, options.state)
            self.hub.add(sink)

    def run(self, when_ready: Callable[[], None] = lambda: None) -> WatchEnded:
        """Watch until the source ends or somebody says stop; then let the sinks deliver what they have.

        Args:
            when_ready: Called when sinks and source have been started.

        Raises:
            SourceError, MissingExtraError: The source can never work.
        """
        self.hub.start()
        self.watchdog.start()
        try:
            self.source.start()
            self._service.ready()
            when_ready()
            return self.loop.run()
        finally:
            self._service.stopping()
            self.source.close()
            self.watchdog.close()
            self.hub.close(CLOSE_TIMEOUT_SECONDS)


def _check_place(sink: Sink, source: Source, state: str | None) -> None:
    """Refuse a place where a sink would write what is judged again, or into the record of what was judged.

    Raises:
        OptionError: It is a picture in the watched folder or a folder in it, or the state file.
    """
    if isinstance(sink, JsonLinesSink):
        if state is not None and os.path.realpath(sink.path) == os.path.realpath(state):
            raise OptionError(f"--sink jsonl:{sink.path} is the file of --state. Give each a file of its own.")
        if isinstance(source, FolderSource) and is_listed_image(sink.path.name) and source.covers(sink.path.parent):
            raise OptionError(
                f"--sink jsonl:{sink.path} has the name of a picture in the watched folder '{source.name}'. Name "
                "another file."
            )
    if isinstance(sink, EvidenceSink) and isinstance(source, FolderSource) and source.covers(sink.folder):
        raise OptionError(
            f"--sink evidence:{sink.folder} is in the watched folder '{source.name}', so what is saved would be judged "
            "again; a folder outside of it was expected. Name another, or a hidden one that begins with a dot."
        )
