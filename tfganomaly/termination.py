"""Lets SIGTERM end a command as Ctrl-C does: what is open is closed, and temporary files go."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click


class _Terminated(BaseException):
    """Raised where the program is when SIGTERM comes; no `except Exception` takes it for an error."""


@contextmanager
def orderly_termination() -> Iterator[None]:
    """At SIGTERM the block is left, one line is said, and the exit code is 143, as of a program that SIGTERM ended.

    To be used in the main thread, which alone hears signals.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    former = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    except _Terminated:
        click.echo("Error: The command was stopped by SIGTERM before it was done.", err=True)
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, former)
