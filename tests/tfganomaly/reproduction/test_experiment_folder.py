"""What an experiment's folder takes and refuses, without a training."""

import json

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the train extra is not installed")

from tfganomaly.errors import OptionError, RunError
from tfganomaly.file_lock import file_lock
from tfganomaly.reproduction.experiment import reproduce
from tfganomaly.reproduction.observer import ReproductionObserver

from .conftest import TINY


class Stop(ReproductionObserver):
    """Ends the experiment before its first training."""

    def begin_pair(self, number, class_name, seed):
        raise KeyboardInterrupt


def begin(folder, archive, options=TINY):
    """Accepts the folder, or raises why not."""
    with pytest.raises(KeyboardInterrupt):
        reproduce("mnist", folder, ["0"], None, options, archive=archive, observer=Stop())
    return json.loads((folder / "experiment.json").read_text("utf-8"))


def begin_a_pair(folder):
    (folder / "class-0_seed-0").mkdir()
    (folder / "class-0_seed-0" / "config.json").write_text("{}")


@pytest.fixture
def other_archive(tiny_mnist, tmp_path):
    """The collection with one label changed."""
    with np.load(tiny_mnist) as stored:
        arrays = dict(stored)
    arrays["y_test"][3] = 4
    np.savez(tmp_path / "other.npz", **arrays)
    return tmp_path / "other.npz"


def test_a_folder_with_what_a_kill_left_of_its_first_file_is_taken(tiny_mnist, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".experiment.4711-0123abcd.part.json").write_text("{")
    begin(folder, tiny_mnist)
    (tmp_path / ".notes.part.txt").write_text("mine")
    with pytest.raises(RunError, match="not made by reproduce"):
        reproduce("mnist", tmp_path, ["0"], None, TINY, archive=tiny_mnist)


def test_a_call_that_failed_before_any_training_locks_nothing(tiny_mnist, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(OptionError, match="--max-train-images is 1; at least 2 images are needed"):
        reproduce("mnist", folder, ["0"], None, {**TINY, "max_train_images": 1}, archive=tiny_mnist)
    assert begin(folder, tiny_mnist)["options"]["max_train_images"] is None
    begin_a_pair(folder)
    with pytest.raises(RunError, match="--epochs 2, not 3"):
        begin(folder, tiny_mnist, {**TINY, "epochs": 3})


def test_other_data_is_refused_once_a_training_has_begun(tiny_mnist, other_archive, tmp_path):
    folder = tmp_path / "run"
    begin(folder, tiny_mnist)
    begin_a_pair(folder)
    with pytest.raises(RunError, match="other data: the images or labels of mnist"):
        begin(folder, other_archive)
    begin(folder, tiny_mnist)


def test_an_experiment_begun_before_its_data_was_recorded_goes_on_and_records_it(tiny_mnist, other_archive, tmp_path):
    folder = tmp_path / "run"
    begun = begin(folder, tiny_mnist)
    begin_a_pair(folder)
    older = {name: value for name, value in begun.items() if name != "data_sha256"}
    (folder / "experiment.json").write_text(json.dumps(older))
    assert begin(folder, tiny_mnist) == begun
    with pytest.raises(RunError, match="other data"):
        begin(folder, other_archive)


def test_the_folder_of_a_newer_version_is_refused(tiny_mnist, tmp_path):
    folder = tmp_path / "run"
    begun = begin(folder, tiny_mnist)
    begin_a_pair(folder)
    (folder / "experiment.json").write_text(json.dumps({**begun, "format_version": 2}))
    with pytest.raises(RunError, match=r"has format 2, this version reads up to 1\. Upgrade"):
        reproduce("mnist", folder, ["0"], None, TINY, archive=tiny_mnist)


def test_a_pair_that_another_process_trains_is_refused(tiny_mnist, tmp_path):
    pytest.importorskip("fcntl", reason="this system has no such locks")
    begin(tmp_path / "run", tiny_mnist)
    lock = tmp_path / "run" / ".class-0_seed-0.lock"
    with (
        file_lock(lock, ""),
        pytest.raises(RunError, match=r"another process is training this pair, '.*class-0_seed-0'"),
    ):
        reproduce("mnist", tmp_path / "run", ["0"], None, TINY, archive=tiny_mnist)
