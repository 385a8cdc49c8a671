"""Trainings on few, odd, unreadable or many images: what they come to and what the user is told."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="the train extra is not installed")

from edge_runtime.preprocessing import prepare_image, scale_pixels
from edge_runtime.scoring import anomaly_scores
from tfganomaly.errors import TrainingError
from tfganomaly.training import good_images
from tfganomaly.training.run import load_run
from tfganomaly.training.run_folder import RunFolder
from tfganomaly.training.trainer import train

from .conftest import TINY, Recorder


def test_unreadable_images_are_named_and_left_out(good_folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for path in good_folder.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    (data / "part_005.png").write_bytes(b"")
    recorder = Recorder()
    summary = train(str(data), tmp_path / "run", "paper", {**TINY, "epochs": 1}, observer=recorder)
    assert [name for name, _ in summary.unreadable] == ["part_005.png"]
    assert any("part_005.png" in message for message in recorder.messages)
    assert "images that could not be read: 1" in summary.text()


def test_a_file_name_that_is_not_utf8_is_trained_on(good_folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for index, path in enumerate(sorted(good_folder.iterdir())):
        name = os.fsdecode(b"caf\xe9_%03d.png" % index)
        try:
            (data / name).write_bytes(path.read_bytes() if index else b"")
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
    recorder = Recorder()
    summary = train(str(data), tmp_path / "run", "paper", {**TINY, "epochs": 1}, observer=recorder)
    assert [name for name, _ in summary.unreadable] == [os.fsdecode(b"caf\xe9_000.png")]
    assert len(RunFolder(tmp_path / "run").read_manifest()["data_fingerprint"]) == 64
    assert load_run(tmp_path / "run").threshold > 0


def test_too_few_images_are_said_before_a_run_folder_is_made(good_folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for path in sorted(good_folder.iterdir())[:3]:
        (data / path.name).write_bytes(path.read_bytes())
    with pytest.raises(TrainingError, match="too few good images: 1 to train on and 2 held back") as error:
        train(str(data), tmp_path / "run", "paper", TINY)
    assert "--validation-fraction" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_thirty_good_images_train_and_the_user_is_told_what_to_expect(good_folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for path in sorted(good_folder.iterdir())[:30]:
        shutil.copy(path, data)
    summary = train(str(data), tmp_path / "run", "paper", {**TINY, "validation_fraction": None, "epochs": 1})
    assert (summary.num_train, summary.num_validation) == (20, 10)
    text = summary.text()
    assert "Only 20 images to train on" in text
    assert "10 good images are too few for a false alarm rate of 1%, which needs at least 99" in text
    assert "on average up to 9.1% of further good images" in text
    assert "at most 25.9% of further good images exceed the threshold, with 95% confidence" in text
    assert (
        load_run(tmp_path / "run").config.open_dataset().validation
        == load_run(tmp_path / "run").config.open_dataset(str(data)).validation
    )


def test_identical_images_are_trained_on_with_a_clear_warning(good_folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    original = sorted(good_folder.iterdir())[0]
    for index in range(12):
        shutil.copy(original, data / f"part_{index}.png")
    recorder = Recorder()
    summary = train(str(data), tmp_path / "run", "paper", {**TINY, "epochs": 1}, observer=recorder)
    assert any("are the same, pixel by pixel" in message for message in recorder.messages)
    run = load_run(tmp_path / "run")
    pixels = prepare_image(original, run.preprocessing)[np.newaxis]
    same = anomaly_scores(run.score_rule, scale_pixels(pixels), run.model_outputs(pixels))[0]
    assert same == pytest.approx(summary.threshold, rel=1e-5)
    assert 0 <= run.calibration.normalise(float(same)) <= 1


def test_defects_in_the_training_folder_are_named_after_the_training(good_folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for path in good_folder.iterdir():
        pixels = np.array(Image.open(path))
        if path.name in ("part_004.png", "part_021.png"):
            pixels[2:14, 2:14] = 255
        Image.fromarray(pixels).save(data / path.name)
    options = {**TINY, "epochs": 25, "learning_rate": 0.002}
    summary = train(str(data), tmp_path / "run", "paper", options)
    (note,) = [note for note in summary.notes if "stand out" in note]
    assert note.startswith("2 of 40 good images stand out")
    assert "part_004.png" in note
    assert "part_021.png" in note
    assert (tmp_path / "run" / "stand_out.png").is_file()


def test_a_cache_file_instead_of_memory_gives_the_same_weights_and_is_gone_afterwards(
    finished, good_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("tfganomaly.training.good_images.LARGEST_CACHE_IN_MEMORY", 1000)
    kinds = []
    read = good_images._read

    def remember(*arguments):
        images = read(*arguments)
        kinds.append(type(images.pixels))
        return images

    monkeypatch.setattr(good_images, "_read", remember)
    train(str(good_folder), tmp_path / "run", "paper", TINY)
    assert kinds == [np.memmap, np.memmap]
    in_memory, from_file = load_run(finished[0]).model.get_weights(), load_run(tmp_path / "run").model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(in_memory, from_file, strict=True))
    assert load_run(tmp_path / "run").calibration == load_run(finished[0]).calibration
    assert not list((tmp_path / "run" / "checkpoint").glob("*.pixels"))
