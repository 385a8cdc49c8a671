"""Listens for HTTP requests: the one place that knows `waitress`."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from edge_runtime.errors import ServeError
from edge_runtime.extras import needs_extra

_THREADS = 4
_CONNECTIONS = 40
_IDLE_SECONDS = 30
_JOIN_SECONDS = 5.0
_FORM_BYTES = 64 * 1024  # what a form adds around its file


class HttpServer:
    """A server in threads of its own, bounded in all that a client can make it spend.

    One thread moves the bytes of all connections, so that slow clients hold none of the threads that answer. A request
    is answered when it is complete; one that announces more than allowed is refused before it is read.

    Args:
        application: The WSGI application.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        max_body_bytes: Largest body of a request.

    Raises:
        ServeError: The port is taken, the address is not this machine's, or listening is not allowed.
        MissingExtraError: waitress is not installed.
    """

    def __init__(self, application: Callable[..., Any], host: str, port: int, max_body_bytes: int) -> None:
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
            connection_limit=_CONNECTIONS,
            channel_timeout=_IDLE_SECONDS,
            cleanup_interval=5,
            max_request_body_size=max_body_bytes + _FORM_BYTES,
            max_request_header_size=32 * 1024,
            ident=None,
            expose_tracebacks=False,
        )
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
