"""The default recipe through the whole training, on images small enough for a test."""

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the train extra is not installed")

from tfganomaly.data.loading import load_images
from tfganomaly.models.registry import create_model
from tfganomaly.training.callbacks import TrainingProgress
from tfganomaly.training.observer import TrainingObserver, epoch_line
from tfganomaly.training.run import load_run
from tfganomaly.training.run_folder import RunFolder
from tfganomaly.training.statistics_power import choose_power
from tfganomaly.training.trainer import train

SMALL = {
    "image_size": 64,
    "generator_width": 4,
    "latent_size": 8,
    "epochs": 3,
    "steps_per_epoch": 4,
    "batch_size": 4,
    "validation_fraction": 0.2,
}


class StopAfterFirstEpoch(TrainingObserver):
    def training(self, progress):
        if progress.epoch_done:
            raise KeyboardInterrupt


class Remember(TrainingObserver):
    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


@pytest.fixture(scope="module")
def messages():
    return Remember()


@pytest.fixture(scope="module")
def chosen_on():
    """The images on which the training chose how much the statistics count."""
    return []


@pytest.fixture(scope="module")
def finished(good_folder, tmp_path_factory, messages, chosen_on):
    path = tmp_path_factory.mktemp("runs") / "parts"

    def watched_choice(run, pixels, *others):
        chosen_on.append(pixels)
        return choose_power(run, pixels, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfganomaly.training.trainer.choose_power", watched_choice)
        return path, train(str(good_folder), path, given_options=SMALL, observer=messages)


def test_it_is_the_default_and_judges_by_the_worst_windows(finished):
    run = load_run(finished[0])
    assert (run.config.training.recipe, run.config.training.model) == ("inspection", "window_ganomaly")
    assert (run.score_rule.pooling, run.score_rule.map_source) == ("top", "latent")
    assert (run.preprocessing.resize_rule, run.preprocessing.contrast_rule) == ("letterbox", "fitted")
    assert run.calibration.score_max > 0


def test_each_epoch_is_measured_on_defects_of_kinds_never_painted(finished):
    history = RunFolder(finished[0]).read_history()
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert all(0 <= epoch["val_missed_ranking"] <= 1 for epoch in history)


def test_how_much_the_statistics_count_is_said_and_kept(finished, messages):
    (said,) = [text for text in messages.messages if text.startswith("image statistics count")]
    statistics = load_run(finished[0]).score_rule.statistics
    assert f"count to the power {statistics.power}," in said if statistics else "count not at all," in said


def test_how_much_the_statistics_count_is_chosen_on_images_that_were_held_back(finished, chosen_on):
    run = load_run(finished[0])
    held_back = load_images(run.config.open_dataset().validation, run.preprocessing).pixels
    np.testing.assert_array_equal(np.concatenate(chosen_on), held_back)


def test_an_interrupted_training_resumes_to_the_weights_of_an_uninterrupted_one(finished, good_folder, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(str(good_folder), tmp_path / "stopped", given_options=SMALL, observer=StopAfterFirstEpoch())
    assert train(str(good_folder), tmp_path / "stopped", resume=True).epochs == 3
    expected, resumed = load_run(finished[0]), load_run(tmp_path / "stopped")
    for ours, theirs in zip(expected.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert resumed.calibration == expected.calibration
    assert resumed.score_rule == expected.score_rule


def test_the_best_epoch_is_kept_when_asked_for(good_folder, tmp_path):
    train(str(good_folder), tmp_path / "best", given_options={**SMALL, "early_stop_patience": 3})
    folder = RunFolder(tmp_path / "best")
    missed = [epoch["val_missed_ranking"] for epoch in folder.read_history()]
    assert np.argmin(missed) < len(missed) - 1, "the best epoch is the last, so this test would show nothing"
    run = load_run(folder.path)
    best = create_model("window_ganomaly", run.config.model)
    best.load_weights(folder.checkpoints / "best.weights.h5")
    for expected, kept in zip(best.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, expected)


def test_the_line_of_an_epoch_says_in_plain_words_how_well_painted_defects_are_found():
    losses = {"generator_loss": 2.5, "good_window_loss": 0.5, "val_generator_loss": 5.07, "val_missed_ranking": 0.123}
    line = epoch_line(TrainingProgress(2, 3, 4, 4, losses, epoch_done=True, images_per_second=10.0))
    assert line == (
        "epoch   2/3  loss 2.500, held back 5.070  | painted defects told from good parts 88% (50% is chance)  "
        "| 10 images/s"
    )


def test_the_line_of_an_epoch_of_the_papers_model_has_its_losses():
    losses = {"generator_loss": 9.0, "contextual_loss": 0.5, "latent_loss": 0.25, "val_generator_loss": 5.07}
    line = epoch_line(TrainingProgress(1, 3, 4, 4, losses, epoch_done=True, images_per_second=10.0))
    assert line == "epoch   1/3  contextual 0.5000  latent 0.2500  | held-back good images 5.0700  | 10 images/s"
