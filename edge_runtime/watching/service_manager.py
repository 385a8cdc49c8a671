"""Tells systemd that the watch is ready, alive, stopping: the sd_notify protocol, `man 3 sd_notify`.

Outside of a service, where NOTIFY_SOCKET is not set, nothing happens.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


class ServiceManager:
    """The other end of a unit with `Type=notify` and, to be restarted when the loop hangs, `WatchdogSec=`."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")

    def ready(self) -> None:
        """The first frame can come."""
        self._send("READY=1")

    def alive(self, status: str) -> None:
        """The loop is not stuck; `systemctl status` shows the line."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self) -> None:
        """The end begins."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.connect(address)
            notify.sendall(message.encode())
