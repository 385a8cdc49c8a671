"""What is answered to a request, with the headers that every answer has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)


@dataclass(frozen=True)
class Response:
    """What is answered.

    Attributes:
        status: HTTP status.
        content_type: Of the body.
        body: All of it.
        headers: What this answer has besides the headers that all have.
    """

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def status_line(self) -> str:
        """Status with its phrase, such as "200 OK"."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """Every header, as WSGI takes them."""
        of_body = (("Content-Type", self.content_type), ("Content-Length", str(len(self.body))))
        return [*of_body, *_HEADERS, *self.headers]


def json_response(status: int, values: dict[str, Any]) -> Response:
    """Return an answer with a JSON object; every number in it must be finite."""
    return Response(status, "application/json", json.dumps(values, allow_nan=False).encode("utf-8") + b"\n")


def error_response(status: int, reason: str, *headers: tuple[str, str]) -> Response:
    """Return the answer to a request that is refused, or that could not be answered."""
    answer = json_response(status, {"error": reason})
    if status == HTTPStatus.UNAUTHORIZED:
        headers = (*headers, ("WWW-Authenticate", "Bearer"))
    return Response(status, answer.content_type, answer.body, headers)


def too_large_text(largest_bytes: int) -> str:
    """Return why a body is refused that is larger than it may be."""
    return f"The body is larger than {largest_bytes} bytes."
