from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import BackendError, OutputError
from edge_runtime.image_files import find_images
from edge_runtime.inspection import HeatmapFolder, inspect_images
from edge_runtime.text_output import INSPECTION_HEADER, inspection_line
from tests.edge_runtime.conftest import FakeBackend


def test_every_image_gets_one_result_whatever_is_wrong_with_it(artefact_path: Path, image_folder: Path) -> None:
    (image_folder / "part4.png").write_bytes(b"")
    (image_folder / "part5.png").write_text("notes")
    detector = AnomalyDetector(artefact_path)
    results = list(inspect_images(detector, find_images(image_folder)))
    assert [result.path.name for result in results] == [f"part{index}.png" for index in range(12)]
    assert [result.path.name for result in results if result.error] == ["part4.png", "part5.png"]
    for result in results:
        assert (result.detection is None) == (result.error is not None)


def test_records_have_the_names_that_other_tools_rely_on(artefact_path: Path, image_folder: Path) -> None:
    (image_folder / "bad.png").write_bytes(b"")
    detector = AnomalyDetector(artefact_path, threshold=0.125)
    good_record, bad_record = (
        result.to_record()
        for result in inspect_images(detector, [image_folder / "part1.png", image_folder / "bad.png"], with_map=False)
    )
    assert list(good_record) == ["path", "score", "normalised_score", "threshold", "is_anomaly", "latency_ms"]
    assert good_record["path"] == str(image_folder / "part1.png")
    assert good_record["threshold"] == 0.125
    assert good_record["latency_ms"] > 0
    assert json.loads(json.dumps(good_record, allow_nan=False)) == good_record
    assert list(bad_record) == ["path", "error"]
    assert "bad.png" in bad_record["error"]


def test_a_name_forges_no_row(artefact_path: Path, image_folder: Path) -> None:
    name = "new\ngood        0.1 \x1b[2J 部品.png"
    (image_folder / "part1.png").rename(image_folder / name)
    (image_folder / f"bad {name}").write_bytes(b"")
    detector = AnomalyDetector(artefact_path)
    rows = [inspection_line(result) for result in inspect_images(detector, [image_folder / name])]
    rows += [inspection_line(result) for result in inspect_images(detector, [image_folder / f"bad {name}"])]
    assert [row.split()[0] for row in rows] == [rows[0].split()[0], "unreadable"]
    for row in rows:
        assert "new\\ngood        0.1 \\x1b[2J 部品.png" in row
        assert row.isprintable()


def test_a_row_has_the_score_as_a_multiple_of_the_threshold(artefact_path: Path, image_folder: Path) -> None:
    (known,) = inspect_images(AnomalyDetector(artefact_path), [image_folder / "part1.png"])
    assert known.detection is not None
    score = known.detection.score

    def row_with(threshold: float) -> list[str]:
        detector = AnomalyDetector(artefact_path, threshold=threshold)
        (result,) = inspect_images(detector, [image_folder / "part1.png"])
        return inspection_line(result).split()

    assert row_with(score / 1.8)[:3] == ["ANOMALOUS", f"{score:.6g}", "1.80"]
    assert row_with(score * 4)[:3] == ["good", f"{score:.6g}", "0.25"]
    for threshold in (0.0, -1.0):
        assert row_with(threshold)[:3] == ["ANOMALOUS", f"{score:.6g}", "-"]
    columns = inspection_line(known)
    assert [columns[INSPECTION_HEADER.index(name) - 1] for name in ("score", "x threshold", "ms", "image")] == [" "] * 4
    assert columns[INSPECTION_HEADER.index("x threshold") :].startswith(f"{score / known.detection.threshold:.2f} ")


def test_a_broken_model_ends_the_inspection(artefact_path: Path, image_folder: Path, fake_backend: FakeBackend) -> None:
    fake_backend.latent_value = float("nan")
    detector = AnomalyDetector(artefact_path, backend_loader=lambda flatbuffer, num_threads: fake_backend)
    with pytest.raises(BackendError, match="broken"):
        list(inspect_images(detector, find_images(image_folder)))


def test_heatmaps_have_the_pictures_size_and_names_of_their_own(
    artefact_path: Path, image_folder: Path, tmp_path: Path
) -> None:
    (image_folder / "more").mkdir()
    Image.new("RGB", (50, 20), (90, 80, 70)).save(image_folder / "more" / "PART1.png")
    paths = [image_folder / "part1.png", image_folder / "more" / "PART1.png"]
    detector = AnomalyDetector(artefact_path)
    folder = HeatmapFolder(tmp_path / "new" / "heatmaps")
    written = [folder.write(detector, result) for result in inspect_images(detector, paths)]
    assert [path.name for path in written if path] == ["part1_heatmap.jpg", "PART1_2_heatmap.jpg"]
    assert [Image.open(path).size for path in written if path] == [(40, 30), (50, 20)]
    assert len(list(folder.folder.iterdir())) == 2


def test_results_without_a_map_have_no_heatmap(artefact_path: Path, image_folder: Path, tmp_path: Path) -> None:
    (image_folder / "bad.png").write_bytes(b"")
    detector = AnomalyDetector(artefact_path)
    folder = HeatmapFolder(tmp_path / "heatmaps")
    (unreadable,) = inspect_images(detector, [image_folder / "bad.png"])
    (without_map,) = inspect_images(detector, [image_folder / "part1.png"], with_map=False)
    assert folder.write(detector, unreadable) is None
    assert folder.write(detector, without_map) is None
    assert not list(folder.folder.iterdir())


def test_heatmaps_are_not_written_among_what_is_inspected(image_folder: Path, tmp_path: Path) -> None:
    for place in (image_folder, image_folder / "heatmaps"):
        with pytest.raises(OutputError, match="would be taken for photographs the next time"):
            HeatmapFolder(place, [tmp_path, image_folder])
    assert not (image_folder / "heatmaps").exists()
    HeatmapFolder(image_folder, [image_folder / "part1.png"])  # single files: nobody looks through the folder


def test_a_folder_that_cannot_be_written_is_clear(
    make_artefact: Callable[..., Path], image_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="Cannot write"):
        HeatmapFolder(image_folder / "part1.png")
    with pytest.raises(OutputError, match="Cannot write"):
        HeatmapFolder(image_folder / "part1.png" / "heatmaps")
    detector = AnomalyDetector(make_artefact())
    folder = HeatmapFolder(tmp_path / "heatmaps")
    folder.folder.rmdir()
    (result,) = inspect_images(detector, [image_folder / "part1.png"])
    with pytest.raises(OutputError, match="does not exist"):
        folder.write(detector, result)
