"""Waits longer after each failure: exponential back-off with jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass
class BackOff:
    """How long to wait before the next try.

    Attributes:
        first_seconds: After the first failure.
        longest_seconds: At most.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    _failures: int = 0

    def next_seconds(self) -> float:
        """Return the wait after one more failure, doubled each time, less up to a quarter.

        By that quarter many devices that lost the same camera or broker do not come back at the same moment.
        """
        wait = min(self.longest_seconds, self.first_seconds * 2 ** min(self._failures, 30))
        self._failures += 1
        return wait * random.uniform(0.75, 1.0)

    def reset(self) -> None:
        """Begin anew after a success."""
        self._failures = 0
