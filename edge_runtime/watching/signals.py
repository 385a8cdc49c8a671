"""Lets the operating system's signals stop a watch or a capture, or make a watch read its model again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.watching.loop import WatchLoop


def signals_for(loop: WatchLoop) -> AbstractContextManager[None]:
    """SIGTERM and SIGINT stop the loop after its frame, a second SIGINT at once; SIGHUP makes it read its model again.

    To be used in the main thread, which alone hears signals.
    """
    return _signals_to(loop.stop, loop.reload_model)


def stop_signals_for(stop: Callable[[str], None]) -> AbstractContextManager[None]:
    """SIGTERM, SIGINT and SIGHUP (a terminal was closed) call `stop` with a reason; a second SIGINT ends at once.

    To be used in the main thread, which alone hears signals.
    """
    return _signals_to(stop, None)


@contextmanager
def _signals_to(stop: Callable[[str], None], reload: Callable[[], None] | None) -> Iterator[None]:
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
            if number == signal.SIGHUP and reload is not None:
                reload()
            else:
                stop(f"stopped by {signal.Signals(number).name}")

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
