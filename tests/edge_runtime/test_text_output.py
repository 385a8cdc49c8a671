from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_runtime.artefact import read_artefact
from edge_runtime.calibrating.calibrate import calibrate
from edge_runtime.calibration import Calibration
from edge_runtime.flatbuffer import inspect_flatbuffer
from edge_runtime.text_output import info_record, info_text
from tests.edge_runtime.tiny_model import tiny_flatbuffer, tiny_metadata


def calibration_of(num_images: int) -> Calibration:
    return calibrate(np.linspace(0.1, 0.2, num_images), np.full((num_images, 2, 2), 0.1))


def info_of(calibration: Calibration) -> list[str]:
    metadata = replace(tiny_metadata(8), calibration=calibration)
    return info_text(metadata, inspect_flatbuffer(tiny_flatbuffer(8)), 123_456).splitlines()


def test_info_says_what_too_few_good_images_mean_for_the_threshold() -> None:
    few, enough = calibration_of(15), calibration_of(99)
    lines = info_of(few)
    assert "threshold     0.2, asked for: 1.00% false alarms on average" in lines
    assert f"note          {few.note}" in lines
    assert "up to 6.2% of further good images" in few.note
    lines = info_of(enough)
    assert "threshold     0.2, for 1.00% false alarms on average" in lines
    assert not any(line.startswith("note") for line in lines)


def test_the_size_of_the_file_stands_beside_that_of_its_network(artefact_path: Path) -> None:
    artefact, file_bytes = read_artefact(artefact_path), artefact_path.stat().st_size
    inspection = inspect_flatbuffer(artefact.flatbuffer)
    sizes = f"file {file_bytes / 1e6:.2f} MB, network {len(artefact.flatbuffer) / 1e6:.2f} MB"
    assert f"size          {sizes}" in info_text(artefact.metadata, inspection, file_bytes).splitlines()
    record = info_record(artefact.metadata, inspection, file_bytes)
    assert (record["file_bytes"], record["size_bytes"]) == (file_bytes, len(artefact.flatbuffer))
