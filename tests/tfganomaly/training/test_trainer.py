import dataclasses
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="the train extra is not installed")

from edge_runtime.artefact import write_artefact
from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import CalibrationError, TfganomalyError
from edge_runtime.preprocessing import prepare_image, scale_pixels
from edge_runtime.scoring import anomaly_scores
from tests.edge_runtime.conftest import cached_flatbuffer
from tests.edge_runtime.tiny_model import tiny_metadata
from tfganomaly.errors import DataError, OptionError, RunError, TrainingError
from tfganomaly.models.registry import create_model
from tfganomaly.training import provenance, trainer
from tfganomaly.training.observer import TrainingObserver
from tfganomaly.training.run import load_run
from tfganomaly.training.run_folder import RunFolder
from tfganomaly.training.trainer import train

TINY = {
    "generator_width": 4,
    "discriminator_width": 4,
    "latent_size": 8,
    "batch_size": 8,
    "epochs": 3,
    "validation_fraction": 0.2,
    "xla": False,
}


class Recorder(TrainingObserver):
    def __init__(self):
        self.messages, self.progress, self.read = [], [], []

    def message(self, text):
        self.messages.append(text)

    def reading_images(self, done, total):
        self.read.append((done, total))

    def training(self, progress):
        self.progress.append(progress)


@pytest.fixture(scope="module")
def finished(good_folder, tmp_path_factory):
    """A finished run, what it told on the way and its summary."""
    recorder = Recorder()
    path = tmp_path_factory.mktemp("runs") / "parts"
    summary = train(str(good_folder), path, "paper", TINY, observer=recorder)
    return path, recorder, summary


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


def test_the_run_scores_images_as_the_shared_code_does(finished, good_folder):
    run = load_run(finished[0])
    paths = sorted(good_folder.iterdir())[:5]
    pixels = np.stack([prepare_image(path, run.preprocessing) for path in paths])
    outputs = run.model_outputs(pixels)
    scores = anomaly_scores(run.score_rule, scale_pixels(pixels), outputs)
    np.testing.assert_allclose(scores, run.model.score(scale_pixels(pixels)), rtol=1e-6)
    assert run.calibration.num_images == 8
    assert run.calibration.score_min <= run.threshold <= run.calibration.score_max


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(finished, good_folder, tmp_path):
    train(str(good_folder), tmp_path / "again", "paper", TINY)
    first, again = load_run(finished[0]).model.get_weights(), load_run(tmp_path / "again").model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    train(str(good_folder), tmp_path / "other", "paper", {**TINY, "seed": 1})
    other = load_run(tmp_path / "other").model.get_weights()
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_killed_training_resumes_to_the_weights_of_an_uninterrupted_one(finished, good_folder, tmp_path):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if name != "xla"]
    command = [sys.executable, "-m", "tfganomaly", "train", str(good_folder), "--run", str(tmp_path / "killed")]
    command += ["--recipe=paper"]
    history = tmp_path / "killed" / "history.jsonl"
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen([*command, *options, "--no-xla"], cwd=root, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not history.is_file() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the training ended before it could be killed"
    with pytest.raises(RunError, match="not finished"):
        load_run(tmp_path / "killed")

    summary = train(str(good_folder), tmp_path / "killed", resume=True)
    assert summary.epochs == 3
    uninterrupted, resumed = load_run(finished[0]), load_run(tmp_path / "killed")
    for expected, weights in zip(uninterrupted.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, weights)
    assert resumed.threshold == uninterrupted.threshold
    assert not list((tmp_path / "killed" / "checkpoint").glob(".*.part*"))


def test_a_kill_after_the_last_epoch_is_made_good(finished, good_folder, tmp_path):
    shutil.copytree(finished[0], tmp_path / "late")
    folder = RunFolder(tmp_path / "late")
    expected = load_run(folder.path)
    weights, calibration = expected.model.get_weights(), expected.calibration
    folder.model_path.unlink()
    folder.calibration_path.unlink()
    with pytest.raises(RunError, match="not finished"):
        load_run(folder.path)
    train(str(good_folder), folder.path, resume=True)
    again = load_run(folder.path)
    assert all(np.array_equal(a, b) for a, b in zip(weights, again.model.get_weights(), strict=True))
    assert again.calibration == calibration


def test_a_finished_run_can_be_given_more_epochs_but_no_other_option(good_folder, tmp_path):
    train(str(good_folder), tmp_path / "longer", "paper", {**TINY, "epochs": 1})
    with pytest.raises(OptionError, match="--learning-rate"):
        train(str(good_folder), tmp_path / "longer", "paper", {"learning_rate": 0.5}, resume=True)
    with pytest.raises(RunError, match="begun with the data"):
        train("elpv", tmp_path / "longer", resume=True)
    assert train(str(good_folder), tmp_path / "longer", "paper", {"epochs": 2}, resume=True).epochs == 2
    with pytest.raises(OptionError, match=r"--epochs is 1, but the run .*longer' has been trained for 2 already"):
        train(str(good_folder), tmp_path / "longer", "paper", {"epochs": 1}, resume=True)
    assert load_run(tmp_path / "longer").config.training.epochs == 2


@pytest.mark.parametrize("kind", ["run", "artefact"])
def test_only_a_finite_number_is_taken_as_threshold(finished, tmp_path, kind):
    if kind == "run":
        scorer = load_run(finished[0])
    else:
        write_artefact(tmp_path / "tiny.tflite", cached_flatbuffer(32, 1), tiny_metadata())
        scorer = AnomalyDetector(tmp_path / "tiny.tflite")
    scorer.threshold = 2
    for threshold in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(CalibrationError, match="finite raw score"):
            scorer.threshold = threshold
    assert scorer.threshold == 2.0


def test_changed_training_images_are_noticed_at_resume(good_folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for path in good_folder.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    train(str(data), tmp_path / "run", "paper", {**TINY, "epochs": 1})
    for path in data.iterdir():
        Image.new("L", (48, 48), 77).save(path)
    with pytest.raises(RunError, match="have changed"):
        train(str(data), tmp_path / "run", "paper", {"epochs": 2}, resume=True)


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
    assert "1 images that could not be read" in summary.text()


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


def test_half_written_and_foreign_run_folders_are_one_clear_error(tmp_path):
    with pytest.raises(RunError, match="no run folder"):
        load_run(tmp_path / "nothing")
    with pytest.raises(RunError, match=r"no config\.json"):
        load_run(tmp_path)
    for text in ("{", "[]", json.dumps({"format_version": 1})):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(RunError, match="damaged"):
            load_run(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"format_version": 99}))
    with pytest.raises(RunError, match="Upgrade"):
        load_run(tmp_path)


def test_a_run_of_an_older_format_is_read_unless_it_meant_something_else(finished, tmp_path):
    config = json.loads((finished[0] / "config.json").read_text())
    config["format_version"] = 1
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert RunFolder(tmp_path).read_config() == RunFolder(finished[0]).read_config()
    for version, name, value in ((1, "resize_rule", "letterbox"), (2, "score_factor", "image_statistics")):
        changed = {**config, "format_version": version, "training": {**config["training"], name: value}}
        path.write_text(json.dumps(changed))
        with pytest.raises(RunError, match="Train again"):
            RunFolder(tmp_path).read_config()


def test_a_damaged_model_file_is_one_clear_error(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    (tmp_path / "run" / "model.keras").write_bytes(b"PK no model")
    with pytest.raises(RunError, match="cannot be loaded"):
        load_run(tmp_path / "run").model  # noqa: B018 - the property loads it


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
    monkeypatch.setattr("tfganomaly.training.trainer.LARGEST_CACHE_IN_MEMORY", 1000)
    kinds = []
    read = trainer._read

    def remember(*arguments):
        images = read(*arguments)
        kinds.append(type(images.pixels))
        return images

    monkeypatch.setattr(trainer, "_read", remember)
    train(str(good_folder), tmp_path / "run", "paper", TINY)
    assert kinds == [np.memmap, np.memmap]
    in_memory, from_file = load_run(finished[0]).model.get_weights(), load_run(tmp_path / "run").model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(in_memory, from_file, strict=True))
    assert load_run(tmp_path / "run").calibration == load_run(finished[0]).calibration
    assert not list((tmp_path / "run" / "checkpoint").glob("*.pixels"))


def test_a_change_of_the_score_that_is_stopped_leaves_no_threshold_of_the_former_score(
    finished, good_folder, tmp_path, monkeypatch
):
    path, copy = finished[0], tmp_path / "copy"
    shutil.copytree(path, copy)

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "import_quietly", stop)
        with pytest.raises(KeyboardInterrupt):
            train(str(good_folder), copy, given_options={"score": "latent_l1"}, resume=True)
    with pytest.raises(RunError, match="not finished"):
        load_run(copy)
    train(str(good_folder), copy, resume=True)
    assert load_run(copy).calibration.threshold != load_run(path).calibration.threshold


def test_a_resume_elsewhere_is_written_down_beside_what_the_run_was_begun_with(
    finished, good_folder, tmp_path, monkeypatch
):
    folder = RunFolder(shutil.copytree(finished[0], tmp_path / "copy"))
    begun = folder.read_manifest()

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "import_quietly", stop)
    monkeypatch.setattr(provenance, "git_revision", lambda: "another")
    with pytest.raises(KeyboardInterrupt):
        train(str(good_folder), folder.path, resume=True)
    manifest = folder.read_manifest()
    assert manifest["git_revision"] == begun["git_revision"]
    assert manifest["resumed_with"] == [{"git_revision": "another"}]


@pytest.mark.parametrize("score", ["feature_l2", "weighted_sum", "latent_l2=1,feature_l2=1"])
def test_a_score_of_the_discriminator_is_refused_where_there_is_none(good_folder, tmp_path, score):
    with pytest.raises(OptionError, match="needs the discriminator, and the model window_ganomaly has none"):
        train(str(good_folder), tmp_path / "run", "inspection", {"score": score})
    assert not (tmp_path / "run").exists()


def test_a_resume_that_does_not_find_its_data_leaves_the_finished_run(finished, good_folder, tmp_path):
    copy, moved = tmp_path / "copy", tmp_path / "photos"
    shutil.copytree(finished[0], copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "data_source": str(moved)}))
    with pytest.raises(TfganomalyError, match="photos"):
        train(str(moved), copy, given_options={"score": "latent_l1"}, resume=True)
    load_run(copy)
