"""Parity figures of models made up in numpy; no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import os
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.flatbuffer import FlatbufferInspection
from edge_runtime.scoring import ModelOutputs
from export import parity as parity_module
from export.disturbance import Purpose, with_disturbed_pixels
from export.errors import ExportError, ParityError
from export.fine_tuning_result import Agreement, FineTuningResult
from export.gate import gate_failures
from export.images import FEWEST_TEST_IMAGES, _draw_by_class, choose_parity_images
from export.options import MOST_TRAIN_IMAGES, ExportOptions
from export.parity import ArtefactParity, ParityImages, ParityReport, Spread, compare_with_run, score_images
from export.parity_files import ParityFiles
from export.parity_report import plot_fine_tuning, render_parity_report, write_parity_report
from tests.export.made_up_scorer import MadeUpScorer
from tfganomaly.batch_sizes import batches
from tfganomaly.data.items import ImageItem
from tfganomaly.data.loading import LoadedImages
from tfganomaly.errors import OptionError
from tfganomaly.evaluation.metrics import AurocDifference

LABELS = np.repeat([0, 1], [6, 4])
INSPECTION = FlatbufferInspection(1234, 3, (), (), (), ())


class BrightnessModel(MadeUpScorer):
    """Scores an image by its mean grey squared."""

    def latents(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(len(pixels), -1).mean(axis=1) / 255 * self.gain


class ContrastModel(MadeUpScorer):
    """Scores an image by the spread of its pixels."""

    def latents(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.reshape(len(pixels), -1).std(axis=1) / 255 * self.gain


@pytest.fixture
def images() -> ParityImages:
    """Ten images of rising brightness, the last four anomalous."""
    pixels = np.full((10, 4, 4, 1), 1, np.uint8) * np.arange(20, 220, 20, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return ParityImages("test", tuple(f"{index}.png" for index in range(10)), pixels, LABELS)


def _loaded(good: int = 0, anomalous: int = 0) -> LoadedImages:
    """Grey images with a little noise, the anomalous ones with more."""
    random = np.random.default_rng(0)
    spread = np.repeat([5, 40], [good, anomalous]).reshape(-1, 1, 1, 1)
    pixels = (105 + random.uniform(-1, 1, (good + anomalous, 16, 16, 1)) * spread).astype(np.uint8)
    items = tuple(ImageItem(f"{n}.png", Path(f"{n}.png"), n >= good) for n in range(good + anomalous))
    return LoadedImages(pixels, items)


def _compare(images: ParityImages, gain: float, threshold: float = 0.3, run_threshold: float = 0.3) -> ArtefactParity:
    run = score_images(BrightnessModel("run", run_threshold), images)
    artefact = score_images(BrightnessModel("artefact", threshold, gain), images)
    return compare_with_run("int8 (qat)", run, 0.2, artefact, images, INSPECTION, 0.5)


def _dataset(good: int, anomalous: int) -> tuple[ImageItem, ...]:
    labels = np.repeat([False, True], [good, anomalous])
    return tuple(ImageItem(f"{n}.png", Path(f"{n}.png"), bool(label)) for n, label in enumerate(labels))


def _report(images: ParityImages, parity: ArtefactParity, **changes: Any) -> ParityReport:
    run = score_images(BrightnessModel("run <b>tiles</b>", 0.3), images)
    fields: dict[str, Any] = {
        "run": run.description,
        "data": "made up, test",
        "names": images.names,
        "labels": images.labels,
        "run_scores": run.scores,
        "run_threshold": 0.3,
        "run_auroc": 1.0,
        "num_stand_ins": images.num_stand_ins,
        "unreadable": (("broken.png", "'broken.png' is empty"),),
        "artefacts": (parity,),
        "lowering_difference": 1e-6,
        "fine_tuning": FineTuningResult({0: Agreement(0.01, 0.02, 0.01), 50: Agreement(0.004, -0.05, -0.02)}, 50),
    }
    return ParityReport(**{**fields, **changes})


def test_a_perfect_copy_differs_in_nothing(images: ParityImages) -> None:
    parity = _compare(images, gain=1.0)
    assert parity.score_difference == Spread(0.0, 0.0, 0.0)
    assert parity.rank_correlation == pytest.approx(1.0)
    assert parity.verdict_flips == 0
    assert parity.auroc == 1.0
    assert parity.auroc_drop == AurocDifference(0.0, (0.0, 0.0))


def test_differences_are_those_computed_by_hand(images: ParityImages) -> None:
    parity = _compare(images, gain=1.1)
    scores = (np.arange(20, 220, 20) / 255) ** 2
    differences = scores * (1.1**2 - 1)
    assert parity.score_difference.mean == pytest.approx(differences.mean(), rel=1e-5)
    assert parity.score_difference.max == pytest.approx(differences.max(), rel=1e-5)
    near = np.minimum(1.1**2 * scores, 0.5) - np.minimum(scores, 0.5)  # 0.5 is the threshold and a margin of 0.2
    assert 0 < near.mean() < differences.mean()
    assert parity.margin_difference.mean == pytest.approx(near.mean() / 0.2, rel=1e-5)
    latent = np.arange(20, 220, 20) / 255
    assert parity.output_errors["latent"].mean == pytest.approx((0.1 * latent).mean() / latent.std(), rel=1e-4)
    assert parity.output_errors["reconstruction"].max == 0.0


def test_each_model_judges_with_its_own_threshold(images: ParityImages) -> None:
    # Scores are 0.30 for the seventh image and 0.39 for the eighth.
    assert _compare(images, gain=1.0, threshold=0.35).verdict_flips == 1
    # A common factor in scores and threshold changes no verdict.
    assert _compare(images, gain=2.0, threshold=4 * 0.3).verdict_flips == 0


def test_auroc_is_left_out_without_both_classes(images: ParityImages) -> None:
    parity = _compare(dataclasses.replace(images, labels=np.zeros(10, int)), gain=1.0)
    assert parity.auroc is None
    assert parity.auroc_drop is None
    assert gate_failures(parity, LABELS, ExportOptions(max_auroc_drop=0.0)) == ()


def test_the_gate_names_each_bound_that_is_broken(images: ParityImages) -> None:
    # The seventh and the eighth image, with scores of 0.30 and 0.39.
    parity = dataclasses.replace(
        _compare(images, gain=1.0, threshold=0.40), auroc=0.8, auroc_drop=AurocDifference(0.2, None)
    )
    drop, flips = gate_failures(parity, LABELS, ExportOptions(max_auroc_drop=0.05, max_verdict_flips=0.05))
    assert "0.8000, 0.2000 below the run's" in drop
    assert "--max-auroc-drop" in drop
    assert "2 of 10 images (20.0%)" in flips
    assert "--max-verdict-flips" in flips
    assert gate_failures(parity, LABELS, ExportOptions(max_auroc_drop=1.0, max_verdict_flips=1.0)) == ()


def test_one_image_at_the_threshold_passes_unless_none_is_allowed(images: ParityImages) -> None:
    parity = _compare(images, gain=1.0, threshold=0.35)
    assert gate_failures(parity, LABELS, ExportOptions(max_verdict_flips=0.05)) == ()
    (flips,) = gate_failures(parity, LABELS, ExportOptions(max_verdict_flips=0.0))
    assert "1 of 10 images (10.0%)" in flips


def test_three_pairs_of_few_images_pass_unless_none_is_allowed(images: ParityImages) -> None:
    parity = dataclasses.replace(_compare(images, gain=1.0), auroc_drop=AurocDifference(3 / 24, None))
    assert gate_failures(parity, LABELS, ExportOptions(max_auroc_drop=0.02)) == ()
    assert len(gate_failures(parity, LABELS, ExportOptions(max_auroc_drop=0.0))) == 1
    worse = dataclasses.replace(parity, auroc_drop=AurocDifference(4 / 24, None))
    assert len(gate_failures(worse, LABELS, ExportOptions(max_auroc_drop=0.02))) == 1


def test_a_file_that_says_nothing_fails_also_where_all_images_are_good() -> None:
    """On good images alone hardly a verdict flips, whatever a file says; on disturbed copies its AUROC does."""
    held_back = _loaded(good=20)
    images = choose_parity_images(_loaded(), held_back, count=1000, seed=0)
    assert images.num_stand_ins == 20
    assert images.labels.tolist() == [0] * 20 + [1] * 20
    np.testing.assert_array_equal(images.pixels[:20], held_back.pixels)
    assert images.names[20] == "0.png, disturbed"
    assert len(choose_parity_images(_loaded(), held_back, count=10, seed=0).pixels) == 10
    run = score_images(ContrastModel("run", 0.05), images)
    dead = score_images(ContrastModel("dead", 0.05, gain=0.0), images)
    parity = compare_with_run("int8 (qat)", run, 0.05, dead, images, INSPECTION, 0.5)
    assert any("image AUROC is 0.5000" in failure for failure in gate_failures(parity, images.labels, ExportOptions()))
    page = render_parity_report(
        _report(images, parity, labels=images.labels, names=images.names, run_scores=run.scores)
    )
    assert "Disturbed copies of good images stand for anomalous ones" in page
    assert "orange: disturbed." in page


@pytest.mark.parametrize(("good", "anomalous"), [(1, 1), (2, 1), (3, 1), (1, 3), (0, 30), (9, 9)])
def test_a_file_that_says_nothing_fails_also_where_labelled_images_are_few(good: int, anomalous: int) -> None:
    """One pair of images or one verdict may always differ; of few images that is all there is to see."""
    test = _loaded(good, anomalous)
    images = choose_parity_images(test, _loaded(good=20), count=1000, seed=0)
    assert images.labels.tolist() == [0] * good + [1] * anomalous + [0] * 20 + [1] * 20
    assert (len(images.names), images.num_stand_ins) == (len(images.labels), 20)
    np.testing.assert_array_equal(images.pixels[: good + anomalous], test.pixels)
    run = score_images(ContrastModel("run", 0.05), images)
    dead = score_images(ContrastModel("dead", 0.05, gain=0.0), images)
    parity = compare_with_run("int8 (qat)", run, 0.05, dead, images, INSPECTION, 0.5)
    assert any("image AUROC is 0.5000" in failure for failure in gate_failures(parity, images.labels, ExportOptions()))
    report = _report(images, parity, labels=images.labels, names=images.names, run_scores=run.scores)
    assert report.summary()["num_disturbed_copies"] == 20
    page = render_parity_report(report)
    assert "20 disturbed copies of good images stand\nbeside them" in page
    assert "orange: anomalous or disturbed." in page


@pytest.mark.parametrize("anomalous", [0, 9])
def test_copies_are_made_of_good_test_images_where_there_are_enough(anomalous: int) -> None:
    """Ranges, step and threshold were chosen on held-back ones, so verdicts on those look better than they are."""
    test = _loaded(30, anomalous)
    images = choose_parity_images(test, _loaded(good=20), count=40, seed=0)
    assert images.labels.tolist() == [0] * 30 + [1] * (anomalous + 20)
    assert images.num_stand_ins == 20
    assert images.part == "test, disturbed copies of its good images"
    np.testing.assert_array_equal(images.pixels[: 30 + anomalous], test.pixels)
    assert images.names[30 + anomalous :] == tuple(f"{number}.png, disturbed" for number in range(20))


def test_enough_labelled_images_of_both_classes_are_compared_on_alone() -> None:
    test = _loaded(FEWEST_TEST_IMAGES, FEWEST_TEST_IMAGES)
    images = choose_parity_images(test, _loaded(good=20), count=1000, seed=0)
    assert (images.part, images.num_stand_ins) == ("test", 0)
    np.testing.assert_array_equal(images.pixels, test.pixels)


@pytest.mark.parametrize(
    ("good", "anomalous", "count", "drawn"),
    [
        (5000, 40, 1000, (960, 40)),
        (3000, 3000, 1000, (500, 500)),
        (100, 5000, 1000, (100, 900)),
        (600, 700, 1001, (501, 500)),
        (5000, 40, 8, (4, 4)),
        (30, 5, 1000, (30, 5)),
    ],
)
def test_of_a_rare_class_all_that_fits_is_drawn(good: int, anomalous: int, count: int, drawn: tuple[int, int]) -> None:
    items = _draw_by_class(_dataset(good, anomalous), count, np.random.default_rng(0))
    assert (sum(not item.is_anomalous for item in items), sum(item.is_anomalous for item in items)) == drawn
    assert len(set(items)) == len(items)


def test_the_file_is_judged_on_other_copies_than_it_was_tuned_on() -> None:
    held_back = _loaded(good=20)
    judged_on = choose_parity_images(_loaded(), held_back, count=1000, seed=0).pixels
    for purpose in (Purpose.AGREEMENT, Purpose.THRESHOLD):
        tuned_on = with_disturbed_pixels(held_back.pixels, 0, purpose)
        np.testing.assert_array_equal(judged_on[:20], tuned_on[:20])
        assert (judged_on[20:] != tuned_on[20:]).any(axis=(1, 2, 3)).all()


def test_where_copies_stand_beside_their_images_no_interval_is_given() -> None:
    images = choose_parity_images(_loaded(), _loaded(good=20), count=1000, seed=0)
    run = score_images(ContrastModel("run", 0.05), images)
    file = score_images(ContrastModel("file", 0.05, gain=1.1), images)
    parity = compare_with_run("int8 (qat)", run, 0.05, file, images, INSPECTION, 0.5)
    ptq = dataclasses.replace(parity, name="int8 (ptq)", tensor_types={"INT8": 3})
    fields = {"labels": images.labels, "names": images.names, "run_scores": run.scores}
    report = _report(images, parity, artefacts=(parity, ptq), **fields)
    assert parity.auroc_drop == AurocDifference(0.0, None)
    assert [difference.interval for _, difference in report.rivals] == [None]
    page = render_parity_report(report)
    assert "95 % interval" not in page
    assert "An image and its copy are a pair" in page


def test_without_a_margin_the_drift_in_margins_is_left_out(images: ParityImages) -> None:
    run = score_images(BrightnessModel("run", 0.3), images)
    file = score_images(BrightnessModel("file", 0.3, 1.1), images)
    for margin in (0.0, -0.1, 1e-9):
        parity = compare_with_run("int8 (qat)", run, margin, file, images, INSPECTION, 0.5)
        assert parity.margin_difference is None
        assert parity.summary()["margin_difference"] is None
        assert parity.score_difference.max > 0
        row = render_parity_report(_report(images, parity)).partition("The same in margins")[2].partition("</tr>")[0]
        assert row.endswith("<td></td><td>–</td>")


def test_names_that_are_not_utf8_are_no_obstacle_to_the_report(images: ParityImages, tmp_path: Path) -> None:
    names = tuple(os.fsdecode(b"gro\xdf%d.png" % index) for index in range(10))
    report = _report(images, _compare(images, gain=1.0, threshold=0.4), names=names)
    write_parity_report(report, ParityFiles.beside(tmp_path / "tiles.tflite"))
    stored = json.loads((tmp_path / "tiles.parity.json").read_text("utf-8"))
    assert [image["path"] for image in stored["images"]] == list(names)
    assert "gro\\udcdf7.png" in (tmp_path / "tiles.parity.html").read_text("utf-8")


def test_kept_outputs_do_not_keep_whole_batches_in_memory(
    images: ParityImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[weakref.ref[np.ndarray]] = []

    class Watched(BrightnessModel):
        def model_outputs(self, pixels: np.ndarray) -> ModelOutputs:
            assert all(batch() is None for batch in seen[:-1])
            outputs = super().model_outputs(pixels)
            seen.append(weakref.ref(outputs.latent.base if outputs.latent.base is not None else outputs.latent))
            return outputs

    monkeypatch.setattr(parity_module, "batches", partial(batches, most=2))
    score_images(Watched("run", 0.3), images)
    assert len(seen) == 5


def test_outputs_are_compared_on_images_from_the_whole_set(
    images: ParityImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers_per_image = sum(
        values[0].size for values in score_images(BrightnessModel("run", 0.3), images).outputs.values()
    )
    monkeypatch.setattr(parity_module, "_KEPT_OUTPUT_NUMBERS", 4 * numbers_per_image)
    monkeypatch.setattr(parity_module, "batches", partial(batches, most=4))
    kept = score_images(BrightnessModel("run", 0.3), images).outputs["latent"]
    np.testing.assert_allclose(kept.ravel(), np.arange(20, 220, 20)[[0, 3, 6, 9]] / 255, rtol=1e-6)
    assert _compare(images, gain=1.1).num_outputs_compared == 4


def test_a_better_auroc_passes_the_gate(images: ParityImages) -> None:
    parity = dataclasses.replace(_compare(images, gain=1.0), auroc_drop=AurocDifference(-0.1, None))
    assert gate_failures(parity, LABELS, ExportOptions(max_auroc_drop=0.0, max_verdict_flips=0.0)) == ()


def test_the_summary_in_the_artefact_says_nothing_about_the_machine(images: ParityImages) -> None:
    parity = _compare(images, gain=1.1)
    slower = dataclasses.replace(parity, latency_ms=99.0)
    summary = _report(images, parity).summary()
    assert summary == _report(images, slower).summary()
    assert summary["num_images"] == 10
    assert summary["num_anomalous"] == 4
    assert json.loads(json.dumps(summary)) == summary


def test_the_report_is_strict_json_and_one_page(images: ParityImages, tmp_path: Path) -> None:
    report = _report(images, _compare(images, gain=1.1), failures=("the image AUROC is low",))
    files = ParityFiles.beside(tmp_path / "tiles.v2.tflite")
    write_parity_report(report, files)
    assert files.json.name == "tiles.v2.parity.json"
    stored = json.loads(files.json.read_text("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert stored["passed"] is False
    assert stored["artefacts"][0]["size_bytes"] == 1234
    assert [image["path"] for image in stored["images"]] == list(images.names)
    page = files.html.read_text("utf-8")
    assert "the image AUROC is low" in page
    assert "run &lt;b&gt;tiles&lt;/b&gt;" in page  # names are escaped
    assert page.count("<circle") == 10
    assert "Network, bytes" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing is fetched


def test_the_guide_names_every_key_of_the_report(images: ParityImages) -> None:
    guide = (Path(__file__).parents[2] / "docs/guide.md").read_text("utf-8")
    report = _report(images, _compare(images, gain=1.1)).to_dict()
    for title, keys in (
        ("key of `MODEL.parity.json`", report),
        ("key of an entry of `artefacts`", report["artefacts"][0]),
    ):
        table = guide.partition(f"| {title} |")[2].partition("\n\n")[0]
        assert {key for key in keys if f"`{key}`" not in table} == set()


def test_images_whose_verdict_flips_are_named(images: ParityImages) -> None:
    report = _report(images, _compare(images, gain=1.0, threshold=0.35))
    # The run calls the seventh image (0.30) anomalous, the file with the higher threshold does not.
    (entry,) = report.to_dict()["artefacts"]
    assert entry["flipped_images"] == ["6.png"]
    page = render_parity_report(report)
    assert "6.png" in page
    assert "The only one:\nhow far the score lies" in page
    assert "+0.47 %" in page  # 0.30142 against the run's 0.3
    assert "-13.88 %" in page  # against the file's 0.35
    assert "Verdicts that flip</h2>" not in render_parity_report(_report(images, _compare(images, gain=1.0)))


def test_the_report_says_whether_another_int8_file_is_better_by_more_than_chance(images: ParityImages) -> None:
    exported = _compare(images, gain=1.0)
    float32 = dataclasses.replace(exported, name="float32", tensor_types={"FLOAT32": 3})
    confused = exported.scores.copy()
    confused[[5, 6]] = confused[[6, 5]]  # one of 24 pairs of a good and an anomalous image in the wrong order
    ptq = dataclasses.replace(exported, name="int8 (ptq)", scores=confused, tensor_types={"INT8": 3, "INT32": 1})
    report = _report(images, exported, artefacts=(exported, float32, ptq))
    ((rival, difference),) = report.rivals
    assert rival is ptq
    assert difference.value == pytest.approx(1 / 24)
    low, high = difference.interval
    assert low < 0 < high
    assert report.to_dict()["auroc_above_rivals"]["int8 (ptq)"]["interval"] == pytest.approx([low, high], abs=1e-6)
    page = render_parity_report(report)
    assert "AUROC minus that of int8 (ptq)" in page
    assert f"+0.0417<small>{low:+.4f} to {high:+.4f}" in page


def test_a_report_without_labels_and_fine_tuning_is_rendered(images: ParityImages) -> None:
    good_only = dataclasses.replace(images, labels=np.zeros(10, int))
    report = _report(good_only, _compare(good_only, 1.1), labels=good_only.labels, run_auroc=None, fine_tuning=None)
    page = render_parity_report(report)
    assert "Exported" in page
    assert "Fine-tuning" not in page


def test_the_page_draws_how_scores_move_while_fine_tuning(images: ParityImages) -> None:
    history = {0: Agreement(0.01, np.log(1.02), 0.0), 50: Agreement(0.0025, np.log(0.94), np.log(0.98))}
    tuned = FineTuningResult(history, best_step=50)
    plot = plot_fine_tuning(tuned)
    assert (plot.low, plot.high) == pytest.approx((-6, 2))
    assert plot.zero_px == 20  # of 80
    assert (plot.good, plot.disturbed) == ("0.0,0.0 300.0,80.0", "0.0,20.0 300.0,40.0")
    page = render_parity_report(_report(images, _compare(images, gain=1.0), fine_tuning=tuned))
    assert f'<polyline class="curve" points="{plot.good}"/>' in page
    assert "<td>50 (kept)</td><td>-6.0 %</td><td>-2.0 %</td><td>5.0 %</td>" in page


def test_progress_counts_the_images(images: ParityImages) -> None:
    seen: list[tuple[int, int]] = []
    score_images(BrightnessModel("run", 0.3), images, lambda done, total: seen.append((done, total)))
    assert seen == [(10, 10)]


def test_errors_form_one_tree() -> None:
    error = ParityError("drifted", Path("report.html"))
    assert isinstance(error, ExportError)
    assert error.report_path == Path("report.html")


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"quantization": "int4"}, "--quantization"),
        ({"target": "tpu"}, "--target"),
        ({"calibration_images": 1}, "--calibration-images"),
        ({"calibration_images": MOST_TRAIN_IMAGES + 1}, "--calibration-images"),
        ({"fine_tuning_steps": -1}, "--fine-tuning-steps"),
        ({"max_verdict_flips": 2.0}, "--max-verdict-flips"),
    ],
)
def test_impossible_options_are_refused_by_their_flag(options: dict[str, Any], flag: str) -> None:
    with pytest.raises(OptionError, match=flag):
        ExportOptions(**options)
