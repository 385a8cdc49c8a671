from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.image_reading import read_image
from tfganomaly.data.masks import find_masks, upright_size

Write = Callable[..., list[Path]]


@pytest.fixture
def cracks(tmp_path: Path, write_images: Write) -> list[Path]:
    return write_images(tmp_path / "test" / "crack", 4, size=(16, 8))


def masks_of(tmp_path: Path, images: list[Path]) -> tuple[list[Path | None], list[str]]:
    warnings: list[str] = []
    masks = find_masks(images, tmp_path / "test" / "crack", tmp_path / "ground_truth" / "crack", warnings)
    return masks, warnings


@pytest.mark.parametrize("ending", ["_mask.png", ".png", "_mask.bmp"])
def test_masks_are_found_by_either_name(tmp_path: Path, cracks: list[Path], write_masks: Write, ending: str):
    write_masks(tmp_path / "ground_truth" / "crack", cracks, size=(16, 8), ending=ending)
    masks, warnings = masks_of(tmp_path, cracks)
    assert masks == [tmp_path / "ground_truth" / "crack" / f"part{number}{ending}" for number in range(4)]
    assert warnings == []


def test_no_ground_truth_at_all_is_no_trouble(tmp_path: Path, cracks: list[Path]):
    assert masks_of(tmp_path, cracks) == ([None] * 4, [])


def test_ground_truth_without_this_defect_is_a_warning(tmp_path: Path, cracks: list[Path]):
    (tmp_path / "ground_truth").mkdir()
    assert masks_of(tmp_path, cracks) == ([None] * 4, ["ground_truth/crack has no masks for its 4 image(s)."])


def test_missing_masks_are_counted_and_one_is_named(tmp_path: Path, cracks: list[Path], write_masks: Write):
    write_masks(tmp_path / "ground_truth" / "crack", cracks[:2], size=(16, 8))
    masks, warnings = masks_of(tmp_path, cracks)
    assert masks[2:] == [None, None]
    assert warnings == [
        "2 image(s) of test/crack have no mask and do not count in the pixel figures, such as 'part2.png'."
    ]


def test_mask_of_another_size_is_scaled(tmp_path: Path, cracks: list[Path], write_masks: Write):
    write_masks(tmp_path / "ground_truth" / "crack", cracks, size=(32, 16))
    masks, warnings = masks_of(tmp_path, cracks)
    assert None not in masks
    assert len(warnings) == 1
    assert "4 mask(s) in ground_truth/crack have another size than their image and are scaled" in warnings[0]


def test_mask_of_another_shape_is_left_out(tmp_path: Path, cracks: list[Path], write_masks: Write):
    write_masks(tmp_path / "ground_truth" / "crack", cracks, size=(8, 16))
    masks, warnings = masks_of(tmp_path, cracks)
    assert masks == [None] * 4
    assert "have another shape than their image and are left out, such as 'part0_mask.png'" in warnings[0]


def test_damaged_mask_is_left_out(tmp_path: Path, cracks: list[Path], write_masks: Write):
    write_masks(tmp_path / "ground_truth" / "crack", cracks, size=(16, 8))
    (tmp_path / "ground_truth" / "crack" / "part1_mask.png").write_bytes(b"no image")
    masks, warnings = masks_of(tmp_path, cracks)
    assert [mask is None for mask in masks] == [False, True, False, False]
    assert warnings[0].startswith("1 mask(s) in ground_truth/crack cannot be opened")


def test_damaged_image_keeps_its_mask(tmp_path: Path, cracks: list[Path], write_masks: Write):
    write_masks(tmp_path / "ground_truth" / "crack", cracks, size=(16, 8))
    cracks[0].write_bytes(b"")
    masks, warnings = masks_of(tmp_path, cracks)
    assert None not in masks  # reading the image will report it
    assert warnings == []


def test_mask_without_an_image_is_a_warning(tmp_path: Path, cracks: list[Path], write_masks: Write):
    write_masks(tmp_path / "ground_truth" / "crack", [*cracks, Path("part77.png")], size=(16, 8))
    masks, warnings = masks_of(tmp_path, cracks)
    assert None not in masks
    assert warnings == [
        "1 mask(s) in ground_truth/crack belong to no image and are ignored, such as 'part77_mask.png'."
    ]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_in_a_header_is_that_of_the_picture_that_is_read(tmp_path: Path, suffix: str, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"part{suffix}"
    try:
        Image.fromarray(np.zeros((8, 16), np.uint8)).save(path, exif=exif)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {suffix}")
    assert upright_size(path) == read_image(path).size == ((8, 16) if orientation >= 5 else (16, 8))


def test_a_header_that_cannot_be_read_has_no_size(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "part.png"
    Image.fromarray(np.zeros((8, 16), np.uint8)).save(path, exif=exif.tobytes()[:9])
    assert upright_size(path) is None


@pytest.mark.parametrize("shape", [(8, 16), (8, 16, 3)])
def test_the_size_of_pixels_is_their_own(shape: tuple[int, ...]):
    assert upright_size(np.zeros(shape, np.uint8)) == (16, 8)


def test_photograph_that_exif_turns_fits_an_upright_mask(tmp_path: Path, write_masks: Write):
    image = tmp_path / "test" / "crack" / "part0.jpg"
    image.parent.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.fromarray(np.zeros((8, 16), np.uint8)).save(image, exif=exif)
    write_masks(tmp_path / "ground_truth" / "crack", [image], size=(8, 16))
    masks, warnings = masks_of(tmp_path, [image])
    assert masks == [tmp_path / "ground_truth" / "crack" / "part0_mask.png"]
    assert warnings == []
