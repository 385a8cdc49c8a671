"""Waits for what another thread or process is to bring about."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep


def wait_until(is_so: Callable[[], object], what: str, timeout_seconds: float = 15.0) -> None:
    """Look until it is so; fail with `what` when it takes too long."""
    end = monotonic() + timeout_seconds
    while not is_so():
        assert monotonic() < end, f"waited {timeout_seconds} s in vain: {what}"
        sleep(0.01)
