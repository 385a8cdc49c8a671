"""A run in its folder: what it scores with, and what is wrong with a damaged one."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the train extra is not installed")

from edge_runtime.artefact import write_artefact
from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import CalibrationError
from edge_runtime.preprocessing import prepare_image, scale_pixels
from edge_runtime.scoring import anomaly_scores
from tests.edge_runtime.conftest import cached_flatbuffer
from tests.edge_runtime.tiny_model import tiny_metadata
from tfganomaly.errors import RunError
from tfganomaly.training.run import load_run
from tfganomaly.training.run_folder import RunFolder


def test_the_run_scores_images_as_the_shared_code_does(finished, good_folder):
    run = load_run(finished[0])
    paths = sorted(good_folder.iterdir())[:5]
    pixels = np.stack([prepare_image(path, run.preprocessing) for path in paths])
    outputs = run.model_outputs(pixels)
    scores = anomaly_scores(run.score_rule, scale_pixels(pixels), outputs)
    np.testing.assert_allclose(scores, run.model.score(scale_pixels(pixels)), rtol=1e-6)
    assert run.calibration.num_images == 8
    assert run.calibration.score_min <= run.threshold <= run.calibration.score_max


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


def test_a_damaged_model_file_is_one_clear_error(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    (tmp_path / "run" / "model.keras").write_bytes(b"PK no model")
    with pytest.raises(RunError, match="cannot be loaded"):
        load_run(tmp_path / "run").model  # noqa: B018 - the property loads it


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
