import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

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


def test_a_test_part_alone_is_enough_for_an_evaluation(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path / "test" / "good", 3)
    write_images(tmp_path / "test" / "crack", 2)
    dataset = open_folder(tmp_path, for_evaluation=True)
    assert (dataset.train, dataset.validation, len(dataset.test)) == ((), (), 5)
    assert dataset.num_test_by_defect == {"crack": 2}


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


@pytest.mark.parametrize("name", ["part{}.png", "sub\\part{}.png"])
def test_blocks_of_files_named_as_windows_does_are_found(tmp_path: Path, write_images: WriteImages, name: str):
    write_images(tmp_path / "sub", 60)
    lines = ["file,block", *(f"{name.format(number)},{number // 6}" for number in range(60))]
    (tmp_path / "blocks.csv").write_text("\n".join(lines))
    dataset = open_folder(tmp_path)
    blocks = [{int(Path(item.name).stem[4:]) // 6 for item in part} for part in (dataset.train, dataset.validation)]
    assert not blocks[0] & blocks[1]
    assert not any("blocks.csv" in warning for warning in dataset.warnings)


def test_a_blocks_file_of_other_names_is_no_reason_to_split_at_random(tmp_path: Path, write_images: WriteImages):
    write_images(tmp_path, 60)
    without = open_folder(tmp_path)
    (tmp_path / "blocks.csv").write_text("file,block\n" + "\n".join(f"old{number}.png,1" for number in range(60)))
    dataset = open_folder(tmp_path)
    assert (dataset.train, dataset.validation) == (without.train, without.validation)
    (warning,) = (line for line in dataset.warnings if "blocks.csv" in line)
    assert warning.startswith("Not listed in blocks.csv: 60 of 60 good images, such as 'part0.png', so it is not used")
    (tmp_path / "blocks.csv").write_text("file,block\npart0.png,1\npart1.png,1\n")
    (warning,) = (line for line in open_folder(tmp_path).warnings if "blocks.csv" in line)
    assert warning.startswith("Not listed in blocks.csv: 58 of 60 good images, such as 'part2.png', and each")


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
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    refuse_output_among_images(source, tmp_path / "circle", "--run")


def test_outputs_beside_the_parts_of_a_layout_are_no_danger(layout_folder: Path):
    refuse_output_among_images(str(layout_folder), layout_folder / "run", "--run")
    for part in ("train", "test"):
        with pytest.raises(DataError, match=f"inside '{layout_folder / part}'"):
            refuse_output_among_images(str(layout_folder), layout_folder / part / "run", "--run")
