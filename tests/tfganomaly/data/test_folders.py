import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import tfganomaly.data.folders
from edge_runtime.errors import ImageError
from tfganomaly.data.folders import open_folder, refuse_output_among_images
from tfganomaly.errors import DataError

WriteImages = Callable[..., list[Path]]


def test_layout_is_read_with_defects_and_masks(layout_folder: Path):
    dataset = open_folder(layout_folder, validation_fraction=0.1)
    assert dataset.name == "brackets"
    assert dataset.source == str(layout_folder)
    assert (len(dataset.train), len(dataset.validation)) == (18, 2)
    assert len(dataset.test_good) == 5
    assert dataset.num_test_by_defect == {"crack": 4, "dent": 3}
    assert not any(item.is_anomalous for item in dataset.train + dataset.validation)
    crack = next(item for item in dataset.test if item.defect == "crack")
    assert crack.name == "test/crack/part0.png"
    assert crack.source == layout_folder / "test" / "crack" / "part0.png"
    assert crack.mask == layout_folder / "ground_truth" / "crack" / "part0_mask.png"
    assert dataset.warnings == ("ground_truth/dent has no masks for its 3 image(s).",)


def test_names_are_unique_and_in_natural_order(layout_folder: Path):
    dataset = open_folder(layout_folder)
    names = [item.name for item in dataset.train + dataset.validation + dataset.test]
    assert len(set(names)) == len(names)
    numbers = [int(Path(item.name).stem.removeprefix("part")) for item in dataset.train]
    assert numbers == sorted(numbers)


def test_ground_truth_is_optional(layout_folder: Path):
    shutil.rmtree(layout_folder / "ground_truth")
    dataset = open_folder(layout_folder)
    assert not dataset.has_masks
    assert dataset.warnings == ()


def test_test_part_is_optional(layout_folder: Path):
    shutil.rmtree(layout_folder / "test")
    dataset = open_folder(layout_folder)
    assert dataset.test == ()
    assert len(dataset.train) + len(dataset.validation) == 20


def test_validation_fraction_does_not_change_the_test_part(layout_folder: Path):
    assert open_folder(layout_folder, validation_fraction=0.5).test == open_folder(layout_folder).test


def test_plain_folder_holds_good_images_only(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "photos", 12)
    dataset = open_folder(tmp_path / "photos", validation_fraction=0.25)
    assert (len(dataset.train), len(dataset.validation), dataset.test) == (9, 3, ())
    assert dataset.warnings == ()


def test_plain_folder_may_have_subfolders_and_says_that_all_are_good(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "monday", 4)
    write_images(tmp_path / "tuesday", 4)
    dataset = open_folder(tmp_path)
    assert len(dataset.train) + len(dataset.validation) == 8
    assert dataset.warnings == (
        "All 8 images in 'monday', 'tuesday' are taken as good, as there is no folder 'train'.",
    )


def test_folder_with_nothing_but_good_is_a_plain_folder(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "good", 4)
    dataset = open_folder(tmp_path)
    assert len(dataset.train) + len(dataset.validation) == 4
    assert dataset.warnings == ()


def test_hidden_files_are_no_images(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path, 4)
    (tmp_path / "._part0.png").write_bytes(b"resource fork")
    dataset = open_folder(tmp_path)
    assert len(dataset.train) + len(dataset.validation) == 4


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


def test_a_test_part_alone_is_enough_for_an_evaluation(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "test" / "good", 3)
    write_images(tmp_path / "test" / "crack", 2)
    dataset = open_folder(tmp_path, for_evaluation=True)
    assert (dataset.train, dataset.validation, len(dataset.test)) == ((), (), 5)
    assert dataset.num_test_by_defect == {"crack": 2}


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
        "3 of 15 test images are copies of images in train, such as 'test/good/copy0.png'" in w for w in warnings
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


def test_blocks_file_keeps_photographs_of_one_part_together(tmp_path: Path, write_images: WriteImages):
    images = write_images(tmp_path, 60)
    # exposure first in the name, tile second: neighbours in the order of names show different tiles
    tile = {path.name: number % 10 for number, path in enumerate(images)}
    lines = ["file,block", *(f"{name},{block}" for name, block in tile.items())]
    (tmp_path / "blocks.csv").write_text("\n".join(lines))
    dataset = open_folder(tmp_path, validation_fraction=0.2)
    held_back = {tile[item.name] for item in dataset.validation}
    assert len(dataset.validation) == 12
    assert len(held_back) == 2
    assert not held_back & {tile[item.name] for item in dataset.train}


def test_blocks_file_that_is_not_understood_is_a_warning(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path, 20)
    (tmp_path / "blocks.csv").write_text("name;group\npart0.png;1\n")
    dataset = open_folder(tmp_path, validation_fraction=0.1)
    assert dataset.warnings == ("blocks.csv is not used (no column 'file'); expected the columns 'file' and 'block'.",)
    assert len(dataset.validation) == 2


def test_block_on_both_sides_of_the_given_split_is_a_warning(layout_folder: Path):
    (layout_folder / "blocks.csv").write_text("file,block\ntrain/good/part0.png,7\ntest/good/part0.png,7\n")
    assert any("1 block(s) of blocks.csv stand in both" in line for line in open_folder(layout_folder).warnings)


def test_magnetic_tiles_have_the_published_numbers(magnetic_tiles: Path):
    dataset = open_folder(magnetic_tiles)
    assert len(dataset.train) + len(dataset.validation) == 765
    assert 76 <= len(dataset.validation) <= 100  # whole blocks, so not exactly a tenth
    assert len(dataset.test_good) == 187
    assert dataset.num_test_by_defect == {"blowhole": 115, "break": 85, "crack": 57, "fray": 32, "uneven": 103}
    assert all(item.mask is not None for item in dataset.test_anomalous)
    assert dataset.warnings == ()


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


def test_a_layout_made_of_links_is_followed_without_a_warning(
    tmp_path: Path, layout_folder: Path, write_images: WriteImages
):
    linked = tmp_path / "linked"
    (linked / "train").mkdir(parents=True)
    (linked / "test").mkdir()
    (linked / "train" / "good").symlink_to(layout_folder / "train" / "good")
    for name in ("good", "crack"):
        (linked / "test" / name).symlink_to(layout_folder / "test" / name)
    dataset = open_folder(linked)
    assert dataset.num_test_by_defect == {"crack": 4}
    assert dataset.warnings == ()


def test_outputs_below_a_folder_of_images_are_refused(tmp_path: Path, write_images: WriteImages, monkeypatch):
    write_images(tmp_path / "photos", 5)
    source = open_folder(tmp_path / "photos").source
    monkeypatch.chdir(tmp_path / "photos")
    for place in (Path("run"), Path("defects.png"), tmp_path / "photos" / "deep" / "run", Path("../photos/run")):
        with pytest.raises(DataError, match=rf"--run is '{place}', inside '{source}', from which images are taken"):
            refuse_output_among_images(source, place, "--run")
    for place in (Path("../run"), tmp_path / "photos_run", Path("/elsewhere")):
        refuse_output_among_images(source, place, "--run")
    refuse_output_among_images("mnist:8", Path("run"), "--run")


def test_outputs_beside_the_parts_of_a_layout_are_no_danger(layout_folder: Path):
    refuse_output_among_images(str(layout_folder), layout_folder / "run", "--run")
    for part in ("train", "test"):
        with pytest.raises(DataError, match=f"inside '{layout_folder / part}'"):
            refuse_output_among_images(str(layout_folder), layout_folder / part / "run", "--run")
