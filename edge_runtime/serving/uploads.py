"""Takes the image out of a request's body: sent as it is, or as a form's file."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP

from edge_runtime.errors import ImageError


def uploaded_image(body: bytes, content_type: str) -> tuple[bytes, str]:
    """Return the bytes of the image file in a request, and how errors call it.

    Args:
        body: The request's body.
        content_type: Its Content-Type; "multipart/form-data" is searched for its first file, of anything else the body
            is the file.

    Raises:
        ImageError: The body is empty, or a form without a file.
    """
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        if not body:
            raise ImageError(
                "The request has no body. Send an image file, for example: curl --data-binary @part.jpg ..."
            )
        return body, "The upload"
    head = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    form = BytesParser(policy=HTTP).parsebytes(head + body)
    for part in form.iter_parts() if form.is_multipart() else ():
        name = part.get_filename()
        if name is None and part.get_content_maintype() != "image":
            continue
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            return content, f"Upload '{name or 'without a name'}'"
    raise ImageError("The form has no file. Send one, for example: curl --form image=@part.jpg ...")
