from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.calibrating.calibration_images import find_defective_images, find_good_images
from edge_runtime.errors import CalibrationError, ImageError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set in MVTec layout."""
    root = tmp_path / "tiles"
    for name in ("train/good", "test/good", "test/crack", "ground_truth/crack"):
        (root / name).mkdir(parents=True)
        for number in range(2):
            (root / name / f"{number}.png").write_bytes(b"x")
    return root


def assert_refused(find: object, path: Path, *words: str) -> None:
    with pytest.raises(CalibrationError) as caught:
        find(path)  # type: ignore[operator]
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_folders_and_single_files_of_good_parts_are_taken(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (data / "test" / "good", data / "train" / "good", data / "train"):
        assert len(find_good_images(folder)) == 2
    assert find_good_images(data / "test" / "good" / "1.png") == [data / "test" / "good" / "1.png"]
    monkeypatch.chdir(data / "test" / "good")
    assert find_good_images(".") == [Path("0.png"), Path("1.png")]
    mine = data.parent / "ground_truth" / "line 3" / "parts"  # a folder further out may have any name
    for shift in ("early", "late"):
        (mine / shift).mkdir(parents=True)
        (mine / shift / "a.png").write_bytes(b"x")
    assert len(find_good_images(mine)) == 2


def test_a_whole_data_set_is_no_folder_of_good_parts(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advice = f"Give '{data / 'test' / 'good'}', or a folder of new good parts"
    for name in ("ground_truth/crack/0.png", "ground_truth/crack/1.png"):
        (data / name).unlink()
    assert_refused(find_good_images, data, "whole data set", advice)
    assert_refused(find_good_images, data.parent, "whole data set")
    monkeypatch.chdir(data)
    assert_refused(find_good_images, Path(), "whole data set", "Give 'test/good'")


def test_a_test_part_is_no_folder_of_good_parts(data: Path) -> None:
    assert_refused(find_good_images, data / "test", "'crack'", f"Give '{data / 'test' / 'good'}'")


@pytest.mark.parametrize("find", [find_good_images, find_defective_images])
@pytest.mark.parametrize("name", ["", "ground_truth", "ground_truth/crack", "ground_truth/crack/0.png"])
def test_masks_are_no_photographs(data: Path, find: object, name: str) -> None:
    assert_refused(find, data / name, "0.png' lies below 'ground_truth'")


def test_folders_of_defective_parts_are_taken(data: Path) -> None:
    assert len(find_defective_images(data / "test" / "crack")) == 2
    assert find_defective_images(data / "test" / "crack" / "1.png") == [data / "test" / "crack" / "1.png"]


@pytest.mark.parametrize("word", ["good", "OK", "normal"])
def test_good_parts_are_no_defects(data: Path, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "test" / "good").rename(data / "test" / word)
    advice = "Give a folder with defective parts only, such as test/DEFECT"
    for name in ("test", f"test/{word}", f"test/{word}/0.png"):
        assert_refused(find_defective_images, data / name, "0.png' is given as defective", advice)
    monkeypatch.chdir(data / "test" / word)
    assert_refused(find_defective_images, Path(), "is given as defective")


@pytest.mark.parametrize("find", [find_good_images, find_defective_images])
def test_nothing_to_find_is_an_error_as_for_any_images(tmp_path: Path, find: object) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        find(tmp_path / "none")  # type: ignore[operator]
