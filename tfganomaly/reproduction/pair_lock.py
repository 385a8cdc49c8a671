"""Keeps a second process away from the training of a class and seed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.atomic_files import output_error
from tfganomaly.errors import RunError


@contextmanager
def pair_lock(pair: Path) -> Iterator[None]:
    """Holds a pair for this process; the kernel lets go of it at a kill.

    The lock is a file beside the pair's folder, which is removed when the block ends well and does no harm when it
    stays. Once inside, ask again whether the pair is finished: another process may have done it in the meantime. A
    system or a disk without such locks goes on without.

    Args:
        pair: The run folder of a class and seed; its parent must exist.

    Raises:
        RunError: Another process holds it.
        OutputError: The lock file cannot be made.
    """
    path = pair.with_name(f".{pair.name}.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        if not _lock(descriptor):
            raise RunError(
                f"another process is training this pair, '{pair}'; wait until it is done, or take other classes with "
                "--abnormal."
            )
        yield
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
