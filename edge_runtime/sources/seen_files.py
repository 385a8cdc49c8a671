"""Remembers which files were judged, in a few bytes a file."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

_RECENT_LIMIT = 4096
DEFAULT_CAPACITY = 4_000_000  # 32 MB


def fingerprint(path: str, size_bytes: int, modified_ns: int) -> int:
    """Return 64 bits for a file's path, size and time of change: another content is another file."""
    text = f"{path}\0{size_bytes}\0{modified_ns}".encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def content_fingerprint(path: str, content: bytes) -> int:
    """Return 64 bits for a file's path and content, whatever its time of change says."""
    return int.from_bytes(blake2b(content, digest_size=8, key=_key(path)).digest(), "little")


def _key(path: str) -> bytes:
    return blake2b(path.encode("utf-8", "surrogateescape"), digest_size=32).digest()


class SeenFiles:
    """A set of fingerprints: a sorted array, and a small set of the latest which is merged into it now and then.

    Two of a million files have the same fingerprint with a probability of 3e-8.

    Args:
        capacity: When more are held, those that `forget_missing` does not find any more are dropped.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self.capacity = capacity
        self._sorted = np.empty(0, np.uint64)
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __contains__(self, mark: int) -> bool:
        if mark in self._recent:
            return True
        position = int(np.searchsorted(self._sorted, np.uint64(mark)))
        return position < len(self._sorted) and int(self._sorted[position]) == mark

    def add(self, mark: int) -> None:
        """Remember a file."""
        if mark in self:
            return
        self._recent.add(mark)
        if len(self._recent) > _RECENT_LIMIT:
            self._merge()

    def discard(self, mark: int) -> None:
        """Forget a file; nothing where it is not known."""
        self._recent.discard(mark)
        if mark in self:
            self._sorted = self._sorted[self._sorted != np.uint64(mark)]

    def add_all(self, marks: np.ndarray) -> None:
        """Remember many files.

        Args:
            marks: Their fingerprints, uint64 (N,).
        """
        self._sorted = np.union1d(self._sorted, marks)

    def all(self) -> np.ndarray:
        """Return all fingerprints, uint64 (N,) in rising order."""
        self._merge()
        return self._sorted

    def forget_missing(self, present: set[int]) -> None:
        """Drop files that are not in the folder any more, once more than `capacity` are remembered.

        Files that are there are always kept, so that none is judged twice, even above the capacity.

        Args:
            present: The fingerprints of all files that a complete look at the folder found.
        """
        if len(self) <= self.capacity:
            return
        self._merge()
        kept = np.fromiter(present, np.uint64, len(present))
        self._sorted = self._sorted[np.isin(self._sorted, kept)]

    def _merge(self) -> None:
        recent = np.fromiter(self._recent, np.uint64, len(self._recent))
        self._sorted = np.union1d(self._sorted, recent)
        self._recent.clear()
