"""What cannot be exported is one line with exit code 2, and the artefact of before stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli import main

EARLIER = b"an earlier artefact"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "m.tflite"
    path.write_bytes(EARLIER)
    return path


@pytest.fixture
def refused(output: Path) -> Callable[..., str]:
    """Exports, expects that it fails in one line and leaves the folder as it was; returns the line."""

    def export(run: Path, *options: Any) -> str:
        arguments = ["export", run, "--output", output, "--quantization", "ptq", *options]
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        (line,) = (line for line in result.stderr.splitlines() if line.startswith("Error: "))
        assert result.stderr.splitlines()[-1] == line
        assert output.read_bytes() == EARLIER
        assert [path.name for path in output.parent.iterdir() if path.suffix in (".tflite", ".json", ".html")] == [
            output.name
        ]
        return line

    return export


def _images(folder: Path, count: int, size: int = 32, mode: str = "L") -> Path:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(count):
        shape = (size, size) if mode == "L" else (size, size, 3)
        Image.fromarray(random.integers(0, 255, shape, np.uint8), mode).save(folder / f"{index}.png")
    return folder


def test_a_training_that_is_not_finished(run: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(run, half, ignore=shutil.ignore_patterns("model.keras", "calibration.json"))
    line = refused(half)
    assert "is not finished" in line
    assert "--resume" in line


def test_a_folder_that_is_no_run(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "is not a run folder" in refused(_images(tmp_path / "photos", 2))
    file = tmp_path / "photos" / "0.png"
    assert "is a file; expected the folder given to `tfganomaly train --run`" in refused(file)
    assert "there is no run folder" in refused(tmp_path / "missing")


def test_a_damaged_model(run: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    content = (damaged / "model.keras").read_bytes()
    middle = len(content) // 2
    (damaged / "model.keras").write_bytes(content[:middle])
    assert "cannot be loaded (it is cut off, or no file of Keras)" in refused(damaged)
    (damaged / "model.keras").write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    assert "cannot be loaded (Bad CRC-32" in refused(damaged)


def test_an_empty_name_of_the_data(run: Path, refused: Callable[..., str]) -> None:
    assert "The name of the data is empty" in refused(run, "--data", "")


def test_a_model_without_an_inference_graph(
    run: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfganomaly.models.contract import AnomalyModel
    from tfganomaly.models.ganomaly import Ganomaly

    monkeypatch.setattr(Ganomaly, "inference_graph", AnomalyModel.inference_graph)
    assert "has no inference graph, so it cannot be exported" in refused(run)


def test_a_layer_that_the_export_does_not_know(
    run: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from tfganomaly.models.ganomaly import Ganomaly

    def graph(self: Any) -> keras.Model:
        image = keras.Input((32, 32, 1))
        latent = keras.layers.UnitNormalization(name="unit_length")(keras.layers.Conv2D(6, 32)(image))
        return keras.Model(image, [latent, keras.layers.Conv2D(6, 32)(image), keras.layers.Conv2D(1, 1)(image)])

    monkeypatch.setattr(Ganomaly, "inference_graph", graph)
    assert "Layer 'unit_length' is a UnitNormalization, which the export cannot lower" in refused(run)


def test_a_score_that_needs_the_discriminator(run: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    other = tmp_path / "other run"
    shutil.copytree(run, other)
    config = other / "config.json"
    text = config.read_text("utf-8")
    assert '"latent_l2"' in text
    config.write_text(text.replace('"latent_l2"', '"feature_l2"'), "utf-8")
    line = refused(other)
    assert "a distance in the discriminator, which is not exported" in line
    assert f"--run '{other}' --resume --score latent_l2`" in line  # as a shell takes it


def test_an_empty_folder_of_images(run: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no images" in refused(run, "--data", empty)
    (empty / "notes.txt").write_text("no image")
    assert "holds no images" in refused(run, "--data", empty)
    assert "missing" in refused(run, "--data", tmp_path / "missing")


@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_of_too_few_images(run: Path, refused: Callable[..., str], tmp_path: Path, count: int) -> None:
    line = refused(run, "--data", _images(tmp_path / "few", count))
    assert "few" in line
    assert "images" in line


def test_a_folder_of_images_that_cannot_be_read(run: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    folder = _images(tmp_path / "broken", 12)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:20])
    assert "broken" in refused(run, "--data", folder)


def test_images_of_another_size_and_colour_are_brought_to_the_model_s(run: Path, tmp_path: Path) -> None:
    folder = _images(tmp_path / "large", 16, size=90, mode="RGB")
    arguments = ["export", run, "--output", tmp_path / "m.tflite", "--quantization", "float32", "--data", folder]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert "the data has changed since the training" in result.stdout


def test_images_that_cannot_be_read_are_named(run: Path, tmp_path: Path) -> None:
    folder = _images(tmp_path / "photos", 16)
    (folder / "5.png").write_bytes(b"")
    arguments = ["export", run, "--output", tmp_path / "m.tflite", "--quantization", "float32", "--data", folder]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert "could not be read and were left out: 1. The first:" in result.stdout
    (left_out,) = json.loads((tmp_path / "m.parity.json").read_text("utf-8"))["unreadable"]
    assert left_out["path"] == "5.png"
    assert left_out["error"] in result.stdout
