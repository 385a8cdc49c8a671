"""The command line end to end: tiny train, evaluate, export, inspect, calibrate, info, benchmark; and bad input."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli import main
from tfganomaly.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
TINY = (
    "--generator-width=4",
    "--discriminator-width=4",
    "--latent-size=8",
    "--batch-size=8",
    "--no-xla",
)


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def assert_one_line_error(result, *words):
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len([line for line in lines if line.startswith("Error:")]) == 1, result.stderr
    assert "Traceback" not in result.output
    for word in words:
        assert word in lines[-1], (word, lines[-1])


@pytest.fixture(scope="session")
def mvtec_folder(good_folder, tmp_path_factory):
    """A data set in MVTec layout: 30 good images to train, 10 good and 10 with a black bar to test."""
    root = tmp_path_factory.mktemp("mvtec")
    for part in ("train/good", "test/good", "test/bar", "ground_truth/bar"):
        (root / part).mkdir(parents=True)
    for index, path in enumerate(sorted(good_folder.iterdir())):
        pixels = np.array(Image.open(path))
        part = "train/good" if index < 30 else "test/good"
        Image.fromarray(pixels).save(root / part / path.name)
        if index >= 30:
            pixels[10:38, 20:28] = 0
            mask = np.zeros_like(pixels)
            mask[10:38, 20:28] = 255
            Image.fromarray(pixels).save(root / "test/bar" / path.name)
            Image.fromarray(mask).save(root / "ground_truth/bar" / f"{path.stem}_mask.png")
    return root


@pytest.fixture(scope="session")
def trained(mvtec_folder, tmp_path_factory):
    """A run trained by the command line."""
    pytest.importorskip("tensorflow", reason="the train extra is not installed")
    run = tmp_path_factory.mktemp("cli") / "run"
    result = invoke(
        "train",
        mvtec_folder,
        "--run",
        run,
        "--recipe=paper",
        *TINY,
        "--epochs=60",
        "--learning-rate=0.002",
        "--validation-fraction=0.2",
    )
    assert result.exit_code == 0, result.output
    assert "threshold" in result.stdout
    return run


@pytest.fixture(scope="session")
def artefact(trained, tmp_path_factory):
    """The run's int8 artefact, by quantization-aware training."""
    pytest.importorskip("tensorflow_model_optimization", reason="the export extra is not installed")
    path = tmp_path_factory.mktemp("artefact") / "model.tflite"
    result = invoke("export", trained, "--output", path, "--fine-tuning-steps=4", "--calibration-images=16",
                    "--max-auroc-drop=1", "--max-verdict-flips=1")  # fmt: skip
    assert result.exit_code == 0, result.output
    return path


def test_evaluate_takes_a_run_and_an_artefact_and_writes_the_promised_json(trained, artefact, mvtec_folder, tmp_path):
    figures = {}
    for name, scorer in (("float", trained), ("int8", artefact)):
        result = invoke(
            "evaluate", scorer, mvtec_folder, "--json", tmp_path / name, "--report", tmp_path / f"{name}_report"
        )
        assert result.exit_code == 0, result.output
        figures[name] = json.loads((tmp_path / name).read_text())
        assert (tmp_path / f"{name}_report" / "report.html").stat().st_size > 10_000
        assert {
            "image_auroc", "image_auprc", "f1_at_threshold", "best_f1", "threshold", "false_alarm_rate", "miss_rate",
            "pixel_auroc", "aupro", "per_defect_auroc", "shortcut_baselines", "num_normal", "num_anomalous", "scores",
        } <= set(figures[name])  # fmt: skip
        assert (figures[name]["num_normal"], figures[name]["num_anomalous"]) == (10, 10)
        assert {"path", "label", "score"} <= set(figures[name]["scores"][0])
        assert figures[name]["pixel_auroc"] is not None
    # A black bar in a soft disc is plain to see: even a tiny model must find it, in float and in int8.
    assert figures["float"]["image_auroc"] > 0.8
    assert figures["int8"]["image_auroc"] > 0.7


def test_scores_stand_side_by_side_and_any_of_them_may_decide(trained, artefact, mvtec_folder, tmp_path):
    for scorer, has_discriminator in ((trained, True), (artefact, False)):
        result = invoke("evaluate", scorer, mvtec_folder, "--json", tmp_path / "figures.json")
        figures = json.loads((tmp_path / "figures.json").read_text())
        expected = {"latent_l2", "latent_l1", "reconstruction_l1", "relative_latent_l2"}
        expected |= {"feature_l2", "weighted_sum"} if has_discriminator else set()
        assert set(figures["score_aurocs"]) == expected
        assert figures["deciding_score"] == "latent_l2"
        assert figures["score_aurocs"]["latent_l2"] == figures["image_auroc"]
        assert ("need the discriminator" in result.stdout) == (not has_discriminator)

    run = tmp_path / "run"
    shutil.copytree(trained, run)
    result = invoke("train", mvtec_folder, "--run", run, "--resume", "--score", "feature_l2")
    assert result.exit_code == 0, result.output
    assert invoke("evaluate", run, mvtec_folder, "--json", tmp_path / "other.json").exit_code == 0
    other = json.loads((tmp_path / "other.json").read_text())
    assert other["deciding_score"] == "feature_l2"
    assert other["threshold"] != figures["threshold"]
    assert_one_line_error(
        invoke("export", run, "--output", tmp_path / "m.tflite"), "discriminator", "--score latent_l2"
    )
    assert_one_line_error(invoke("train", mvtec_folder, "--run", run, "--resume", "--score", "guess"), "--score")


def test_reproduce_takes_classes_in_a_row_and_says_bad_input_in_one_line(tmp_path):
    pytest.importorskip("tensorflow", reason="the train extra is not installed")
    labels = np.arange(200) % 10
    images = np.random.default_rng(0).integers(0, 255, (200, 28, 28), np.uint8)
    arrays = {"x_train": images, "y_train": labels, "x_test": images[:50], "y_test": labels[:50]}
    np.savez(tmp_path / "mnist.npz", **arrays)
    command = ("reproduce", "--abnormal", "0", "7", "mnist", "--run", tmp_path / "run", *TINY, "--epochs=1")
    result = invoke(*command, "--data", tmp_path / "mnist.npz")
    assert result.exit_code == 0, result.output
    assert "image AUROC, last epoch" in result.stdout
    records = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {record["abnormal"] for record in records} == {0, 7}
    again = invoke(*command, "--data", tmp_path / "mnist.npz")
    assert "2 class/seed pairs are finished already" in again.stderr
    assert again.stdout == result.stdout

    for wrong in ("10", "-1"):
        result = invoke("reproduce", "mnist", "--abnormal", wrong, "--data", tmp_path / "mnist.npz")
        assert_one_line_error(result, f"'{wrong}'")
    for rest in ((), ("--epochs", "1")):
        result = invoke("reproduce", "mnist", "--abnormal", *rest)
        assert result.exit_code == 2
        assert "--abnormal has no value" in result.stderr
    assert_one_line_error(invoke("reproduce", "mnist", "--data", tmp_path / "gone.npz"), "gone.npz", "mnist.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "mnist.npz").read_bytes()[:900])
    assert_one_line_error(invoke("reproduce", "mnist", "--data", tmp_path / "cut.npz"), "cut.npz")
    np.savez(tmp_path / "wrong.npz", **{**arrays, "x_train": images[:, :20]})
    assert_one_line_error(invoke("reproduce", "mnist", "--data", tmp_path / "wrong.npz"), "wrong.npz", "shape")


def test_of_a_plain_folder_the_images_held_back_from_training_are_scored(good_folder, tmp_path):
    pytest.importorskip("tensorflow_model_optimization", reason="the export extra is not installed")
    run, model = tmp_path / "run", tmp_path / "model.tflite"
    assert (
        invoke(
            "train", good_folder, "--run", run, "--recipe=paper", *TINY, "--epochs=1", "--validation-fraction=0.4"
        ).exit_code
        == 0
    )
    assert invoke("export", run, "--output", model, "--quantization=float32").exit_code == 0
    held_back = {item.name for item in RunFolder(run).read_config().open_dataset().validation}
    assert len(held_back) == 16
    for scorer in (run, model):
        assert invoke("evaluate", scorer, good_folder, "--json", tmp_path / "figures.json").exit_code == 0
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert {Path(entry["path"]).name for entry in figures["scores"]} == held_back
        assert figures["image_auroc"] is None

    new_photos = tmp_path / "new"
    new_photos.mkdir()
    for path in sorted(good_folder.iterdir())[:12]:
        Image.fromarray(np.array(Image.open(path))[::-1]).save(new_photos / path.name)
    for scorer in (run, model):
        result = invoke("evaluate", scorer, new_photos, "--json", tmp_path / "figures.json")
        assert result.exit_code == 0, result.output
        assert "is not the data that the model was trained on" in result.stdout
        assert "held back" not in result.stdout
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert (figures["num_normal"], figures["num_anomalous"], figures["part"]) == (12, 0, "test")


def test_pictures_are_not_written_among_the_images(good_folder, monkeypatch):
    monkeypatch.chdir(good_folder)
    before = sorted(good_folder.iterdir())
    assert_one_line_error(invoke("defects", "."), "--output is 'defects.png'", "from which images are taken")
    assert_one_line_error(invoke("train", ".", "--run", "run"), "--run is 'run'", "from which images are taken")
    assert sorted(good_folder.iterdir()) == before


def test_inspect_gives_a_verdict_an_image_and_skips_what_it_cannot_read(artefact, mvtec_folder, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "broken.png").write_bytes(b"")
    result = invoke(
        "inspect",
        artefact,
        mvtec_folder / "test",
        tmp_path / "new",
        "--format",
        "json",
        "--heatmaps",
        tmp_path / "maps",
    )
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(records) == 21
    judged = [record for record in records if "score" in record]
    assert all(
        set(record) == {"path", "score", "normalised_score", "threshold", "is_anomaly", "latency_ms", "heatmap"}
        for record in judged
    )
    assert [set(record) for record in records if record not in judged] == [{"path", "error"}]
    assert "1 unreadable" in result.stderr
    assert {record["heatmap"] for record in judged} == set(map(str, (tmp_path / "maps").glob("*_heatmap.jpg")))
    assert len({record["heatmap"] for record in judged}) == 20


def test_each_record_names_its_own_heatmap_where_images_have_the_same_name(artefact, mvtec_folder, tmp_path):
    name = next((mvtec_folder / "test/bar").iterdir()).name
    images = [tmp_path / size / name for size in ("small", "large")]
    for path, size in zip(images, (20, 60), strict=True):
        path.parent.mkdir()
        Image.open(mvtec_folder / "test/bar" / name).resize((size, size)).save(path)
    result = invoke("inspect", artefact, *images, "--format", "json", "--heatmaps", tmp_path / "maps")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["path"] for record in records] == list(map(str, images))
    assert [Image.open(record["heatmap"]).width for record in records] == [20, 60]
    plain = invoke("inspect", artefact, *images, "--format", "json")
    assert all("heatmap" not in json.loads(line) for line in plain.stdout.splitlines())


def test_inspect_exit_codes_tell_anomalies_and_bad_input_apart(artefact, mvtec_folder, tmp_path):
    image = next((mvtec_folder / "test/good").iterdir())
    assert invoke("inspect", artefact, image, "--threshold=-1").exit_code == 0
    assert invoke("inspect", artefact, image, "--threshold=-1", "--fail-on-anomaly").exit_code == 1
    assert invoke("inspect", artefact, image, "--threshold=1e9", "--fail-on-anomaly").exit_code == 0
    (tmp_path / "text.png").write_text("not an image")
    assert_one_line_error(invoke("inspect", artefact, tmp_path / "text.png"), "text.png", "not an image")


def test_a_score_is_the_same_in_the_run_the_float_artefact_and_inspect(trained, mvtec_folder, tmp_path):
    pytest.importorskip("tensorflow_model_optimization", reason="the export extra is not installed")
    path = tmp_path / "float.tflite"
    exported = invoke("export", trained, "--output", path, "--quantization", "float32")
    assert exported.exit_code == 0, exported.output
    assert invoke("evaluate", trained, mvtec_folder, "--json", tmp_path / "run.json").exit_code == 0
    assert invoke("evaluate", path, mvtec_folder, "--json", tmp_path / "artefact.json").exit_code == 0
    inspected = invoke("inspect", path, mvtec_folder / "test", "--format", "json")
    of_run, of_artefact = (
        {
            Path(entry["path"]).relative_to(mvtec_folder): entry["score"]
            for entry in json.loads(file.read_text())["scores"]
        }
        for file in (tmp_path / "run.json", tmp_path / "artefact.json")
    )
    of_inspect = {
        Path(record["path"]).relative_to(mvtec_folder): record["score"]
        for record in map(json.loads, inspected.stdout.splitlines())
    }
    assert set(of_run) == set(of_artefact) == set(of_inspect)
    assert of_artefact == of_inspect
    for name, score in of_run.items():
        assert of_artefact[name] == pytest.approx(score, rel=1e-3, abs=1e-6), name


def test_calibrate_sets_the_threshold_from_good_images(artefact, mvtec_folder, tmp_path):
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(artefact.read_bytes())
    result = invoke("calibrate", copy, mvtec_folder / "test/good", "--false-alarm-rate", "0.1")
    assert result.exit_code == 0, result.output
    calibration = json.loads(invoke("info", copy, "--format", "json").stdout)["metadata"]["calibration"]
    assert (calibration["num_images"], calibration["false_alarm_rate"]) == (10, 0.1)
    records = map(
        json.loads, invoke("inspect", copy, mvtec_folder / "test/good", "--format", "json").stdout.splitlines()
    )
    assert sum(record["is_anomaly"] for record in records) <= 1


def test_calibrate_with_some_defects_chooses_the_best_trade(artefact, mvtec_folder, tmp_path):
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(artefact.read_bytes())
    good, bars, mixed = mvtec_folder / "test/good", mvtec_folder / "test/bar", tmp_path / "mixed"
    mixed.mkdir()
    for path in sorted(bars.iterdir())[:4]:
        shutil.copy(path, mixed)
    (mixed / "broken.png").write_bytes(b"no image")
    result = invoke("calibrate", copy, good, "--defects", mixed)
    assert result.exit_code == 0, result.output
    assert "broken.png" in result.stderr
    assert "of 4 found; balanced accuracy" in result.stdout
    assert "of further good images exceed the threshold, with 95% confidence" in result.stdout
    stored = json.loads(invoke("info", copy, "--format", "json").stdout)["metadata"]["calibration"]
    assert (stored["method"], stored["defects"]["num_images"], stored["num_images"]) == ("defects", 4, 10)
    assert 0 < stored["highest_false_alarm_rate_95"] <= 1
    assert "best trade" in invoke("info", copy).stdout
    assert invoke("calibrate", copy, good, "--defects", mixed, "--miss-cost", "5").exit_code == 0
    assert (
        "5.00% false alarms with 95% confidence"
        in invoke("calibrate", copy, good, "--false-alarm-rate", "0.05", "--confidence", "0.95").stdout
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_one_line_error(invoke("calibrate", copy, good, "--defects", empty), "empty")
    assert_one_line_error(invoke("calibrate", copy, good, "--miss-cost", "2"), "no defective images")
    assert_one_line_error(invoke("calibrate", copy, bars, "--defects", bars), "keep the two apart")
    both = ("--defects", bars, "--miss-cost", "2", "--false-alarm-rate", "0.1")
    assert_one_line_error(invoke("calibrate", copy, good, *both), "two ways")


def test_calibrate_refuses_folders_of_another_kind_and_says_copies(artefact, mvtec_folder, tmp_path):
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(artefact.read_bytes())
    good = mvtec_folder / "test/good"
    assert_one_line_error(invoke("calibrate", copy, mvtec_folder), "ground_truth", "test/good")
    assert_one_line_error(invoke("calibrate", copy, good, "--defects", mvtec_folder / "test"), "folder of good parts")
    assert copy.read_bytes() == artefact.read_bytes()
    doubled = tmp_path / "doubled"
    for folder in ("monday", "tuesday"):
        shutil.copytree(good, doubled / folder)
    result = invoke("calibrate", copy, doubled)
    assert result.exit_code == 0, result.output
    assert "10 of 20 good images are exact copies of others" in result.stderr


def test_info_shows_an_integer_graph_and_the_metadata(artefact):
    shown = json.loads(invoke("info", artefact, "--format", "json").stdout)
    assert set(shown["tensor_types"]) <= {"INT8", "INT32"}
    assert {operation["name"] for operation in shown["operations"]} >= {"CONV_2D", "LEAKY_RELU"}
    assert shown["inputs"][0]["shape"] == [1, 32, 32, 1]
    assert shown["metadata"]["quantization"] == "qat"
    assert shown["file_bytes"] == artefact.stat().st_size > shown["size_bytes"]
    text = invoke("info", artefact).stdout
    assert f"file {artefact.stat().st_size / 1e6:.2f} MB, network" in text
    assert "CONV_2D" in text
    assert "threshold" in text


def test_benchmark_writes_the_promised_json(artefact, tmp_path):
    result = invoke("benchmark", artefact, "--runs", "5", "--json", tmp_path / "figures.json")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {
        "latency_ms",
        "cold_start_ms",
        "peak_rss_mb",
        "images_per_second",
        "threads",
        "backend",
        "model_bytes",
    } <= set(figures)
    assert set(figures["latency_ms"]) == {"p50", "p95", "p99", "mean"}


def test_the_device_commands_run_where_tensorflow_cannot_be_imported(artefact, mvtec_folder, tmp_path):
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(artefact.read_bytes())
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras', 'tf_keras', 'sklearn', 'rich')))\n"
        "from tfganomaly.__main__ import main; main()"
    )
    good = str(mvtec_folder / "test/good")
    for arguments in (["inspect", str(copy), good], ["calibrate", str(copy), good], ["info", str(copy)],
                      ["calibrate", str(copy), good, "--defects", str(mvtec_folder / "test/bar")],
                      ["benchmark", str(copy), "--runs", "2"]):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    for arguments, extra in (
        (["train", good, "--run", str(tmp_path / "run")], "train"),
        (["export", "x", "--output", "y"], "export"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert f"pip install 'tfganomaly[{extra}]'" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["inspect", "calibrate"])
def test_empty_missing_and_imageless_folders_are_one_line(command, artefact, tmp_path):
    assert_one_line_error(invoke(command, artefact, tmp_path), "empty")
    (tmp_path / "notes.txt").write_text("no image")
    assert_one_line_error(invoke(command, artefact, tmp_path), "no images")
    assert_one_line_error(invoke(command, artefact, tmp_path / "missing"), "missing")


@pytest.mark.parametrize("command", ["inspect", "calibrate", "info", "benchmark", "evaluate"])
def test_a_damaged_or_foreign_model_file_is_one_line(command, artefact, mvtec_folder, tmp_path):
    calibrated_with = mvtec_folder / "test/good"
    rest = {"inspect": [mvtec_folder], "calibrate": [calibrated_with], "evaluate": [mvtec_folder]}.get(command, [])
    content = artefact.read_bytes()
    changed = bytearray(content)
    changed[len(content) // 3] ^= 0xFF
    for name, data in {
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "text": b"hello",
        "changed": bytes(changed),
    }.items():
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(data)
        assert_one_line_error(invoke(command, path, *rest), str(path))
    assert_one_line_error(invoke(command, tmp_path / "missing.tflite", *rest), "missing.tflite")


def test_bad_training_input_is_one_line_and_makes_no_run(good_folder, tmp_path):
    pytest.importorskip("tensorflow", reason="the train extra is not installed")
    run = tmp_path / "run"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_one_line_error(invoke("train", empty, "--run", run), "empty")
    assert_one_line_error(invoke("train", tmp_path / "missing", "--run", run), "missing")
    assert_one_line_error(invoke("train", "mnist:12", "--run", run), "12")
    assert_one_line_error(invoke("train", good_folder, "--run", run, "--image-size", "48"), "multiple of 32")
    assert_one_line_error(invoke("train", good_folder, "--run", run, "--epochs", "0"), "--epochs")
    assert_one_line_error(invoke("train", good_folder, "--run", run, "--resume"), "run folder")
    assert not run.exists()
    occupied = tmp_path / "file"
    occupied.write_text("mine")
    assert_one_line_error(invoke("train", good_folder, "--run", occupied), "file")
    assert occupied.read_text() == "mine"


def test_figures_take_the_place_of_earlier_figures_alone(trained, artefact, mvtec_folder, tmp_path):
    photograph = next((mvtec_folder / "test" / "good").iterdir())
    for scorer, place in ((artefact, artefact), (artefact, photograph), (trained, trained / "config.json")):
        before = place.read_bytes()
        result = invoke("evaluate", scorer, mvtec_folder, "--json", place)
        assert_one_line_error(result, "--json", "holds something else")
        assert place.read_bytes() == before
    assert_one_line_error(invoke("benchmark", artefact, "--runs", "1", "--json", artefact), "holds something else")
    for _ in range(2):
        result = invoke("benchmark", artefact, "--runs", "1", "--json", tmp_path / "figures.json")
        assert result.exit_code == 0, result.output


def test_an_empty_name_is_not_the_folder_at_hand(artefact):
    result = invoke("inspect", artefact, "")
    assert result.exit_code == 2
    assert "The name is empty" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a device that is always full")
def test_a_full_disk_and_an_unwritable_output_are_one_line(trained, artefact, mvtec_folder, tmp_path):
    before = artefact.read_bytes()
    assert_one_line_error(
        invoke("benchmark", artefact, "--runs", "1", "--json", tmp_path / "no" / "such" / "f.json"), "no/such"
    )
    result = invoke("evaluate", artefact, mvtec_folder, "--json", tmp_path / "no" / "such" / "f.json")
    assert_one_line_error(result, "no/such")
    assert "scoring" not in result.stderr  # said before the work
    result = invoke("evaluate", artefact, mvtec_folder, "--report", "/dev/null/report")
    assert_one_line_error(result, "/dev/null")
    result = invoke("inspect", artefact, mvtec_folder / "test", "--heatmaps", "/dev/null/maps")
    assert_one_line_error(result, "/dev/null")
    assert artefact.read_bytes() == before
