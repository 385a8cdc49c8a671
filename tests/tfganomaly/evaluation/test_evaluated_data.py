from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.scoring import ScoreRule
from tfganomaly.data.items import fingerprint
from tfganomaly.data.sources import open_dataset
from tfganomaly.evaluation.evaluated_data import open_for_artefact, open_for_run
from tfganomaly.options import ModelOptions, TrainingOptions
from tfganomaly.training.run import TrainedRun
from tfganomaly.training.run_folder import RunConfig, RunFolder
from tfganomaly.training.trainer import chosen_training_items


def photographs(folder: Path, count: int, seed: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for index in range(count):
        Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(folder / f"part{index}.png")
    return folder


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    return photographs(tmp_path / "parts", 40, seed=0)


@pytest.fixture
def make_run(parts: Path, tmp_path: Path):
    """A run on `parts` as far as it is asked here: its configuration and its manifest."""

    def make(**options):
        training = TrainingOptions(**options)
        config = RunConfig(training, ModelOptions(channels=1), str(parts), None, ScoreRule())
        folder = RunFolder(tmp_path / "run")
        folder.create(config)
        unreadable = ["part0.png"]
        dataset = open_dataset(str(parts), validation_fraction=training.validation_fraction, seed=training.seed)
        taken = [item for item in chosen_training_items(dataset.train, config) if item.name not in unreadable]
        folder.write_manifest(
            {"data_fingerprint": fingerprint(taken), "unreadable": [[name, "damaged"] for name in unreadable]}
        )
        return TrainedRun(folder.path)

    return make


@pytest.fixture
def artefact(parts: Path):
    dataset = open_dataset(str(parts), seed=3)
    return {
        "source": str(parts),
        "fingerprint": fingerprint(dataset.train),
        "num_train": len(dataset.train),
    }


@pytest.mark.parametrize("options", [{}, {"seed": 3, "validation_fraction": 0.2}, {"max_train_images": 7}])
def test_of_the_images_of_the_training_those_held_back_are_opened(make_run, parts, options):
    run = make_run(**options)
    dataset = open_for_run(run, str(parts), None)
    assert dataset == run.config.open_dataset()
    assert dataset.test == ()


def test_a_moved_folder_is_still_that_of_the_training(make_run, artefact, parts, tmp_path):
    run = make_run()
    moved = parts.rename(tmp_path / "moved")
    assert len(open_for_run(run, str(moved), None).validation) == 13
    assert len(open_for_artefact(artefact, None, 3, str(moved), None).validation) == 13


def test_a_folder_that_has_grown_since_an_artefact_was_trained_is_said(artefact, parts):
    photographs(parts / "more", 30, seed=9)
    dataset = open_for_artefact(artefact, None, 3, str(parts), None)
    assert dataset.validation
    assert "the model was trained on 27. If images came since" in dataset.warnings[0]


def test_of_other_good_images_all_are_scored_and_it_is_said_what_they_are(make_run, artefact, tmp_path):
    others = photographs(tmp_path / "others", 25, seed=1)
    for dataset in (
        open_for_run(make_run(), str(others), None),
        open_for_artefact(artefact, None, 3, str(others), None),
    ):
        assert [item.name for item in dataset.test] == [f"part{index}.png" for index in range(25)]
        assert (dataset.train, dataset.validation) == ((), ())
        assert "is not the data that the model was trained on" in dataset.warnings[0]
        assert "all 25 images were scored" in dataset.warnings[0]


def test_images_that_changed_since_the_training_are_not_called_new(make_run, artefact, parts):
    run = make_run()
    photographs(parts, 39, seed=2)
    (parts / "part39.png").unlink()
    for dataset in (open_for_run(run, str(parts), None), open_for_artefact(artefact, None, 3, str(parts), None)):
        assert len(dataset.test) == 39
        assert "have changed since the training" in dataset.warnings[0]


def test_a_test_part_is_scored_whatever_the_model_was_trained_on(make_run, artefact, tmp_path):
    others = tmp_path / "layout"
    for name, seed in (("train/good", 4), ("test/good", 5), ("test/dent", 6)):
        photographs(others / name, 6, seed)
    for dataset in (
        open_for_run(make_run(), str(others), None),
        open_for_artefact(artefact, None, 3, str(others), None),
    ):
        assert len(dataset.test_good) == len(dataset.test_anomalous) == 6
        assert dataset.warnings == ()


def test_an_artefact_that_left_images_out_keeps_its_split(artefact, parts):
    trained_on = {**artefact, "fingerprint": "of fewer images", "num_train": artefact["num_train"] - 1}
    assert len(open_for_artefact(trained_on, None, 3, str(parts), None).validation) == 13


def test_the_archive_of_the_run_is_used_for_its_own_data(tmp_path: Path) -> None:
    archive = digits(tmp_path / "digits.npz")
    config = RunConfig(TrainingOptions(), ModelOptions(channels=1), "mnist:0", str(archive), ScoreRule())
    folder = RunFolder(tmp_path / "run")
    folder.create(config)
    for spelling in ("mnist:0", "MNIST:0"):
        dataset = open_for_run(TrainedRun(folder.path), spelling, None)
        assert dataset.num_test_by_defect == {"0": 20}
        assert dataset.warnings == ()


def test_another_class_of_the_same_collection_is_said_to_mean_little(tmp_path: Path) -> None:
    archive = digits(tmp_path / "digits.npz")
    dataset = open_for_artefact({"source": "mnist:0"}, None, 0, "mnist:8", archive)
    assert dataset.warnings[0].startswith("The model was trained on mnist:0 and is evaluated on mnist:8")
    assert open_for_artefact({"source": "mnist:8"}, None, 0, "mnist:8", archive).warnings == ()
    assert open_for_artefact({"source": "fashion-mnist:0"}, None, 0, "mnist:8", archive).warnings == ()


def digits(path: Path) -> Path:
    labels = np.repeat(np.arange(10, dtype=np.uint8), 10)
    images = np.random.default_rng(0).integers(0, 256, (100, 28, 28), np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return path
