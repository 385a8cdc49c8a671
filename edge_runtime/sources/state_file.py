"""Keeps which files were judged over a restart: a file that their fingerprints are appended to."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path
from time import monotonic

import numpy as np

from edge_runtime.atomic_files import atomic_path, output_error
from edge_runtime.errors import OutputError, SourceError

LOGGER = logging.getLogger("tfganomaly.watch")
_HEADER = b"tfganomaly judged files 1\n".ljust(32, b" ")
_MARK = np.dtype("<u8")
_RETRY_SECONDS = 5.0
_OUTAGES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class StateFile:
    """A header, then 8 bytes for each fingerprint, in the order of their coming.

    What a killed process has appended is there after it; what was cut off by a power cut is left out when the file is
    read, so an image is rather judged twice than never. A file that begins with zero bytes, as a power cut may leave
    it, is begun anew: a service that refused it would never start again. While the file cannot be written, `problem`
    says so, and it is written anew, whole, when it can be again. A lock keeps a second watch away from it.

    Args:
        path: The file. It is made if it does not exist; its folder must.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.problem = ""
        self.is_new = True
        self._descriptor: int | None = None
        self._size_bytes = 0
        self._retry_seconds = 0.0

    def open(self) -> np.ndarray:
        """Read the fingerprints and begin to append. A full or read-only disk is told by `problem`.

        Returns:
            uint64 (N,), in rising order, each once.

        Raises:
            SourceError: It is another kind of file, or another watch has it.
            OutputError: It can never be read or written: no such folder, no permission.
        """
        try:
            return self._open()
        except SourceError:
            self.close()
            raise
        except OSError as error:
            self.close()
            problem = output_error(self.path, error)
            if error.errno not in _OUTAGES:
                raise problem from error
            self._fail(problem)
        content = b""
        with suppress(OSError):
            content = self.path.read_bytes()
        return self._read(content)

    def _open(self) -> np.ndarray:
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not _lock(self._descriptor):
            raise SourceError(f"State file '{self.path}' is used by another watch. Give each a file of its own.")
        content = self.path.read_bytes()
        marks = self._read(content)
        self._size_bytes = 0 if self.is_new else len(content) - (len(content) - len(_HEADER)) % _MARK.itemsize
        os.ftruncate(self._descriptor, self._size_bytes)  # the last entry may be cut short
        if self.is_new:
            self._write(_HEADER)
        return marks

    def _read(self, content: bytes) -> np.ndarray:
        header = content[: len(_HEADER)]
        if header and not any(header):
            LOGGER.warning(
                "state file '%s' begins with zero bytes, as a power cut leaves it: it is begun anew, and images may be "
                "judged again",
                self.path,
            )
            content = b""
        elif not _HEADER.startswith(header):
            raise SourceError(
                f"'{self.path}' is no state file of a watch. Name another file, or one that does not exist yet."
            )
        self.is_new = len(content) < len(_HEADER)
        whole = 0 if self.is_new else (len(content) - len(_HEADER)) // _MARK.itemsize
        return np.unique(np.frombuffer(content[len(_HEADER) :], _MARK, whole)).astype(np.uint64)

    @property
    def is_behind(self) -> bool:
        """Whether something could not be appended, so that only `rewrite` makes it complete again."""
        return bool(self.problem)

    @property
    def may_retry(self) -> bool:
        """Whether it is time to try `rewrite` after a failure."""
        return monotonic() >= self._retry_seconds

    def append(self, marks: list[int]) -> None:
        """Add fingerprints; a failure is told by `problem`."""
        if self._descriptor is None:
            return
        try:
            self._write(np.array(marks, _MARK).tobytes())
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size_bytes)
            self._fail(output_error(self.path, error))

    def rewrite(self, marks: np.ndarray) -> None:
        """Replace all fingerprints in one step; a failure is told by `problem`.

        Args:
            marks: uint64 (N,).
        """
        descriptor = None
        try:
            with atomic_path(self.path) as temporary:
                temporary.write_bytes(_HEADER + marks.astype(_MARK).tobytes())
                descriptor = os.open(temporary, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
                _lock(descriptor)
        except OutputError as error:
            if descriptor is not None:
                os.close(descriptor)
            self._fail(error)
            return
        self.close()
        self._descriptor = descriptor
        self._size_bytes = len(_HEADER) + _MARK.itemsize * len(marks)
        self.problem = ""

    def close(self) -> None:
        """Release the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)

    def _write(self, content: bytes) -> None:
        assert self._descriptor is not None
        written = os.write(self._descriptor, content)
        if written < len(content):  # a full disk takes a part
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size_bytes += written

    def _fail(self, error: OutputError) -> None:
        self.problem = str(error)
        self._retry_seconds = monotonic() + _RETRY_SECONDS


def _lock(descriptor: int) -> bool:
    """Take the file for this process until it is closed; False if another process has it."""
    import fcntl  # here, so that a system without it can do everything else

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
