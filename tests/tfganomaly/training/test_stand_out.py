import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.calibrating.calibrate import MapRange, calibrate
from edge_runtime.preprocessing import Preprocessing, scale_pixels
from edge_runtime.scoring import ModelOutputs, ScoreRule
from tfganomaly.data.items import ImageItem
from tfganomaly.data.loading import LoadedImages
from tfganomaly.training import stand_out
from tfganomaly.training.run_folder import RunFolder
from tfganomaly.training.stand_out import (
    ALWAYS_SHOWN,
    MOST_SHOWN,
    SMALLEST_DISTANCE,
    find_strangest,
    report_stand_outs,
)

SIZE = 32


def find_stand_outs(*arguments):
    return [one for one in find_strangest(*arguments) if one.stands_out]


class FlatScorer:
    """A scorer without a network: it draws every part in plain grey, so that bright marks are anomalous."""

    description, data_source, data_seed, threshold = "flat", "parts", 0, 1.0
    preprocessing = Preprocessing(SIZE, SIZE, 1)
    score_rule = ScoreRule({"reconstruction_l1": 1.0})
    calibration = calibrate(np.array([0.1, 0.2]), MapRange(0.0, 0.5, 0.8))

    def model_outputs(self, pixels):
        inputs = scale_pixels(pixels)
        latent = np.zeros((len(pixels), 1, 1, 1), np.float32)
        return ModelOutputs(latent, latent, np.zeros_like(inputs))


def images(folder, count, marked=(), seed=0, part="train"):
    random = np.random.default_rng(seed)
    pixels = (127.5 + random.normal(0, 4, (count, SIZE, SIZE, 1))).astype(np.uint8)
    items = []
    folder.mkdir(exist_ok=True)
    for index in range(count):
        if index in marked:
            pixels[index, 8:16, 8:16] = 255
        name = f"{part}_{index:03d}.png"
        Image.fromarray(pixels[index, :, :, 0]).save(folder / name)
        items.append(ImageItem(name, folder / name))
    return LoadedImages(pixels, tuple(items))


@pytest.fixture
def run_folder(tmp_path):
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def test_defects_among_the_good_images_stand_out_and_the_others_do_not(tmp_path):
    train = images(tmp_path / "parts", 200, marked=(7, 150))
    validation = images(tmp_path / "parts", 20, marked=(3,), seed=1, part="held")
    found = find_stand_outs(FlatScorer(), train, validation)
    assert {one.item.name for one in found} == {"train_007.png", "train_150.png", "held_003.png"}
    assert [one.item.name for one in found if one.is_held_back] == ["held_003.png"]
    assert all(one.distance > SMALLEST_DISTANCE for one in found)


@pytest.mark.parametrize("seed", range(5))
def test_images_that_are_all_alike_are_left_in_peace(tmp_path, seed):
    train = images(tmp_path / "parts", 300, seed=2 * seed)
    validation = images(tmp_path / "parts", 30, seed=2 * seed + 1, part="held")
    assert find_stand_outs(FlatScorer(), train, validation) == []


def test_a_defect_with_a_usual_score_is_found_by_its_map(tmp_path):
    scorer = FlatScorer()
    scorer.score_rule = ScoreRule({"latent_l2": 1.0})  # which is 0 for every image
    train = images(tmp_path / "parts", 40, marked=(11,))
    found = find_stand_outs(scorer, train, images(tmp_path / "parts", 4, seed=1, part="held"))
    assert [one.item.name for one in found] == ["train_011.png"]


def test_identical_images_do_not_stand_out(tmp_path):
    same = LoadedImages(np.full((10, SIZE, SIZE, 1), 90, np.uint8), images(tmp_path / "parts", 10).items)
    assert find_stand_outs(FlatScorer(), same, same) == []


def test_maps_that_differ_by_rounding_alone_name_nobody(tmp_path, monkeypatch):
    rounding = np.float32(1 + 2e-7) ** np.arange(40)
    peaks = {len(rounding): rounding, 4: np.array([1, 1, 1, 1.0009])}
    monkeypatch.setattr(
        stand_out, "_scores_and_peaks", lambda scorer, loaded: np.stack([peaks[len(loaded.items)]] * 2, axis=1)
    )
    train, validation = images(tmp_path / "parts", 40), images(tmp_path / "parts", 4, seed=1, part="held")
    assert find_stand_outs(FlatScorer(), train, validation) == []
    peaks[4] = np.array([1, 1, 1, 1.1])
    assert [one.row for one in find_stand_outs(FlatScorer(), train, validation)] == [3]


def test_the_report_names_them_and_shows_them_on_a_sheet(tmp_path, run_folder):
    train = images(tmp_path / "parts", 100, marked=(1, 2, 3, 4, 5, 6))
    validation = images(tmp_path / "parts", 10, marked=(0,), seed=1, part="held")
    scorer = FlatScorer()
    (note,) = report_stand_outs(run_folder, scorer, scorer.calibration, train, validation)
    assert note.startswith("7 of 110 good images stand out, more than 7 deviations from the usual: ")
    assert "and 2 more" in note
    assert str(run_folder.stand_out_path) in note
    assert "1 of them was held back and may have lifted the threshold" in note
    assert "move them out and train again" in note
    with Image.open(run_folder.stand_out_path) as sheet:
        assert sheet.width > 6 * 192


def test_where_none_stands_out_the_strangest_are_shown_all_the_same(tmp_path, run_folder):
    scorer = FlatScorer()
    calm, held_back = images(tmp_path / "parts", 50, seed=3), images(tmp_path / "parts", 9, seed=4, part="held")
    assert len(find_strangest(scorer, calm, held_back)) == ALWAYS_SHOWN
    (note,) = report_stand_outs(run_folder, scorer, scorer.calibration, calm, held_back)
    assert note.startswith(f"no good image stands out by far; the {ALWAYS_SHOWN} strangest are in ")
    assert run_folder.stand_out_path.is_file()


def test_what_the_sheet_prints_falls_from_tile_to_tile_and_passes_the_limit_where_one_stands_out(
    tmp_path, run_folder, monkeypatch
):
    sheets = []
    monkeypatch.setattr(
        stand_out,
        "contact_sheet",
        lambda tiles, **rest: sheets.append((tiles, rest["title"])) or Image.new("L", (1, 1)),
    )
    train = images(tmp_path / "parts", 100, marked=(4,))
    scorer = FlatScorer()
    report_stand_outs(
        run_folder, scorer, scorer.calibration, train, images(tmp_path / "parts", 10, seed=1, part="held")
    )
    ((tiles, title),) = sheets
    printed = [float(tile.note.removeprefix("distance ").partition(",")[0]) for tile in tiles]
    assert printed == sorted(printed, reverse=True)
    assert [tile.is_marked for tile in tiles] == [distance > SMALLEST_DISTANCE for distance in printed]
    assert all("limit 7;" in tile.note for tile in tiles)
    assert "1 of all stand out, by more than 7 deviations" in title


def test_the_sheet_has_file_names_and_the_list_beside_it_full_paths(tmp_path, run_folder, monkeypatch):
    captions = []
    monkeypatch.setattr(
        stand_out,
        "contact_sheet",
        lambda tiles, **_: captions.extend(tile.caption for tile in tiles) or Image.new("L", (1, 1)),
    )
    train = images(tmp_path / "parts", 50, marked=(9,))
    train = LoadedImages(train.pixels, tuple(ImageItem(f"train/good/{item.name}", item.source) for item in train.items))
    scorer = FlatScorer()
    (note,) = report_stand_outs(
        run_folder, scorer, scorer.calibration, train, images(tmp_path / "parts", 5, seed=1, part="held")
    )
    written = json.loads((run_folder.path / "stand_out.json").read_text("utf-8"))
    listed = written["images"]
    assert captions[0] == "train_009.png"
    assert [Path(one["path"]).name for one in listed] == captions
    assert listed[0]["path"] == str(tmp_path / "parts" / "train_009.png")
    assert [one["stands_out"] for one in listed] == [True] + [False] * (ALWAYS_SHOWN - 1)
    assert listed[0]["distance"] > written["limit"] == SMALLEST_DISTANCE
    assert "stand_out.json" in note


def test_the_list_names_an_image_that_is_no_file_as_the_data_set_does(tmp_path, run_folder):
    held_back, train = images(tmp_path / "parts", 5, seed=1, part="held"), images(tmp_path / "parts", 20)
    train = LoadedImages(
        train.pixels,
        tuple(ImageItem(f"train/bag/{row:05d}", train.pixels[row, :, :, 0]) for row in range(len(train.items))),
    )
    scorer = FlatScorer()
    report_stand_outs(run_folder, scorer, scorer.calibration, train, held_back)
    listed = json.loads((run_folder.path / "stand_out.json").read_text("utf-8"))["images"]
    assert {one["path"] for one in listed if not one["is_held_back"]} <= {item.name for item in train.items}


def test_a_line_break_in_a_name_does_not_break_the_note(tmp_path, run_folder):
    train = images(tmp_path / "parts", 50, marked=(9,))
    items = list(train.items)
    items[9] = ImageItem("part\nError: forged\x1b[2J.png", items[9].source)
    scorer = FlatScorer()
    validation = images(tmp_path / "parts", 5, seed=1, part="held")
    (note,) = report_stand_outs(
        run_folder, scorer, scorer.calibration, LoadedImages(train.pixels, tuple(items)), validation
    )
    assert "part\\nError: forged\\x1b[2J.png" in note
    assert note.isprintable()


def test_a_picture_that_has_gone_is_drawn_as_the_model_saw_it(tmp_path, run_folder):
    train = images(tmp_path / "parts", 50, marked=(9,))
    Path(train.items[9].source).unlink()
    scorer = FlatScorer()
    validation = images(tmp_path / "parts", 5, seed=1, part="held")
    assert len(report_stand_outs(run_folder, scorer, scorer.calibration, train, validation)) == 1
    assert run_folder.stand_out_path.is_file()


def test_a_sheet_shows_so_many_at_most(tmp_path, run_folder):
    train = images(tmp_path / "parts", 200, marked=range(60))
    scorer = FlatScorer()
    (note,) = report_stand_outs(
        run_folder, scorer, scorer.calibration, train, images(tmp_path / "parts", 5, seed=1, part="held")
    )
    assert "60 of 205" in note
    with Image.open(run_folder.stand_out_path) as sheet:
        assert sheet.height < (MOST_SHOWN // 6 + 1) * 260
