"""Keeps a second process away from what one is at work on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.atomic_files import output_error
from tfganomaly.errors import RunError


@contextmanager
def file_lock(path: Path, refusal: str) -> Iterator[None]:
    """Holds a file for this process; the kernel lets go of it at a kill.

    The file is removed at the end, and does no harm where a kill leaves it. A system or a disk without such locks goes
    on without.

    Args:
        path: The lock's file; its folder must exist.
        refusal: What to say when another process holds it.

    Raises:
        RunError: Another process holds it.
        OutputError: The lock's file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        if not _lock(descriptor):
            raise RunError(refusal)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Takes the file for this process until it is closed; False if another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network disk that knows no locks
        return True
    return True
