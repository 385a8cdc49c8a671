"""What the runtime loads, needs and says as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.detector import AnomalyDetector

ROOT = Path(__file__).resolve().parents[2]

TRAINING = ("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization")
BLOCKED = (*TRAINING, "matplotlib", "sklearn", "scipy", "jinja2", "rich")

INSPECT_ONE_IMAGE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())

import json
from edge_runtime.cold_start import peak_rss_mb
from edge_runtime.detector import AnomalyDetector
from edge_runtime.inspection import inspect_images

detector = AnomalyDetector(sys.argv[1])
(result,) = inspect_images(detector, sys.argv[2:3], with_map=len(sys.argv) > 3)
if len(sys.argv) > 3:
    from edge_runtime.inspection import HeatmapFolder
    from edge_runtime.flatbuffer import inspect_tflite_file
    HeatmapFolder(sys.argv[3]).write(detector, result)
    inspect_tflite_file(sys.argv[1])
print(json.dumps({"record": result.to_record(), "rss_mb": peak_rss_mb(), "modules": sorted(sys.modules)}))
"""


def run_python(code: str, *arguments: object) -> tuple[dict[str, object], str]:
    """Return what the code printed as JSON, and its standard error."""
    command = [sys.executable, "-c", f"BLOCKED = {BLOCKED!r}\n{code}", *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_an_image_is_judged_where_no_training_package_can_be_imported(
    artefact_path: Path, image_folder: Path, suffix: str
) -> None:
    from PIL import Image

    path = image_folder / f"sample{suffix}"
    Image.open(image_folder / "part1.png").save(path)
    printed, errors = run_python(INSPECT_ONE_IMAGE, artefact_path, path)
    record = printed["record"]
    assert isinstance(record, dict)
    assert record["score"] == AnomalyDetector(artefact_path).detect(path).score
    assert errors == ""


def test_heatmaps_and_model_inspection_need_no_more(artefact_path: Path, image_folder: Path, tmp_path: Path) -> None:
    run_python(INSPECT_ONE_IMAGE, artefact_path, image_folder / "part1.png", tmp_path / "heatmaps")
    assert (tmp_path / "heatmaps" / "part1_heatmap.jpg").exists()


def test_one_image_fits_into_the_budget_of_memory(artefact_path: Path, image_folder: Path) -> None:
    printed, _ = run_python(INSPECT_ONE_IMAGE, artefact_path, image_folder / "part1.png")
    assert float(str(printed["rss_mb"])) < 80


def test_importing_the_package_loads_nothing_heavy() -> None:
    printed, _ = run_python("import json, sys, edge_runtime; print(json.dumps(sorted(sys.modules)))")
    loaded = set(printed)
    assert not loaded & {"numpy", "PIL", "ai_edge_litert", "zipfile", "hashlib"}


def test_every_public_name_exists() -> None:
    import edge_runtime

    for name in edge_runtime.__all__:
        assert getattr(edge_runtime, name) is not None
    assert set(dir(edge_runtime)) == set(edge_runtime.__all__)
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        _ = edge_runtime.magic
