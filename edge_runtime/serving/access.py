"""Decides which requests are answered: a token, and without one only requests that are meant for this machine."""

from __future__ import annotations

import hmac
import ipaddress
import os
from collections.abc import Mapping

from edge_runtime.errors import ServeError
from edge_runtime.sinks.secret_file import read_secret

TOKEN_VARIABLE = "TFGANOMALY_TOKEN"
SHORTEST_TOKEN = 16


class AccessRule:
    """Who may ask.

    With a token, every request must carry it as `Authorization: Bearer TOKEN`. Without one the service listens on the
    loopback only, and a request must name a loopback host: a page from elsewhere, whose name an attacker lets point to
    127.0.0.1 (DNS rebinding), does not.

    Args:
        host: The address to listen on.
        token: The token, or None.

    Raises:
        ServeError: The address can be reached by other machines and there is no token, or the token is too short.
    """

    def __init__(self, host: str, token: str | None) -> None:
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ServeError(
                f"The token has {len(token)} characters; {SHORTEST_TOKEN} or more were expected. Make one with: "
                "openssl rand -hex 24"
            )
        if token is None and not is_loopback(host):
            raise ServeError(
                f"--host {host} can be reached by other machines, so a token is needed: put one into a file and name "
                f"it with --token-file, or set {TOKEN_VARIABLE}."
            )
        self._token = None if token is None else token.encode()

    @property
    def needs_token(self) -> bool:
        """Whether requests must carry a token."""
        return self._token is not None

    def refusal(self, authorization: str, host_header: str) -> tuple[int, str] | None:
        """Return HTTP status and reason for a request that is not answered, None for one that is.

        Args:
            authorization: The request's Authorization header; compared in constant time.
            host_header: The request's Host header.
        """
        if self._token is not None:
            scheme, _, given = authorization.partition(" ")
            # WSGI hands headers over as latin-1.
            is_right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._token)
            if is_right and scheme.lower() == "bearer":
                return None
            return 401, "A token is needed: send the header 'Authorization: Bearer TOKEN'."
        if is_loopback(_host_name(host_header)):
            return None
        return 403, f"This service answers requests to localhost only; this one was for '{host_header}'."


def find_token(token_file: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the token from the file or, without one, from the environment; None when there is neither.

    Raises:
        SinkError: The file cannot be read, holds no token or is readable by everybody.
    """
    if token_file is not None:
        return read_secret(token_file, "token")
    return environment.get(TOKEN_VARIABLE) or None


def is_loopback(host: str) -> bool:
    """Return whether an address or name can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_name(host_header: str) -> str:
    if host_header.startswith("["):
        return host_header[1:].partition("]")[0]
    return host_header.partition(":")[0]
