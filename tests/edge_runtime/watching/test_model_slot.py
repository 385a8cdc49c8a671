"""Which model judges after the interpreter has failed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.artefact import write_artefact
from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import BackendError
from edge_runtime.watching.model_slot import ModelSlot
from tests.edge_runtime.conftest import cached_flatbuffer
from tests.edge_runtime.tiny_model import tiny_calibration, tiny_metadata
from tests.edge_runtime.watching.conftest import good


@pytest.mark.parametrize("content", [b"no model", None], ids=["a refused file", "no file"])
def test_a_failed_interpreter_goes_on_with_the_good_model_whatever_is_at_its_path(
    artefact_path: Path, content: bytes | None
) -> None:
    slot = ModelSlot(artefact_path, AnomalyDetector)
    before, picture = slot.current, good()
    if content is None:
        artefact_path.unlink()
    else:
        artefact_path.write_bytes(content)
        assert slot.reload() is None
    problem = slot.problem
    renewed = slot.renew()
    assert renewed is not None
    assert renewed is slot.current
    assert renewed.detector is not before.detector
    assert renewed.sha256 == before.sha256
    assert renewed.detector.detect(picture).score == before.detector.detect(picture).score
    assert renewed.detector.path == artefact_path
    assert bool(slot.problem) == bool(problem) == (content is not None)


def test_a_failed_interpreter_takes_over_another_model_that_works(artefact_path: Path) -> None:
    slot = ModelSlot(artefact_path, AnomalyDetector)
    before = slot.current
    write_artefact(artefact_path, cached_flatbuffer(16, 1), tiny_metadata(16, calibration=tiny_calibration()))
    renewed = slot.renew()
    assert renewed is not None
    assert renewed.sha256 != before.sha256
    assert slot.look() is slot.look() is None


def test_what_was_refused_without_an_interpreter_is_no_problem_once_there_is_one(artefact_path: Path) -> None:
    works = True

    def load(path: Path) -> AnomalyDetector:
        if not works:
            raise BackendError("the accelerator has gone")
        return AnomalyDetector(path)

    slot = ModelSlot(artefact_path, load)
    works = False
    assert slot.reload() is slot.renew() is None
    assert "the accelerator has gone" in slot.problem
    works = True
    assert slot.renew() is slot.current
    assert slot.problem == ""


def test_the_same_model_with_another_date_is_not_taken_over_again(artefact_path: Path) -> None:
    """Taking it over would drop the threshold that somebody has set."""
    slot = ModelSlot(artefact_path, AnomalyDetector)
    before = slot.current
    os.utime(artefact_path, ns=(1, 1))
    assert [slot.look() for _ in range(4)] == [None] * 4
    assert slot.current is before
    write_artefact(artefact_path, cached_flatbuffer(16, 1), tiny_metadata(16, calibration=tiny_calibration()))
    assert slot.look() is None
    assert slot.look() is slot.current is not before
