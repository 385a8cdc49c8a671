import json
import shutil

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="the train extra is not installed")

from tfganomaly.data.arrays import COLLECTIONS
from tfganomaly.data.loading import load_images
from tfganomaly.errors import DataError, OptionError, RunError
from tfganomaly.evaluation.metrics import image_auroc
from tfganomaly.reproduction.epoch_scores import EpochScores
from tfganomaly.reproduction.experiment import reproduce
from tfganomaly.reproduction.observer import ReproductionObserver
from tfganomaly.reproduction.options import ReproductionOptions
from tfganomaly.reproduction.records import pair_records
from tfganomaly.reproduction.summary import summary_lines
from tfganomaly.training.run import load_run
from tfganomaly.training.run_folder import RunFolder

from .conftest import TINY

SCORES = ["latent_l2", "latent_l1", "reconstruction_l1", "relative_latent_l2", "feature_l2", "weighted_sum"]


@pytest.fixture(scope="module")
def finished(tiny_mnist, tmp_path_factory):
    """Two classes, two seeds, never interrupted."""
    folder = tmp_path_factory.mktemp("experiments") / "whole"
    records = reproduce("mnist", folder, ["0", "2"], ReproductionOptions(seeds=2), TINY, archive=tiny_mnist)
    return folder, records


class Interrupter(ReproductionObserver):
    """Stops the experiment at the first finished epoch of its second training."""

    def __init__(self):
        self.pairs = 0

    def begin_pair(self, number, class_name, seed):
        self.pairs += 1

    def training(self, progress):
        if progress.epoch_done and self.pairs == 2:
            raise KeyboardInterrupt


def test_records_are_flat_and_hold_every_option_and_figure(finished):
    folder, records = finished
    assert json.loads((folder / "results.json").read_text()) == records
    assert len(records) == 2 * 2 * len(SCORES)
    assert all(not isinstance(value, (dict, list)) for record in records for value in record.values())
    first = records[0]
    assert [record["score"] for record in records[: len(SCORES)]] == SCORES
    assert [record["decides"] for record in records[: len(SCORES)]] == [True] + 5 * [False]
    shared = ("collection", "protocol", "abnormal", "seed", "epochs", "generator_width", "contextual_loss_weight")
    assert [first[name] for name in shared] == ["mnist", "clean", 0, 0, 2, 4, 50.0]
    assert (first["num_test_good"], first["num_test_anomalous"]) == (90, 50)
    assert len(first["data_fingerprint"]) == 64
    assert first["version_tensorflow"]
    manifest = RunFolder(folder / "class-0_seed-0").read_manifest()
    assert first["processor"] == manifest["machine"]["processor"]
    assert first["usable_cores"] == manifest["machine"]["usable_cores"]
    assert first["resumed_with_others"] is False
    assert first["discriminator_redraws"] == 0


def test_figures_are_those_of_the_kept_scores_and_of_every_epoch(finished):
    folder, records = finished
    for record in records:
        run = folder / f"class-{record['abnormal']}_seed-{record['seed']}"
        kept = EpochScores.load(run / "test_scores.npz")
        assert record["auroc_last_epoch"] == pytest.approx(image_auroc(kept.labels, kept.scores[record["score"]]))
        by_epoch = [epoch[f"test_auroc_{record['score']}"] for epoch in RunFolder(run).read_history()]
        assert len(by_epoch) == 2
        assert record["auroc_best_epoch_on_test"] == max(by_epoch)
        assert by_epoch[record["best_epoch_on_test"] - 1] == max(by_epoch)


def test_the_kept_run_gives_the_same_scores_again(finished, tiny_mnist):
    folder, _ = finished
    run = load_run(folder / "class-2_seed-1")
    kept = EpochScores.load(run.folder.path / "test_scores.npz")
    outputs = run.model_outputs(kept.shown)
    np.testing.assert_allclose(outputs.reconstruction, kept.reconstructions, atol=1e-5)
    assert not list(run.folder.checkpoints.glob("*.h5"))


def test_the_test_part_is_prepared_as_the_training_s_images(tiny_mnist, tmp_path):
    options = {**TINY, "epochs": 1, "contrast_rule": "normalised"}
    reproduce("mnist", tmp_path / "run", ["0"], None, options, archive=tiny_mnist)
    run = load_run(tmp_path / "run" / "class-0_seed-0")
    kept = EpochScores.load(run.folder.path / "test_scores.npz")
    shown = load_images(run.config.open_dataset().test[: len(kept.shown)], run.config.preprocessing).pixels
    np.testing.assert_array_equal(kept.shown[0], shown[0])


def test_an_interrupted_experiment_ends_with_the_same_results(finished, tiny_mnist, tmp_path):
    folder = tmp_path / "stopped"
    arguments = ("mnist", folder, ["0", "2"], ReproductionOptions(seeds=2), TINY)
    with pytest.raises(KeyboardInterrupt):
        reproduce(*arguments, archive=tiny_mnist, observer=Interrupter())
    assert (folder / "class-0_seed-0" / "result.json").is_file()
    assert not (folder / "class-2_seed-0" / "result.json").exists()
    assert RunFolder(folder / "class-2_seed-0").read_history()
    (folder / "class-0_seed-1" / "checkpoint").mkdir(parents=True)  # a kill while a run folder was being made
    (folder / "class-0_seed-1" / ".config.4711-0123abcd.part.json").write_text("{")
    reproduce(*arguments, archive=tiny_mnist)
    whole = finished[0]
    assert (folder / "results.json").read_bytes() == (whole / "results.json").read_bytes()
    for run in ("class-0_seed-0", "class-2_seed-0"):
        ours, theirs = (EpochScores.load(place / run / "test_scores.npz") for place in (folder, whole))
        assert all(np.array_equal(ours.scores[name], theirs.scores[name]) for name in SCORES)


def test_finished_trainings_are_kept_and_other_options_refused(finished, tiny_mnist):
    folder, records = finished
    observer = Interrupter()
    again = reproduce("mnist", folder, ["2"], ReproductionOptions(seeds=1), TINY, archive=tiny_mnist, observer=observer)
    assert observer.pairs == 0
    assert again == records
    with pytest.raises(RunError, match=r"--epochs 2, not 3.*--run"):
        reproduce("mnist", folder, ["0"], None, {**TINY, "epochs": 3}, archive=tiny_mnist)
    with pytest.raises(RunError, match="--protocol clean, not official"):
        reproduce("mnist", folder, ["0"], ReproductionOptions(protocol="official"), TINY, archive=tiny_mnist)


def test_an_experiment_begun_before_an_option_existed_goes_on(finished, tiny_mnist, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "older")
    path = folder / "experiment.json"
    stored = json.loads(path.read_text("utf-8"))
    del stored["options"]["contrast_rule"], stored["options"]["steps_per_epoch"]
    path.write_text(json.dumps(stored), "utf-8")
    assert reproduce("mnist", folder, ["2"], ReproductionOptions(seeds=1), TINY, archive=tiny_mnist) == finished[1]
    with pytest.raises(RunError, match="--contrast-rule as_is, not normalised"):
        reproduce("mnist", folder, ["0"], None, {**TINY, "contrast_rule": "normalised"}, archive=tiny_mnist)


def test_a_score_that_the_first_epochs_did_not_know_is_left_out(finished, tmp_path):
    folder = shutil.copytree(finished[0] / "class-2_seed-0", tmp_path / "older")
    history = folder / "history.jsonl"
    first, *others = history.read_text("utf-8").splitlines(keepends=True)
    known = {name: value for name, value in json.loads(first).items() if name != "test_auroc_relative_latent_l2"}
    history.write_text(json.dumps(known) + "\n" + "".join(others), "utf-8")
    scores = EpochScores.load(folder / "test_scores.npz")
    records = pair_records(RunFolder(folder), scores, COLLECTIONS["mnist"], 2, "clean")
    assert [record["score"] for record in records] == [name for name in SCORES if name != "relative_latent_l2"]


def test_what_a_run_was_resumed_with_and_its_redraws_reach_the_records(finished, tmp_path):
    run = RunFolder(shutil.copytree(finished[0] / "class-2_seed-0", tmp_path / "run"))
    run.write_manifest({**run.read_manifest(), "resumed_with": [{"git_revision": "another"}]})
    history = run.read_history()
    run.write_history([*history[:-1], {**history[-1], "discriminator_redraws": 3.0}])
    scores = EpochScores.load(run.path / "test_scores.npz")
    for record in pair_records(run, scores, COLLECTIONS["mnist"], 2, "clean"):
        assert (record["resumed_with_others"], record["discriminator_redraws"]) == (True, 3)


def test_a_checkpoint_that_a_kill_left_in_a_finished_training_is_removed(finished, tiny_mnist, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "killed")
    checkpoint = folder / "class-2_seed-0" / "checkpoint" / "epoch-00002.weights.h5"
    checkpoint.touch()
    reproduce("mnist", folder, ["2"], ReproductionOptions(seeds=1), TINY, archive=tiny_mnist)
    assert not checkpoint.exists()


def test_table_and_pictures_show_all_classes(finished):
    folder, records = finished
    text = "\n".join(summary_lines(records, folder))
    assert "seeds 0, 1" in text
    assert "±" in text
    assert text.count("mean ") >= 2
    for name in ("auroc.png", "histograms.png", "reconstructions.png"):
        with Image.open(folder / name) as picture:
            assert picture.width > 400
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 20


def test_the_official_protocol_scores_by_the_batch_and_changes_no_training(finished, tiny_mnist, tmp_path):
    whole, _ = finished
    options = ReproductionOptions(protocol="official")
    official = reproduce("mnist", tmp_path / "official", ["0"], options, TINY, archive=tiny_mnist)
    assert {record["protocol"] for record in official} == {"official"}
    name = "class-0_seed-0"
    ours, theirs = load_run(tmp_path / "official" / name), load_run(whole / name)
    for one, other in zip(ours.model.get_weights(), theirs.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    by_batch, by_inference = (
        EpochScores.load(place / name / "test_scores.npz") for place in (tmp_path / "official", whole)
    )
    assert np.array_equal(by_batch.labels, by_inference.labels)
    assert np.corrcoef(by_batch.scores["reconstruction_l1"], by_inference.scores["reconstruction_l1"])[0, 1] > 0.5
    assert not np.allclose(by_batch.scores["latent_l2"], by_inference.scores["latent_l2"], rtol=1e-2)


def test_the_users_own_sum_decides(tiny_mnist, tmp_path):
    options = {**TINY, "epochs": 1, "score": "latent_l1=2,reconstruction_l1=0.5"}
    records = reproduce("mnist", tmp_path / "sum", ["3"], None, options, archive=tiny_mnist)
    assert [record["score"] for record in records if record["decides"]] == ["2 latent_l1 + 0.5 reconstruction_l1"]
    assert load_run(tmp_path / "sum" / "class-3_seed-0").score_rule.components == {
        "latent_l1": 2.0,
        "reconstruction_l1": 0.5,
    }


def test_bad_input_is_said_before_anything_is_written(tiny_mnist, tmp_path):
    folder = tmp_path / "none"
    with pytest.raises(DataError, match="no class '11'"):
        reproduce("mnist", folder, ["11"], archive=tiny_mnist)
    with pytest.raises(DataError, match="There is no"):
        reproduce("mnist", folder, ["1"], archive=tmp_path / "gone.npz")
    (tmp_path / "cut.npz").write_bytes(tiny_mnist.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"cut\.npz"):
        reproduce("mnist", folder, ["1"], archive=tmp_path / "cut.npz")
    np.savez(tmp_path / "wrong.npz", **{f"{k}_{p}": np.zeros((20, 5, 5)[: 3 if k == "x" else 1], np.uint8)
                                        for k in "xy" for p in ("train", "test")})  # fmt: skip
    with pytest.raises(DataError, match=r"shape \(5, 5\)"):
        reproduce("mnist", folder, ["1"], archive=tmp_path / "wrong.npz")
    with pytest.raises(OptionError, match="--score"):
        reproduce("mnist", folder, ["1"], None, {"score": "guess"}, archive=tiny_mnist)
    for name, value in (("seed", 3), ("model", "window_ganomaly"), ("score_factor", "image_statistics")):
        with pytest.raises(OptionError, match=f"--{name.replace('_', '-')} "):
            reproduce("mnist", folder, ["1"], None, {name: value}, archive=tiny_mnist)
    assert not folder.exists()
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not made by reproduce"):
        reproduce("mnist", folder, ["1"], archive=tiny_mnist)
