"""A real Mosquitto broker on a free loopback port, with a folder of its own, that can be stopped and restarted."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from time import monotonic, sleep

import pytest

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (apt-get install mosquitto)")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Broker:
    def __init__(self, folder: Path, extra_configuration: str = "allow_anonymous true") -> None:
        self.port = free_port()
        self._configuration = folder / "mosquitto.conf"
        # Each change is saved, so that the session of a subscriber outlives SIGKILL.
        self._configuration.write_text(
            f"listener {self.port} 127.0.0.1\nuser {os.environ.get('USER', 'root') if os.getuid() else 'root'}\n"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            f"max_queued_messages 100000\n{extra_configuration}\n"
        )
        self._log = (folder / "mosquitto.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        command = [MOSQUITTO, "-c", str(self._configuration), "-v"]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        end = monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, "mosquitto did not start"
                assert monotonic() < end, "mosquitto does not listen"
                sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        self._log.close()
