"""From a watch and the options to a running HTTP service."""

from __future__ import annotations

import logging
from time import sleep

from edge_runtime.serving.access import AccessRule, find_token
from edge_runtime.serving.application import Application
from edge_runtime.serving.live_view import LiveView
from edge_runtime.serving.options import ServeOptions
from edge_runtime.serving.server import HttpServer
from edge_runtime.serving.upload_judge import UploadJudge
from edge_runtime.sources.source import SOURCE_COMPONENT, Frame
from edge_runtime.watching.events import ComponentHealth, WatchEnded
from edge_runtime.watching.model_slot import DetectorLoader
from edge_runtime.watching.session import WatchSession

LOGGER = logging.getLogger("tfganomaly.watch")


class NoSource:
    """A source without frames, for a service that judges uploads only."""

    name = "uploads"
    dropped = 0
    exhausted = False

    def start(self) -> None:
        """Nothing to open."""

    def next_frame(self, timeout_seconds: float) -> Frame | None:
        """Never a frame."""
        sleep(timeout_seconds)
        return None

    def give_back(self) -> None:
        """Nothing: there are no frames."""

    def health(self) -> ComponentHealth:
        """Always well."""
        return ComponentHealth(SOURCE_COMPONENT, "ok")

    def close(self) -> None:
        """Nothing to release."""


class Service:
    """A watch with an HTTP service around it.

    Args:
        session: The watch; not running yet. From now on its model slot loads the detector for uploads too.
        options: Where to listen, what to accept.
        load_detector: Makes the detector for uploads.

    Raises:
        ServeError, SinkError: The options cannot work: a token is missing, or the port is taken.
        ArtefactError, BackendError: The model cannot be loaded a second time.
        MissingExtraError: The extra `serve` is not installed.

    Attributes:
        server: What listens.
    """

    def __init__(self, session: WatchSession, options: ServeOptions, load_detector: DetectorLoader) -> None:
        access = AccessRule(options.host, find_token(options.token_file))
        # Loading a model points standard error elsewhere for a moment, so it is done before there are threads.
        max_pixels = round(options.max_upload_megapixels * 1e6)
        judge = UploadJudge(session.model, load_detector, session.watchdog, max_pixels)
        live = LiveView()
        session.hub.add(live)
        max_upload_bytes = round(options.max_upload_mb * 1e6)
        application = Application(session, live, judge, access, max_upload_bytes)
        self.session = session
        self.server = HttpServer(application, access, options.host, options.port, max_upload_bytes)

    def run(self) -> WatchEnded:
        """Serve and watch until somebody says stop or the source ends."""
        self.server.start()
        try:
            return self.session.run(self._tell_address)
        finally:
            self.server.close()

    def _tell_address(self) -> None:
        LOGGER.info("serving on %s", self.server.url)
