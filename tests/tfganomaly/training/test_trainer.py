import dataclasses
import shlex
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the train extra is not installed")

from tfganomaly.errors import DataError, OptionError, RunError, TrainingError
from tfganomaly.models.registry import create_model
from tfganomaly.training.run import load_run
from tfganomaly.training.run_folder import RunFolder
from tfganomaly.training.trainer import train

from .conftest import TINY, Recorder


def test_a_run_holds_what_is_promised(finished):
    path, recorder, summary = finished
    folder = RunFolder(path)
    manifest = folder.read_manifest()
    assert manifest["status"] == "finished"
    assert (manifest["num_train"], manifest["num_validation"], manifest["epochs"]) == (32, 8, 3)
    assert len(manifest["data_fingerprint"]) == 64
    assert manifest["seed"] == 0
    assert manifest["machine"]["processor"]
    assert manifest["machine"]["cores"] >= 1
    assert manifest["git_revision"] is None or len(manifest["git_revision"].removesuffix("+changes")) == 40
    assert {"tensorflow", "keras", "numpy", "tfganomaly"} <= set(manifest["versions"])
    assert len(list(folder.samples.glob("epoch-*.png"))) == 3
    assert list(folder.tensorboard.rglob("events.out.*"))
    assert [epoch["epoch"] for epoch in folder.read_history()] == [1, 2, 3]
    assert (summary.epochs, summary.num_train, summary.unreadable) == (3, 32, ())
    assert str(path) in summary.text()
    assert recorder.read[-1] == (8, 8)
    assert [p.epoch for p in recorder.progress if p.epoch_done] == [1, 2, 3]


@pytest.mark.parametrize(
    ("run", "arguments"),
    [("runs/two parts", ["runs/two parts", "two parts.tflite"]), (".", [".", "here it's.tflite"])],
)
def test_the_command_that_comes_next_can_be_pasted(finished, tmp_path, monkeypatch, run, arguments):
    (tmp_path / "here it's").mkdir()
    monkeypatch.chdir(tmp_path / "here it's")
    summary = dataclasses.replace(finished[2], run=Path(run))
    label, command = summary.text().splitlines()[-1].split(maxsplit=1)
    assert label == "next"
    assert shlex.split(command) == ["tfganomaly", "export", arguments[0], "--output", arguments[1]]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(finished, good_folder, tmp_path):
    train(str(good_folder), tmp_path / "again", "paper", TINY)
    first, again = load_run(finished[0]).model.get_weights(), load_run(tmp_path / "again").model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    train(str(good_folder), tmp_path / "other", "paper", {**TINY, "seed": 1})
    other = load_run(tmp_path / "other").model.get_weights()
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_loss_that_is_not_finite_ends_the_training_with_advice(good_folder, tmp_path):
    with pytest.raises(TrainingError, match="smaller --learning-rate"):
        train(str(good_folder), tmp_path / "nan", "paper", {**TINY, "learning_rate": 1e30})
    with pytest.raises(RunError, match="not finished"):
        load_run(tmp_path / "nan")


def test_early_stopping_keeps_the_best_epoch_without_labels(good_folder, tmp_path):
    recorder = Recorder()
    options = {**TINY, "epochs": 60, "early_stop_patience": 2, "learning_rate": 0.01}
    summary = train(str(good_folder), tmp_path / "early", "paper", options, observer=recorder)
    history = RunFolder(tmp_path / "early").read_history()
    losses = [epoch["val_generator_loss"] for epoch in history]
    best = int(np.argmin(losses)) + 1
    assert summary.epochs == best + 2 < 60
    assert any(f"epoch {best}," in message for message in recorder.messages)
    run = load_run(tmp_path / "early")
    expected = create_model("ganomaly", run.config.model)
    expected.load_weights(tmp_path / "early" / "checkpoint" / "best.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(expected.get_weights(), run.model.get_weights(), strict=True))
    resumed = train(str(good_folder), tmp_path / "early", resume=True)
    assert resumed.epochs == summary.epochs


def test_a_run_folder_among_the_images_is_refused(good_folder):
    run = good_folder / "run"
    with pytest.raises(DataError, match=r"--run is '.*run', inside '.*', from which images are taken"):
        train(str(good_folder), run, "paper", TINY)
    assert not run.exists()


def test_an_existing_run_folder_is_refused(finished, good_folder, tmp_path):
    with pytest.raises(RunError, match="--resume"):
        train(str(good_folder), finished[0], "paper", TINY)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not made by train"):
        train(str(good_folder), tmp_path, "paper", TINY)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("score", ["feature_l2", "weighted_sum", "latent_l2=1,feature_l2=1"])
def test_a_score_of_the_discriminator_is_refused_where_there_is_none(good_folder, tmp_path, score):
    with pytest.raises(OptionError, match="needs the discriminator, and the model window_ganomaly has none"):
        train(str(good_folder), tmp_path / "run", "inspection", {"score": score})
    assert not (tmp_path / "run").exists()
