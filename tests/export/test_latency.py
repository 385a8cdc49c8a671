"""Files timed in turns, on a clock and with interpreters made up here; no TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from export.latency import measure_latencies_ms

PIXELS = np.zeros((4, 4, 1), np.uint8)


class MadeUpMachine:
    """A clock, and interpreters that take as many seconds as their file has bytes, ten times as many at first."""

    def __init__(self, slow_after: float = np.inf) -> None:
        self.now = 0.0
        self.ran: list[bytes] = []
        self._slow_after = slow_after

    def load(self, flatbuffer: bytes, num_threads: int) -> Any:
        assert num_threads == 1
        machine = self

        class Interpreter:
            def run(self, pixels: np.ndarray) -> None:
                np.testing.assert_array_equal(pixels, PIXELS)
                is_first = machine.ran[-1:] != [flatbuffer]
                is_slow = machine.now > machine._slow_after
                machine.now += len(flatbuffer) * (10 if is_first else 3 if is_slow else 1)
                machine.ran.append(flatbuffer)

        return Interpreter()

    def measure(self, flatbuffers: list[bytes]) -> list[float]:
        return measure_latencies_ms(flatbuffers, PIXELS, backend_loader=self.load, seconds_now=lambda: self.now)


def test_the_first_runs_of_a_turn_are_not_counted() -> None:
    assert MadeUpMachine().measure([b"1", b"22", b"333"]) == pytest.approx([1000, 2000, 3000])


def test_a_machine_that_becomes_slow_half_way_makes_no_file_faster_than_its_equal() -> None:
    machine = MadeUpMachine()
    machine.measure([b"a", b"b"])
    slow_half_way = MadeUpMachine(slow_after=machine.now / 2)
    first, second = slow_half_way.measure([b"a", b"b"])
    assert first == second
    changes = sum(one != other for one, other in zip(slow_half_way.ran, slow_half_way.ran[1:], strict=False))
    assert changes >= 10
