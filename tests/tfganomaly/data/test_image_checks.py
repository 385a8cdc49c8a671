"""What is odd about readable images is said, and usual ones are left in peace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.preprocessing import Preprocessing
from tfganomaly.data.image_checks import check_images
from tfganomaly.data.items import ImageItem
from tfganomaly.data.loading import LoadedImages, load_images

SQUARE = Preprocessing(32, 32, 1)


def written(folder: Path, sizes: list[tuple[int, int]], part: str = "train", seed: int = 0) -> tuple[ImageItem, ...]:
    """Write noisy images of the given (width, height)."""
    random = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    items = []
    for index, (width, height) in enumerate(sizes):
        path = folder / f"{part}{index}.png"
        Image.fromarray(random.integers(0, 255, (height, width), dtype=np.uint8)).save(path)
        items.append(ImageItem(path.name, path))
    return tuple(items)


def oddities(train: LoadedImages, validation: LoadedImages, preprocessing: Preprocessing) -> list[str]:
    """What is odd beside the number of images."""
    found = check_images(train, validation, preprocessing)
    assert found[0].startswith(f"Only {len(train.items)} images to train on")
    return found[1:]


def loaded(items: tuple[ImageItem, ...], preprocessing: Preprocessing = SQUARE) -> LoadedImages:
    return load_images(items, preprocessing)


def test_usual_images_give_no_warning(tmp_path: Path) -> None:
    train = loaded(written(tmp_path, [(40, 36), (36, 40), (200, 190), (24, 24)]))
    assert oddities(train, loaded(written(tmp_path, [(40, 40)] * 2, "held", 1)), SQUARE) == []


@pytest.mark.parametrize(("rule", "words"), [("stretch", "stretched"), ("crop", "cut")])
def test_parts_of_changing_shape_are_said_where_the_resize_rule_minds(tmp_path: Path, rule: str, words: str) -> None:
    preprocessing = Preprocessing(32, 32, 1, rule)
    train = loaded(written(tmp_path, [(40, 80), (80, 40), (40, 40)]), preprocessing)
    found = oddities(train, loaded(written(tmp_path, [(40, 40)] * 2, "held", 1), preprocessing), preprocessing)
    assert len(found) == 1
    assert f"from 40 x 80 to 80 x 40 pixels, and are {words} to one shape" in found[0]
    assert "--resize-rule letterbox" in found[0]


def test_upright_and_lying_pictures_in_one_letterbox_are_said(tmp_path: Path) -> None:
    preprocessing = Preprocessing(32, 32, 1, "letterbox")
    held_back = loaded(written(tmp_path, [(40, 40)] * 2, "held", 1), preprocessing)
    mixed = loaded(written(tmp_path, [(40, 80), (80, 40)]), preprocessing)
    (found,) = oddities(mixed, held_back, preprocessing)
    assert "from 40 x 80 to 80 x 40 pixels" in found
    assert "a place of one is not the same place of another" in found
    lying = loaded(written(tmp_path, [(80, 40), (80, 79)], "lying"), preprocessing)
    assert oddities(lying, held_back, preprocessing) == []


def test_images_much_smaller_than_the_model_are_said(tmp_path: Path) -> None:
    train = loaded(written(tmp_path, [(40, 40), (21, 21), (10, 10), (10, 400)]))
    found = oddities(train, loaded(written(tmp_path, [(40, 40)] * 2, "held", 1)), SQUARE)
    assert (
        "2 of 6 images are much smaller than the model's 32 x 32 pixels, such as 'train2.png' with 10 x 10" in found[0]
    )
    arrays = LoadedImages(
        np.arange(4 * 1024, dtype=np.uint32).astype(np.uint8).reshape(4, 32, 32, 1)
        ^ np.arange(4, dtype=np.uint8)[:, None, None, None],
        tuple(ImageItem(str(index), np.zeros((8, 8), np.uint8)) for index in range(4)),
    )
    assert "'0' with 8 x 8" in oddities(arrays, loaded(written(tmp_path, [(40, 40)] * 2, "held", 1)), SQUARE)[0]


def test_identical_images_are_said_plainly(tmp_path: Path) -> None:
    item = written(tmp_path, [(32, 32)])[0]
    found = oddities(loaded((item,) * 5), loaded((item,) * 2), SQUARE)
    assert len(found) == 1
    assert found[0].startswith("All 5 training images are the same, pixel by pixel")


def test_copies_within_and_across_the_parts_are_counted(tmp_path: Path) -> None:
    items = written(tmp_path, [(32, 32)] * 10)
    others = written(tmp_path, [(32, 32)] * 4, "held", 1)
    found = oddities(loaded((*items, *items[:3])), loaded((*others, items[0])), SQUARE)
    assert "3 of 13 training images are exact copies of others: the model learns from 10 only" in found[0]
    assert "1 of 5 held-back images are exact copies of training images" in found[1]
    assert len(found) == 2
    (found_within,) = oddities(loaded(items), loaded((*others, *others[:2])), SQUARE)
    assert "2 of 6 held-back images are exact copies of others of them: the threshold rests on 4 only" in found_within


def test_blank_images_are_named(tmp_path: Path) -> None:
    items = written(tmp_path, [(32, 32)] * 4)
    Image.new("L", (32, 32), 0).save(tmp_path / "train2.png")
    found = oddities(loaded(items), loaded(written(tmp_path, [(40, 40)] * 2, "held", 1)), SQUARE)
    assert len(found) == 1
    assert found[0].startswith("1 of 6 images are of one colour all over, such as 'train2.png'.")


def test_a_hundred_images_are_no_longer_few(tmp_path: Path) -> None:
    items = written(tmp_path, [(32, 32)] * 100)
    assert check_images(loaded(items), loaded(written(tmp_path, [(32, 32)] * 2, "held", 1)), SQUARE) == []


def test_pictures_reduced_so_far_that_small_defects_vanish_are_said(tmp_path: Path) -> None:
    held_back = loaded(written(tmp_path, [(40, 40)], "held", 1))
    assert oddities(loaded(written(tmp_path, [(256, 256)] * 3)), held_back, SQUARE) == []
    (found,) = oddities(loaded(written(tmp_path, [(320, 320)] * 3)), held_back, SQUARE)
    assert "3 of 4 images are reduced more than 8-fold, such as 'train0.png' with 320 x 320 pixels 10.0-fold" in found
    assert "a defect of 5 pixels becomes 0.5 pixels" in found
    assert "--image-size" in found


def test_pictures_that_fill_little_of_a_letterbox_are_said(tmp_path: Path) -> None:
    preprocessing = Preprocessing(32, 32, 1, "letterbox")
    train, held_back = (
        loaded(written(tmp_path, [(128, 32)] * 3, part, seed), preprocessing)
        for part, seed in (("train", 0), ("held", 1))
    )
    (found,) = oddities(train, held_back, preprocessing)
    assert "6 of 6 images fill less than a third of the model's square" in found
    assert "128 x 32 pixels 32 x 8 of it: a defect of 5 pixels becomes 1.2 pixels" in found


def test_pictures_of_few_grey_levels_are_said(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    items = []
    for index in range(4):
        path = tmp_path / f"deep{index}.png"
        Image.fromarray(random.integers(0, 4096, (32, 32), dtype=np.uint16)).save(path)
        items.append(ImageItem(path.name, path))
    (found,) = oddities(loaded(tuple(items[:3])), loaded(tuple(items[3:])), SQUARE)
    assert "4 of 4 sampled images use fewer than 24 of 255 grey levels, all between 0 and 16" in found
    assert "multiplied by 16" in found
