"""Takes the image out of a request's body: sent as it is, or as a form's file."""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser

from edge_runtime.errors import ImageError

# What is looked at of a form, so that a hostile one costs no more than a long one.
_MOST_PARTS = 100
_LARGEST_HEAD_BYTES = 2048
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_REST_OF_DELIMITER = re.compile(rb"(--)?[ \t]*(?=\r?\n|\Z)")


def uploaded_image(body: bytes, content_type: str) -> tuple[bytes, str]:
    """Return the bytes of the image file in a request, and how errors call it.

    Args:
        body: The request's body.
        content_type: Its Content-Type; "multipart/form-data" is searched for its file, of anything else the body
            is the file.

    Raises:
        ImageError: The body is empty, or a form without a file, or with several, in its first 100 parts.
    """
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        if not body:
            raise ImageError(
                "The request has no body. Send an image file, for example: curl --data-binary @part.jpg ..."
            )
        return body, "The upload"
    boundary = _parsed(f"Content-Type: {content_type}").get_boundary()
    found: tuple[bytes, str] | None = None
    for start, end in _parts(body, boundary) if boundary else ():
        end_of_head = _END_OF_HEAD.search(body, start, min(end, start + _LARGEST_HEAD_BYTES))
        if end_of_head is None:
            continue
        head = _parsed(body[start : end_of_head.start()].decode("utf-8", "replace").lstrip())
        name = head.get_filename()
        if name is None and head.get_content_maintype() != "image":
            continue
        if found is not None:
            raise ImageError("The form has several files; one is judged at a time. Send each in a request of its own.")
        found = _decoded(body[end_of_head.end() : end], head), f"Upload '{name or 'without a name'}'"
    if found is None:
        raise ImageError("The form has no file. Send one, for example: curl --form image=@part.jpg ...")
    return found


def _parts(body: bytes, boundary: str) -> Iterator[tuple[int, int]]:
    """Yield where each part of a form begins and ends, from the line end after its delimiter on; see RFC 2046, 5.1.1.

    They are found as bytes: parsing the whole body as e-mail takes 27 times its size when its lines are short. The last
    part of a form without a closing delimiter ends with the body.
    """
    delimiter = b"--" + boundary.encode("ascii", "replace")
    start = None
    for count, line_start in enumerate(_lines_with(delimiter, body)):
        found = _REST_OF_DELIMITER.match(body, line_start + len(delimiter))
        if found is not None:
            if start is not None:
                # The line end before a delimiter belongs to it.
                yield start, line_start - (2 if body[line_start - 2 : line_start] == b"\r\n" else 1)
            start = found.end()
            if found[1]:
                return
        if count == _MOST_PARTS:
            return
    if start is not None:
        yield start, len(body)


def _lines_with(prefix: bytes, body: bytes) -> Iterator[int]:
    """Yield where the lines begin that begin with `prefix`."""
    if body.startswith(prefix):
        yield 0
    line_end = body.find(b"\n" + prefix)
    while line_end >= 0:
        yield line_end + 1
        line_end = body.find(b"\n" + prefix, line_end + 1)


def _parsed(head: str) -> Message:
    # The default policy, compat32: the newer ones take minutes for a few thousand semicolons.
    return HeaderParser().parsestr(head)


def _decoded(content: bytes, head: Message) -> bytes:
    encoding = str(head.get("Content-Transfer-Encoding", "")).strip().lower()
    if encoding == "quoted-printable":
        return quopri.decodestring(content)
    if encoding == "base64":
        try:
            return base64.b64decode(content)
        except binascii.Error:
            return content  # no image, which decoding it says
    return content
