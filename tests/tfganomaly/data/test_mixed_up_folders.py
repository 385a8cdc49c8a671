"""What is said of a folder in which something lies where it should not, or is missing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import tfganomaly.data.folders
from edge_runtime.errors import ImageError
from tfganomaly.data.folders import open_folder
from tfganomaly.errors import DataError

WriteImages = Callable[..., list[Path]]


def expect_error(folder: Path, *parts: str) -> None:
    with pytest.raises(DataError) as error:
        open_folder(folder)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_missing_folder_and_a_file_are_errors(tmp_path: Path):
    expect_error(tmp_path / "gone", "gone' is missing", "expected a folder")
    (tmp_path / "a.png").write_bytes(b"")
    expect_error(tmp_path / "a.png", "is a file", "expected a folder")


def test_empty_folder_is_an_error(tmp_path: Path):
    expect_error(tmp_path, "holds no images.", "Expected good images, or")


def test_folder_with_other_files_only_names_them(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "report.PDF").write_text("hello")
    expect_error(tmp_path, "holds no images, only other files (1 .pdf, 1 .txt)")


def test_too_few_images_are_an_error(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path, 2)
    expect_error(tmp_path, "too few good images (2)")


def test_train_without_good_is_explained(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "train", 5)
    expect_error(tmp_path, "has 5 images and no folder 'good' (it has no folders)", "move them to train/good")


def test_train_with_another_name_for_good_is_explained(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "train" / "ok", 5)
    expect_error(tmp_path, "has 5 images and no folder 'good' (it has 'ok')")


def test_images_beside_and_inside_good_are_explained(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "train" / "good", 5)
    write_images(tmp_path / "train", 3, first=90)
    expect_error(tmp_path, "3 images outside its folder 'good'", "train/part90.png", "test/<defect>")


def test_defects_in_train_are_explained(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "train" / "good", 5)
    write_images(tmp_path / "train" / "crack", 3)
    expect_error(tmp_path, "3 images outside its folder 'good'", "train/crack/part0.png")


def test_empty_train_good_is_an_error(tmp_path: Path, write_images: WriteImages):
    (tmp_path / "train" / "good").mkdir(parents=True)
    write_images(tmp_path / "test" / "good", 3)
    expect_error(tmp_path, "train/good' holds no images")


def test_test_without_train_is_explained(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "test" / "good", 3)
    expect_error(tmp_path, "has 'test' but no 'train', and nothing to train on")


@pytest.mark.parametrize("names", [("OK", "NOK"), ("Good", "scratch"), ("normal", "defect"), ("no-defect", "hole")])
def test_good_and_others_without_train_are_not_all_taken_as_good(
    tmp_path: Path, write_images: WriteImages, names: tuple[str, str]
):
    for name in names:
        write_images(tmp_path / name, 6)
    expect_error(tmp_path, f"has '{names[0]}' and beside it '{names[1]}'", "it is not known which images are good")


@pytest.mark.parametrize("name", ["negative", "Pass", "no defect", "non-defective"])
def test_a_test_folder_named_like_good_is_no_type_of_defect(tmp_path: Path, write_images: WriteImages, name: str):
    write_images(tmp_path / "train" / "good", 5)
    write_images(tmp_path / "test" / name, 5)
    expect_error(tmp_path, f"has a folder '{name}', which would be taken for a type of defect")


def test_test_images_that_are_copies_of_training_images_are_said(layout_folder: Path):
    for number in range(3):
        copied = layout_folder / "train" / "good" / f"part{number}.png"
        shutil.copy(copied, layout_folder / "test" / "good" / f"copy{number}.png")
    warnings = open_folder(layout_folder).warnings
    assert any(
        "Of 15 test images 3 can be found in train as well, such as 'test/good/copy0.png'" in w for w in warnings
    )


@pytest.mark.parametrize("suffix", ["_mask", "_GT", "-label", "_seg"])
@pytest.mark.parametrize("place", ["train/good", "test/crack", "."])
def test_masks_beside_the_images_are_refused(tmp_path: Path, write_images: WriteImages, suffix: str, place: str):
    if place.startswith("test"):
        write_images(tmp_path / "train" / "good", 5)
    images = write_images(tmp_path / place, 6)
    for image in images[:4]:
        shutil.copy(image, image.with_name(f"{image.stem}{suffix}.bmp"))
    expect_error(tmp_path, "4 of 10 images in", f"look like masks, such as 'part0{suffix}.bmp' of 'part0.png'")


def test_few_masks_or_equal_names_are_said(tmp_path: Path, write_images: WriteImages):
    images = write_images(tmp_path, 12)
    assert open_folder(tmp_path).warnings == ()
    shutil.copy(images[0], tmp_path / "part0_mask.png")
    assert "1 of 13 images in '.' look like masks" in open_folder(tmp_path).warnings[0]
    (tmp_path / "part0_mask.png").unlink()
    for image in images[:8]:
        shutil.copy(image, image.with_suffix(".bmp"))
    assert "twice under one name, such as 'part0.bmp' and 'part0.png'" in open_folder(tmp_path).warnings[0]


def test_images_directly_in_test_are_explained(layout_folder: Path, write_images: WriteImages):
    write_images(layout_folder / "test", 2, first=50)
    expect_error(layout_folder, "2 images outside its folders", "part50.png", "test/good or test/<defect>")


def test_good_beside_other_folders_without_train_is_explained(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "good", 5)
    write_images(tmp_path / "bad", 5)
    expect_error(tmp_path, "has 'good' and beside it 'bad', but no 'train'", f"Give '{tmp_path / 'good'}'")


def test_good_beside_loose_images_is_explained(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "good", 5)
    write_images(tmp_path, 3)
    expect_error(tmp_path, "has 'good' and beside it 3 images, but no 'train'")


def test_capital_letters_are_explained(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "Train" / "Good", 5)
    expect_error(tmp_path, "has a folder 'Train'", "small letters")


def test_collection_of_data_sets_names_one_of_them(tmp_path: Path, write_images: WriteImages):
    for name in ("bottle", "cable"):
        write_images(tmp_path / name / "train" / "good", 3)
    expect_error(tmp_path, "collection of 2 data sets ('bottle', 'cable')", f"'{tmp_path / 'bottle'}'")


def test_folder_that_cannot_be_read_is_no_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(folder: Path) -> list[Path]:
        raise ImageError(f"Folder '{folder}' cannot be read: Permission denied.") from PermissionError(13)

    monkeypatch.setattr(tfganomaly.data.folders, "find_images", refuse)
    expect_error(tmp_path, "cannot be read: Permission denied")


def test_test_without_good_is_a_warning(layout_folder: Path):
    shutil.rmtree(layout_folder / "test" / "good")
    dataset = open_folder(layout_folder)
    assert any("test/good has no images" in warning for warning in dataset.warnings)
    assert len(dataset.test) == 7


def test_test_without_defects_is_a_warning(layout_folder: Path):
    shutil.rmtree(layout_folder / "test" / "crack")
    shutil.rmtree(layout_folder / "test" / "dent")
    shutil.rmtree(layout_folder / "ground_truth")
    dataset = open_folder(layout_folder)
    assert dataset.warnings == ("The test part has no defective images: only the false alarm rate can be measured.",)


def test_empty_defect_folder_is_a_warning(layout_folder: Path):
    (layout_folder / "test" / "scratch").mkdir()
    assert "test/scratch has no images and is left out." in open_folder(layout_folder).warnings


def test_images_beside_train_are_ignored_with_a_warning(layout_folder: Path):
    Image.new("L", (8, 8)).save(layout_folder / "preview.png")
    warnings = open_folder(layout_folder).warnings
    assert any("1 image(s) beside the folder 'train' are ignored, such as 'preview.png'" in line for line in warnings)


@pytest.mark.parametrize("name", ["Good", "GOOD", "ok", "OK", "Okay", "normal"])
def test_a_folder_of_good_test_images_under_another_name_is_no_type_of_defect(
    layout_folder: Path, write_images: WriteImages, name: str
):
    write_images(layout_folder / "test" / name, 3)
    expect_error(layout_folder, f"has a folder '{name}'", "would be taken for a type of defect", "Name it 'good'")


def test_images_in_unknown_folders_beside_train_are_said_once(layout_folder: Path, write_images: WriteImages):
    write_images(layout_folder / "validation", 3)
    write_images(layout_folder / "extra" / "deeper", 3)
    (layout_folder / "notes").mkdir()
    before = open_folder(layout_folder)
    found = [text for text in before.warnings if "beside the folder 'train'" in text]
    assert len(found) == 1
    assert "The images in 'extra', 'validation' beside" in found[0]


def test_links_to_folders_that_are_not_followed_are_said_once(tmp_path: Path, write_images: WriteImages):
    elsewhere = tmp_path / "elsewhere"
    write_images(elsewhere, 5)
    write_images(tmp_path / "photos", 5)
    (tmp_path / "photos" / "more").symlink_to(elsewhere)
    (tmp_path / "photos" / "again").symlink_to(elsewhere)
    dataset = open_folder(tmp_path / "photos")
    assert len(dataset.train) + len(dataset.validation) == 5
    (warning,) = dataset.warnings
    assert warning.startswith("2 linked folder(s) are not followed, such as '")
