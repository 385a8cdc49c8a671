"""What a stopped, finished or moved run becomes when its training goes on."""

import json
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

from edge_runtime.errors import TfganomalyError
from tfganomaly.errors import OptionError, RunError
from tfganomaly.file_lock import file_lock
from tfganomaly.training import provenance, trainer
from tfganomaly.training.run import load_run
from tfganomaly.training.run_folder import RunFolder
from tfganomaly.training.trainer import train

from .conftest import TINY


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
    (tmp_path / "killed" / ".model.4711-0123abcd.part.keras").touch()

    summary = train(str(good_folder), tmp_path / "killed", resume=True)
    assert summary.epochs == 3
    uninterrupted, resumed = load_run(finished[0]), load_run(tmp_path / "killed")
    for expected, weights in zip(uninterrupted.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, weights)
    assert resumed.threshold == uninterrupted.threshold
    assert not list((tmp_path / "killed").rglob(".*.part*"))


def test_a_run_that_another_process_trains_is_left_alone(finished, good_folder, tmp_path):
    pytest.importorskip("fcntl", reason="this system has no such locks")
    shutil.copytree(finished[0], tmp_path / "run")
    half_written = tmp_path / "run" / "checkpoint" / ".state.4711-0123abcd.part.npz"
    half_written.touch()
    with (
        file_lock(tmp_path / "run" / ".training.lock", ""),
        pytest.raises(RunError, match=r"another process is training in '.*run'"),
    ):
        train(str(good_folder), tmp_path / "run", resume=True)
    assert half_written.exists()
    summary = train(str(good_folder), tmp_path / "run", resume=True)
    assert "3 epochs" in summary.text()
    assert "(0 epochs of them now)" in summary.text()
    assert not half_written.exists()
    assert not (tmp_path / "run" / ".training.lock").exists()


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


def test_a_history_that_lacks_epochs_of_the_checkpoint_is_one_clear_error(finished, good_folder, tmp_path):
    folder = RunFolder(shutil.copytree(finished[0], tmp_path / "run"))
    first = folder.history_path.read_bytes().splitlines(keepends=True)[0]
    folder.history_path.write_bytes(first + b"\xff\xfe")
    assert [epoch["epoch"] for epoch in folder.read_history()] == [1]
    with pytest.raises(RunError, match=r"history\.jsonl' is damaged \(it has 1 of 3 finished epochs\)"):
        train(str(good_folder), folder.path, resume=True)


def test_a_manifest_without_the_fingerprint_of_the_data_is_no_traceback(finished, good_folder, tmp_path):
    folder = RunFolder(shutil.copytree(finished[0], tmp_path / "run"))
    folder.write_manifest({"status": "finished"})
    with pytest.raises(RunError, match="have changed since the run"):
        train(str(good_folder), folder.path, resume=True)


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


def test_a_resume_that_does_not_find_its_data_leaves_the_finished_run(finished, good_folder, tmp_path):
    copy, moved = tmp_path / "copy", tmp_path / "photos"
    shutil.copytree(finished[0], copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "data_source": str(moved)}))
    with pytest.raises(TfganomalyError, match="photos"):
        train(str(moved), copy, given_options={"score": "latent_l1"}, resume=True)
    load_run(copy)
