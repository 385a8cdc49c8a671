import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tfganomaly.data.items import ImageItem, InspectionDataset
from tfganomaly.errors import DataError
from tfganomaly.evaluation.evaluate import evaluate
from tfganomaly.evaluation.result import ImageResult

REQUIRED_KEYS = {
    "image_auroc",
    "image_auprc",
    "f1_at_threshold",
    "best_f1",
    "threshold",
    "false_alarm_rate",
    "miss_rate",
    "pixel_auroc",
    "aupro",
    "per_defect_auroc",
    "shortcut_baselines",
    "num_normal",
    "num_anomalous",
    "scores",
    "operating_points",
}


def strict_json(result):
    return json.loads(json.dumps(result.to_dict(), allow_nan=False))


@pytest.fixture(scope="module")
def result(parts, scorer):
    return evaluate(scorer, parts)


def test_a_scorer_that_sees_the_defects_gets_good_figures(result):
    assert result.image_auroc > 0.95
    assert result.pixel_auroc > 0.9
    assert result.aupro > 0.7
    assert result.at_threshold.miss_rate < 0.3
    assert result.num_normal == 12
    assert result.num_anomalous == 14
    assert result.num_masks == result.num_regions == 14


def test_json_has_the_promised_names_and_agrees_with_its_own_scores(result, parts):
    data = strict_json(result)
    assert set(data) >= REQUIRED_KEYS
    labels = [one["label"] for one in data["scores"]]
    scores = [one["score"] for one in data["scores"]]
    assert data["image_auroc"] == pytest.approx(roc_auc_score(labels, scores))
    assert data["false_alarm_rate"] == np.mean(np.array(scores[:12]) > data["threshold"])
    (point,) = data["operating_points"]
    assert point["accepted_false_alarm_rate"] == 0.1
    assert point["num_false_alarms"] == np.sum(np.array(scores[:12]) > point["threshold"])
    assert point["num_found"] == 14 * point["found_rate"] == np.sum(np.array(scores[12:]) > point["threshold"])
    assert data["scores"][0]["path"] == str(parts.test[0].source)
    assert set(data["per_defect_auroc"]) == {"dot", "line"}
    assert set(data["shortcut_baselines"]) == {
        "mean_grey",
        "contrast",
        "file_size",
        "image_width",
        "image_height",
    }


def test_json_is_saved_as_a_strict_file(result, tmp_path):
    result.save(tmp_path / "metrics.json")
    assert json.loads((tmp_path / "metrics.json").read_text("utf-8")) == strict_json(result)


def test_each_image_has_its_verdict(result):
    for image in result.images:
        assert image.is_called_anomalous == (image.score > result.threshold)
    item = result.images[-1].item
    assert ImageResult(item, 1.0, is_called_anomalous=True).is_right
    assert not ImageResult(item, 0.0, is_called_anomalous=False).is_right


def test_defects_count_their_images_and_misses(result):
    assert {name: defect.num_images for name, defect in result.defects.items()} == {"dot": 8, "line": 6}
    assert sum(defect.misses for defect in result.defects.values()) == result.at_threshold.misses


def test_a_shortcut_that_beats_the_model_is_said(parts, make_scorer, make_dataset, tmp_path):
    # Every anomalous part is photographed wider, and the model's scores are turned upside down.
    wide = make_dataset(tmp_path / "wide", defects=(("dot", 5),), size=(64, 36))
    dataset = replace(parts, test=(*parts.test_good, *(item for item in wide.test if item.is_anomalous)))

    class UpsideDown(make_scorer):
        def model_outputs(self, pixels):
            outputs = super().model_outputs(pixels)
            return replace(outputs, reconstruction=1 - np.abs(outputs.reconstruction))

    result = evaluate(UpsideDown().calibrated_on(parts.validation), dataset)
    assert result.shortcuts["image_width"].auroc == 1.0
    assert result.shortcut_beats_model
    assert "an image alone reaches an AUROC of 1.000" in result.shortcut_warning
    assert strict_json(result)["warnings"][0] == result.shortcut_warning
    assert result.image_auroc < 0.5
    assert any("is below chance (0.5)" in warning for warning in result.warnings)


def test_a_model_better_than_every_shortcut_gets_no_such_warning(result):
    better = replace(result, image_auroc=0.9, shortcuts={})
    assert not better.shortcut_beats_model
    assert better.shortcut_warning is None


def test_a_plain_folder_scores_the_held_back_images_and_says_so(parts, scorer):
    result = evaluate(scorer, replace(parts, test=()))
    data = strict_json(result)
    assert result.part == data["part"] == "validation"
    assert data["num_normal"] == 20
    for name in ("image_auroc", "image_auprc", "f1_at_threshold", "best_f1", "miss_rate", "pixel_auroc", "aupro"):
        assert data[name] is None
    assert data["false_alarm_rate"] is not None
    assert data["per_defect_auroc"] == {}
    assert data["operating_points"] == []
    assert set(data["shortcut_baselines"].values()) == {None}
    assert "good images only" in result.warnings[0]


def test_a_test_part_of_one_class_is_said(parts, scorer):
    only_good = evaluate(scorer, replace(parts, test=parts.test_good))
    assert "no anomalous test images" in only_good.warnings[0]
    only_bad = evaluate(scorer, replace(parts, test=parts.test_anomalous))
    assert "no good test images" in only_bad.warnings[0]
    assert strict_json(only_bad)["false_alarm_rate"] is None
    assert only_bad.at_threshold.miss_rate is not None


def test_an_unreadable_image_is_counted_and_named(parts, scorer, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    broken = ImageItem("test/good/broken.png", tmp_path / "broken.png")
    result = evaluate(scorer, replace(parts, test=(*parts.test, broken)))
    data = strict_json(result)
    assert data["num_unreadable"] == 1
    assert data["unreadable"][0]["path"] == "test/good/broken.png"
    assert any(text.startswith("Images that cannot be read and are in no figure: 1 of 27.") for text in result.warnings)


def test_nothing_to_score_is_a_data_error(parts, scorer, tmp_path):
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate(scorer, InspectionDataset("empty", "empty", (), (), ()))
    gone = ImageItem("gone.png", tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"None of the 1 images.*gone\.png"):
        evaluate(scorer, replace(parts, test=(gone,)))


def test_more_false_alarms_than_asked_for_are_said(parts, make_scorer, make_dataset, tmp_path):
    scorer = make_scorer().calibrated_on(parts.validation)
    # The good parts of the test are larger, so the same noise is blurred away less.
    other = make_dataset(tmp_path / "other", num_good=40, defects=(), size=(30, 30))
    result = evaluate(scorer, replace(parts, test=other.test))
    assert result.at_threshold.false_alarm_rate > 0.5
    assert any("set to accept 10.0% false alarms" in text for text in result.warnings)


def test_a_threshold_higher_than_needed_is_said_unless_it_was_to_be_sure(parts, make_scorer, make_dataset, tmp_path):
    scorer = make_scorer().calibrated_on(parts.validation)
    # The good parts of the test are smoother, so none of them is above a threshold for 40% false alarms.
    other = make_dataset(tmp_path / "other", num_good=40, defects=(), size=(96, 72))
    scorer.calibration = replace(scorer.calibration, false_alarm_rate=0.4)
    result = evaluate(scorer, replace(parts, test=other.test))
    assert result.at_threshold.false_alarm_rate == 0
    assert any("it is higher than needed" in text for text in result.warnings)
    scorer.calibration = replace(scorer.calibration, confidence=0.95)
    sure = evaluate(scorer, replace(parts, test=other.test))
    assert not any("was set to accept" in text for text in sure.warnings)
    assert sure.requested_false_alarm_rate == 0.4


def test_an_overridden_threshold_is_not_blamed_for_its_false_alarms(parts, make_scorer):
    scorer = make_scorer().calibrated_on(parts.validation)
    scorer.threshold = 0.0
    result = evaluate(scorer, parts)
    assert result.at_threshold.false_alarm_rate == 1.0
    assert result.requested_false_alarm_rate is None
    assert not any("was set to accept" in text for text in result.warnings)


def test_without_masks_pixel_figures_are_none_and_nothing_is_said(scorer, make_dataset, tmp_path):
    result = evaluate(scorer, make_dataset(tmp_path, with_masks=False))
    assert (result.pixel_auroc, result.aupro, result.num_masks) == (None, None, 0)
    assert not any("pixel figures" in text for text in result.warnings)


def test_the_data_sets_own_warnings_are_passed_on(parts, scorer):
    assert "the light was off" in evaluate(scorer, replace(parts, warnings=("the light was off",))).warnings


def test_colour_images_and_a_model_without_reconstruction_work(parts, make_scorer):
    for scorer in (make_scorer(channels=3), make_scorer(with_reconstruction=False)):
        result = evaluate(scorer.calibrated_on(parts.validation), parts)
        assert result.aupro is not None
        assert strict_json(result)["num_anomalous"] == 14


def test_evaluation_imports_no_tensorflow():
    code = (
        "import sys, tfganomaly.evaluation.evaluate, tfganomaly.evaluation.report\n"
        "assert not {'tensorflow', 'keras', 'matplotlib.pyplot', 'ai_edge_litert'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
