"""One tiny run trained and exported; what the export promises about run, artefact and report."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from cli import main
from edge_runtime.artefact import read_artefact
from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import OutputError
from export import ExportError, ExportOptions, ExportResult, ParityError, export_run
from tfganomaly.data.items import fingerprint
from tfganomaly.errors import DataError, MissingExtraError, RunError
from tfganomaly.training.run_folder import RunFolder

LAX = {"max_auroc_drop": 1.0, "max_verdict_flips": 1.0}
QUICK = {"fine_tuning_steps": 4, "fine_tuning_batch_size": 4, **LAX}


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ExportResult, list[str]]:
    stages: list[str] = []
    output = tmp_path_factory.mktemp("out") / "tiny.tflite"
    options = ExportOptions(compare=True, **QUICK)
    return export_run(run, output, options, progress=lambda stage, *_: stages.append(stage)), stages


def _fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_artefact_judges_images_and_says_where_it_comes_from(
    exported: tuple[ExportResult, list[str]], run: Path, labelled_folder: Path
) -> None:
    result, _ = exported
    metadata = read_artefact(result.artefact).metadata
    assert metadata.quantization == "qat"
    assert metadata.model == "ganomaly"
    assert metadata.data["source"] == str(labelled_folder.resolve())
    assert metadata.data["fingerprint"] == json.loads((run / "manifest.json").read_text())["data_fingerprint"]
    assert metadata.calibration.num_images == 10
    assert metadata.parity == result.parity.summary()
    # Six labelled defects are too few to compare on alone: a disturbed copy of each held-back image stands beside.
    assert (metadata.parity["num_anomalous"], metadata.parity["num_disturbed_copies"]) == (6 + 10, 10)
    assert any("fewer than 10 good or anomalous test images" in note for note in result.notes)
    assert metadata.data["exported_with"] == {
        "source": metadata.data["source"],
        "fingerprint": metadata.data["fingerprint"],
        "num_train": 30,
        "num_validation": 10,
    }
    assert not any("the data has changed" in note for note in result.notes)
    detection = AnomalyDetector(result.artefact).detect(labelled_folder / "test" / "bar" / "000.png")
    assert detection.score > 0
    assert detection.threshold == metadata.calibration.threshold


def test_the_float32_artefact_scores_as_the_run(exported: tuple[ExportResult, list[str]]) -> None:
    result, _ = exported
    names = [artefact.name for artefact in result.parity.artefacts]
    assert names == ["int8 (qat)", "float32", "int8 (ptq)"]
    float32 = result.parity.artefacts[1]
    # The same function in other kernels: float32 rounding only.
    assert float32.score_difference.max < 1e-4 * result.parity.run_scores.max()
    assert float32.verdict_flips == 0
    assert float32.auroc_drop.value == pytest.approx(0, abs=1e-9)


def test_the_threshold_is_that_of_the_exported_file(exported: tuple[ExportResult, list[str]], run: Path) -> None:
    from export.images import load_export_images
    from export.threshold import ThresholdTransfer
    from tfganomaly.training.run import load_run

    result, _ = exported
    calibration = result.metadata.calibration
    images = load_export_images(RunFolder(run).read_config(), ExportOptions(), None, lambda *_: None)
    transfer = ThresholdTransfer(load_run(run), images.held_back, ExportOptions().seed)
    carried = transfer.apply(calibration, AnomalyDetector(result.artefact)).threshold
    assert calibration.threshold == result.parity.exported.threshold == pytest.approx(carried, rel=1e-6)
    for other in result.parity.artefacts[1:]:
        assert calibration.threshold != pytest.approx(other.threshold, rel=1e-6)


def test_the_calibration_is_of_the_file_s_own_scores_of_held_back_good_images(
    exported: tuple[ExportResult, list[str]], run: Path
) -> None:
    from export.images import load_export_images

    result, _ = exported
    images = load_export_images(RunFolder(run).read_config(), ExportOptions(), None, lambda *_: None)
    detector = AnomalyDetector(result.artefact)
    scores = [detector.detect(pixels[..., 0]).score for pixels in images.held_back]
    calibration = result.metadata.calibration
    assert (min(scores), max(scores)) == pytest.approx((calibration.score_min, calibration.score_max))
    assert calibration.num_above == sum(score > calibration.threshold for score in scores)


def test_defects_have_no_say_in_the_threshold(run: Path, labelled_folder: Path, tmp_path: Path) -> None:
    without = tmp_path / "without"
    shutil.copytree(labelled_folder, without, ignore=shutil.ignore_patterns("bar"))
    options = ExportOptions(quantization="ptq", **LAX)
    calibrations = [
        export_run(run, tmp_path / f"{folder.name}.tflite", options, data_source=str(folder)).metadata.calibration
        for folder in (labelled_folder, without)
    ]
    assert calibrations[0] == calibrations[1]


def test_comparing_post_training_quantization_with_itself_is_said(run: Path, tmp_path: Path) -> None:
    options = ExportOptions(quantization="ptq", compare=True, **LAX)
    result = export_run(run, tmp_path / "m.tflite", options)
    assert [each.name for each in result.parity.artefacts] == ["int8 (ptq)", "float32"]
    assert any("--compare adds post-training quantization, which is what was exported" in note for note in result.notes)


def test_the_report_lies_beside_the_artefact(exported: tuple[ExportResult, list[str]]) -> None:
    result, _ = exported
    assert result.parity_html == result.artefact.with_name("tiny.parity.html")
    stored = json.loads(result.parity_json.read_text("utf-8"))
    assert stored["passed"] is True
    assert [entry["step"] for entry in stored["fine_tuning"]] == [0, 1, 2, 3, 4]
    assert {path.name for path in result.artefact.parent.iterdir()} == {
        "tiny.tflite",
        "tiny.parity.json",
        "tiny.parity.html",
    }


def test_stages_are_told_in_order(exported: tuple[ExportResult, list[str]]) -> None:
    _, stages = exported
    order = list(dict.fromkeys(stages))
    assert order[:4] == ["read images", "load TensorFlow", "fold batch normalization", "score with the run"]
    assert order.index("observe ranges") < order.index("fine-tune") < order.index("calibrate int8 (qat)")
    assert order[-1] == "measure times"  # all files are made by then, and timed against one another


def test_the_lines_for_the_terminal_name_file_and_report(exported: tuple[ExportResult, list[str]]) -> None:
    result, _ = exported
    text = result.text()
    for line in ("AUROC of int8 (qat) minus the run's: ", "AUROC of int8 (qat) minus that of int8 (ptq): "):
        assert line in text
    assert str(result.artefact) in text
    assert str(result.parity_html) in text
    assert "int8 (ptq)" in text
    assert "10 good images are too few" in text  # the calibration's note
    assert text.splitlines()[-1] == (
        f"next: tfganomaly evaluate {result.artefact} DATA, or tfganomaly inspect {result.artefact} IMAGES"
    )
    moved = replace(result, artefact=Path("two parts/m.tflite")).text().splitlines()[-1]
    assert moved == (
        "next: tfganomaly evaluate 'two parts/m.tflite' DATA, or tfganomaly inspect 'two parts/m.tflite' IMAGES"
    )


def test_exports_in_any_order_give_the_same_bytes_and_leave_the_run_alone(
    exported: tuple[ExportResult, list[str]], run: Path, tmp_path: Path
) -> None:
    before = _fingerprint(run)
    other = ExportOptions(quantization="ptq", target="edgetpu", edgetpu_compiler="none", **LAX)
    first = export_run(run, tmp_path / "first.tflite", other).artefact.read_bytes()
    again = export_run(run, tmp_path / "again.tflite", ExportOptions(**QUICK))
    last = export_run(run, tmp_path / "last.tflite", other).artefact.read_bytes()
    assert again.artefact.read_bytes() == exported[0].artefact.read_bytes()
    assert first == last
    assert _fingerprint(run) == before


def test_a_run_that_is_worse_than_chance_is_said(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from export import images
    from tfganomaly.evaluation import metrics

    monkeypatch.setattr(images, "FEWEST_TEST_IMAGES", 2)  # so that no copies stand in
    options = ExportOptions(quantization="float32", **LAX)
    for auroc, is_said in ((0.25, True), (0.75, False)):
        monkeypatch.setattr(metrics, "image_auroc", lambda labels, scores, auroc=auroc: auroc)
        notes = export_run(run, tmp_path / "m.tflite", options).notes
        assert any(f"The AUROC of {auroc:.3f} is below chance" in note for note in notes) == is_said


def test_past_the_bound_exit_code_2_keeps_both_reports_and_the_earlier_artefact(run: Path, tmp_path: Path) -> None:
    from export import gate  # the gate's own arithmetic is tested in test_parity.py

    output = tmp_path / "m.tflite"
    export_run(run, output, ExportOptions(quantization="float32", **LAX))
    earlier = _fingerprint(tmp_path)
    arguments = ["export", str(run), "--output", str(output), "--quantization", "float32"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "gate_failures", lambda parity, labels, options: ("the image AUROC is 0.1",))
        result = CliRunner().invoke(main, arguments)
        with pytest.raises(ParityError) as caught:
            export_run(run, output, ExportOptions(quantization="float32"))
    assert result.exit_code == 2
    refused = tmp_path / "m.refused.parity.html"
    assert result.stderr.splitlines()[-1] == (
        f"Error: '{output}' was not written: the image AUROC is 0.1. The report of what was refused is '{refused}'."
    )
    assert caught.value.report_path == refused
    page = refused.read_text("utf-8")
    assert "Not exported" in page
    assert "the image AUROC is 0.1" in page
    assert json.loads((tmp_path / "m.refused.parity.json").read_text("utf-8"))["passed"] is False
    assert {name: value for name, value in _fingerprint(tmp_path).items() if "refused" not in name} == earlier

    export_run(run, output, ExportOptions(quantization="float32", **LAX))
    assert set(_fingerprint(tmp_path)) == set(earlier)  # the refused report was of the try before


def test_where_the_report_has_no_room_the_earlier_artefact_stays(run: Path, tmp_path: Path) -> None:
    output, page = tmp_path / "m.tflite", tmp_path / "m.parity.html"
    output.write_bytes(b"an earlier artefact")
    page.symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"Cannot write '.*m.parity.html': the disk is full"):
        export_run(run, output, ExportOptions(quantization="float32", **LAX))
    assert output.read_bytes() == b"an earlier artefact"
    assert {path.name for path in tmp_path.iterdir()} == {output.name, page.name}


def test_data_that_has_moved_is_found_where_the_user_says(run: Path, labelled_folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(labelled_folder, moved)
    for index in range(20):
        (moved / "train" / "good" / f"{index:03d}.png").unlink()
    options = ExportOptions(quantization="float32", **LAX)
    result = export_run(run, tmp_path / "m.tflite", options, data_source=str(moved))
    assert result.metadata.quantization == "float32"
    assert any("the data has changed since the training" in note for note in result.notes)
    with pytest.raises(DataError, match="nowhere"):
        export_run(run, tmp_path / "m.tflite", options, data_source=str(tmp_path / "nowhere"))


def test_other_images_in_the_same_number_are_noted_and_recorded(
    run: Path, labelled_folder: Path, tmp_path: Path
) -> None:
    moved, limited = tmp_path / "moved", tmp_path / "limited"
    shutil.copytree(labelled_folder, moved)
    shutil.copytree(run, limited)
    config = json.loads((limited / "config.json").read_text())
    config["training"]["max_train_images"] = 20
    (limited / "config.json").write_text(json.dumps(config))
    read_config = RunFolder(limited).read_config()
    drawn = np.sort(np.random.default_rng(read_config.training.seed).choice(30, 20, replace=False))
    train = read_config.open_dataset().train
    trained_on = fingerprint(train[index] for index in drawn)
    manifest = json.loads((limited / "manifest.json").read_text())
    (limited / "manifest.json").write_text(json.dumps({**manifest, "data_fingerprint": trained_on, "num_train": 20}))
    options = ExportOptions(quantization="float32", **LAX)

    same = export_run(limited, tmp_path / "m.tflite", options, data_source=str(moved))
    assert not any("the data has changed" in note for note in same.notes)
    shutil.copy(moved / "test" / "good" / "000.png", moved / train[drawn[0]].name)
    other = export_run(limited, tmp_path / "m.tflite", options, data_source=str(moved))
    (note,) = (note for note in other.notes if "the data has changed since the training" in note)
    assert str(moved) in note
    data = read_artefact(tmp_path / "m.tflite").metadata.data
    assert data["fingerprint"] == trained_on != data["exported_with"]["fingerprint"]
    assert data["exported_with"]["source"] == str(moved)
    assert data["source"] == str(labelled_folder.resolve())


def test_an_archive_that_has_moved_is_found_where_the_user_says(
    run: Path, labelled_folder: Path, tmp_path: Path
) -> None:
    of_archive = tmp_path / "run"
    shutil.copytree(run, of_archive)
    config = json.loads((of_archive / "config.json").read_text())
    config.update(data_source="mnist:8", data_archive=str(tmp_path / "gone" / "mnist.npz"))
    (of_archive / "config.json").write_text(json.dumps(config))
    labels = np.arange(200) % 10
    digits = np.random.default_rng(0).integers(0, 255, (200, 28, 28), np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=digits, y_train=labels, x_test=digits[:50], y_test=labels[:50])
    arguments = ["export", of_archive, "--output", tmp_path / "m.tflite", "--quantization", "float32"]

    def export(*more: Any) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in (*arguments, *more)])

    for own_data in ((), ("--data", "MNIST:8")):  # of any spelling, the run's archive belongs to it
        without = export(*own_data)
        assert without.exit_code == 2
        assert "gone" in without.stderr.splitlines()[-1]
    done = export("--archive", tmp_path / "mnist.npz")
    assert done.exit_code == 0, done.output
    assert read_artefact(tmp_path / "m.tflite").metadata.data["exported_with"]["source"] == "mnist:8"
    assert export("--data", labelled_folder).exit_code == 0  # a folder in its place needs no archive


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("m.onnx", "ends in .tflite"),
        ("missing/m.tflite", "the folder '.*missing' does not exist"),
        ("folder.tflite", "it is a folder"),
    ],
)
def test_an_impossible_output_is_said_before_the_work(run: Path, tmp_path: Path, output: str, message: str) -> None:
    (tmp_path / "folder.tflite").mkdir()
    with pytest.raises((ExportError, OutputError), match=message):
        export_run(run, tmp_path / output)


def test_what_is_not_a_finished_run_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run folder"):
        export_run(tmp_path / "none", tmp_path / "m.tflite")
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(run / "config.json", half)
    with pytest.raises(RunError, match="not finished"):
        export_run(half, tmp_path / "m.tflite")
    longer = tmp_path / "longer"
    shutil.copytree(run, longer)
    manifest = json.loads((longer / "manifest.json").read_text())
    (longer / "manifest.json").write_text(json.dumps({**manifest, "status": "training"}))
    with pytest.raises(RunError, match="not finished"):
        export_run(longer, tmp_path / "m.tflite")
    damaged, stages = tmp_path / "damaged", list[str]()
    shutil.copytree(run, damaged)
    (damaged / "calibration.json").write_text("{")
    with pytest.raises(RunError, match=r"calibration.json' is damaged"):
        export_run(damaged, tmp_path / "m.tflite", progress=lambda stage, *_: stages.append(stage))
    assert stages == []


def test_a_missing_extra_is_one_line(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfganomaly import extras

    monkeypatch.setattr(extras, "_is_installed", lambda module: module != "tf_keras")
    with pytest.raises(MissingExtraError, match=r"pip install 'tfganomaly\[export\]'"):
        export_run(run, tmp_path / "m.tflite")
