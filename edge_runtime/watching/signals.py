"""Lets the operating system's signals stop a watch, or make it read its model again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

from edge_runtime.watching.loop import WatchLoop


@contextmanager
def signals_for(loop: WatchLoop) -> Iterator[None]:
    """SIGTERM and SIGINT stop the loop after its frame, a second SIGINT at once; SIGHUP makes it read its model again.

    To be used in the main thread, which alone hears signals.
    """
    # A handler runs in the middle of anything, so it must take no lock that the loop may hold. `SimpleQueue.put` is
    # made for that; a thread does what is asked.
    received: SimpleQueue[int] = SimpleQueue()
    interrupts = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1:
            raise KeyboardInterrupt
        received.put(number)

    def act() -> None:
        while number := received.get():
            if number == signal.SIGHUP:
                loop.reload_model()
            else:
                loop.stop(f"stopped by {signal.Signals(number).name}")

    former = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    thread = threading.Thread(target=act, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        received.put(0)
        thread.join()
