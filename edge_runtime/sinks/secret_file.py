"""Reads a password or token from a file that not everybody can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edge_runtime.errors import SinkError

_MAX_SECRET_BYTES = 64 * 1024


def read_secret(path: str | os.PathLike[str], what: str) -> str:
    """Return the first line of a file.

    Args:
        path: The file.
        what: What it holds, for messages: "MQTT password".

    Raises:
        SinkError: It is missing, no plain file, readable or writable by everybody, empty or not text.
    """
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SinkError(f"'{path}' is no plain file; a file with the {what} in its first line was expected.")
            if status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise SinkError(
                    f"Everybody on this machine may read or change '{path}', which holds the {what}. "
                    f"Run `chmod o= {path}` and try again."
                )
            content = file.read(_MAX_SECRET_BYTES)
        secret = content.decode("utf-8").split("\n", 1)[0].rstrip("\r")
    except OSError as error:
        raise SinkError(f"The file with the {what}, '{path}', cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise SinkError(f"'{path}' is not text; a file with the {what} in its first line was expected.") from None
    if not secret or not secret.isprintable():
        raise SinkError(f"The first line of '{path}' holds no {what}: it is empty or has control characters.")
    return secret
