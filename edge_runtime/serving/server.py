"""Listens for HTTP requests: the one place that knows `waitress`."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic
from typing import Any

from edge_runtime.errors import ServeError
from edge_runtime.extras import needs_extra
from edge_runtime.serving.access import AccessRule
from edge_runtime.serving.response import error_response, too_large_text

_THREADS = 4
_CONNECTIONS = 40
_IDLE_SECONDS = 30
_JOIN_SECONDS = 5.0
_FORM_BYTES = 64 * 1024  # what a form adds around its file
_LINGER_SECONDS = 2.0
_HEADER_SECONDS = 10.0  # from its first byte on
_REQUEST_SECONDS = 120.0  # with the largest upload over a slow line


class HttpServer:
    """A server in threads of its own, bounded in all that a client can make it spend.

    One thread moves the bytes of all connections, so that slow clients hold none of the threads that answer. A request
    is answered when it is complete; one that announces more than allowed is refused before it is read, and the body of
    one that the access rule refuses is never read. A connection is closed whose request takes too long to arrive, be it
    byte by byte; and where there are too many, the one that has waited longest without a complete request makes room.

    Args:
        application: The WSGI application. It refuses itself what the access rule refuses; it is asked without the body.
        access: Who may send a body.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        max_body_bytes: Largest body of a request.

    Raises:
        ServeError: The port is taken, the address is not this machine's, or listening is not allowed.
        MissingExtraError: waitress is not installed.
    """

    def __init__(
        self, application: Callable[..., Any], access: AccessRule, host: str, port: int, max_body_bytes: int
    ) -> None:
        with needs_extra("serve", "waitress"):
            import waitress
        logging.getLogger("waitress").setLevel(logging.CRITICAL)
        self._socket = _listening_socket(host, port)
        self.port: int = self._socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}/"
        self._server = waitress.create_server(
            application,
            sockets=[self._socket],
            threads=_THREADS,
            connection_limit=2 * _CONNECTIONS,  # from `_CONNECTIONS` on an idle one makes room for each that comes
            channel_timeout=_IDLE_SECONDS,
            cleanup_interval=5,
            max_request_body_size=max_body_bytes + _FORM_BYTES,
            max_request_header_size=32 * 1024,
            ident=None,
            expose_tracebacks=False,
        )
        self._server.channel_class = _channel_class(access, max_body_bytes)
        self._thread = threading.Thread(target=self._server.run, name="http", daemon=True)

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        if not self._thread.is_alive():
            self._socket.close()
            return
        # The server's own thread has to do it: it is waiting on the very connections that are closed.
        self._server.trigger.pull_trigger(self._close_connections)
        self._thread.join(_JOIN_SECONDS)

    def _close_connections(self) -> None:
        for connection in list(self._server._map.values()):
            connection.close()


def _channel_class(access: AccessRule, max_body_bytes: int) -> type:
    """Return what waitress is to make of a connection.

    It differs from waitress's own in five ways. The body of a request that is refused is not read. Errors are JSON. An
    answer also reaches a client that goes on sending what nobody reads. A request has to arrive in time. And clients
    that send nothing keep nobody out.
    """
    from waitress.channel import HTTPChannel
    from waitress.parser import HTTPRequestParser
    from waitress.task import ErrorTask

    class Parser(HTTPRequestParser):
        body_rcv: Any = None
        is_body_unread = False

        def parse_header(self, header_plus: bytes) -> None:
            super().parse_header(header_plus)
            authorization, host = self.headers.get("AUTHORIZATION", ""), self.headers.get("HOST", "")
            if self.body_rcv is None or access.refusal(authorization, host) is None:
                return
            self.close()
            self.body_rcv, self.content_length = None, 0
            self.headers.pop("CONTENT_LENGTH", None)
            self.headers["CONNECTION"] = "close"  # what comes next is no request
            self.expect_continue = False
            self.is_body_unread = True

        def received(self, data: bytes) -> int:
            consumed: int = super().received(data)
            if self.error is not None:
                self.expect_continue = False  # waitress would say "continue" before it refuses
                self.is_body_unread = True
            return consumed

    class JsonErrorTask(ErrorTask):
        def execute(self) -> None:
            error = self.request.error
            is_too_large = error.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            reason = too_large_text(max_body_bytes) if is_too_large else f"{error.reason}: {error.body}"
            response = error_response(error.code, reason)
            self.status = response.status_line
            self.response_headers.extend(response.all_headers)
            self.set_close_on_finish()
            self.write(response.body)

    class Channel(HTTPChannel):
        parser_class = Parser
        error_task_class = JsonErrorTask
        _is_body_unread = False
        _closes_at_seconds: float | None = None  # set once the answer is out and what still comes is thrown away
        _began_at_seconds: float | None = None  # when the first byte came of a request that is not answered yet

        def __init__(self, server: Any, *arguments: Any, **options: Any) -> None:
            super().__init__(server, *arguments, **options)
            others = [channel for channel in server.active_channels.values() if channel is not self]
            idle = [channel for channel in others if not channel.requests and not channel.will_close]
            if len(others) >= _CONNECTIONS and idle:
                min(idle, key=lambda channel: channel.last_activity).will_close = True

        def service(self) -> None:
            self._is_body_unread = self.requests[0].is_body_unread
            super().service()
            self._began_at_seconds = None

        def handle_close(self) -> None:
            if self._is_body_unread and self._closes_at_seconds is None:
                # With bytes unread, closing would be a reset, which can overtake the answer.
                self._closes_at_seconds = monotonic() + _LINGER_SECONDS
                self.will_close = False
                try:
                    self.socket.shutdown(socket.SHUT_WR)
                    return
                except OSError:
                    pass  # the client has gone
            super().handle_close()

        def readable(self) -> bool:
            if self._closes_at_seconds is None:
                self.will_close = self.will_close or self._is_late()
                return bool(super().readable())
            self.will_close = monotonic() >= self._closes_at_seconds
            return True

        def received(self, data: bytes) -> bool:
            if self._began_at_seconds is None:
                self._began_at_seconds = monotonic()
            return self._closes_at_seconds is None and bool(super().received(data))

        def _is_late(self) -> bool:
            if self._began_at_seconds is None or self.requests:
                return False
            request = self.request
            has_header = request is not None and request.headers_finished
            return monotonic() - self._began_at_seconds > (_REQUEST_SECONDS if has_header else _HEADER_SECONDS)

    return Channel


def _listening_socket(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServeError(f"--host {host} is no address to listen on: {error.strerror or error}.") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ServeError(
            f"Cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}. Choose another with "
            "--port, or end the program that uses it."
        ) from None
    listening.setblocking(False)
    return listening
