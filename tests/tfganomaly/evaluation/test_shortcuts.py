import math

import numpy as np
import pytest
from PIL import Image

from tfganomaly.data.items import ImageItem
from tfganomaly.evaluation.shortcuts import (
    ShortcutValues,
    best_shortcut_per_defect,
    measure_shortcuts,
    shortcut_baselines,
)


def test_shortcuts_are_measured_as_they_say(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (7, 5)).save(path)
    pixels = np.array([[[10], [30]]], np.uint8)
    values = measure_shortcuts(ImageItem("a", path), pixels, (7, 5))
    assert values == ShortcutValues(20.0, 10.0, float(path.stat().st_size), 7.0, 5.0)


def test_contrast_of_a_colour_image_is_that_of_its_grey_values():
    # Two colours of equal mean: no contrast in grey.
    pixels = np.array([[[90, 0, 0], [0, 0, 90]]], np.uint8)
    assert measure_shortcuts(ImageItem("a", pixels), pixels, (2, 1)).contrast == 0.0


def test_the_better_direction_is_taken_and_named():
    labels, defects = np.array([0, 0, 1, 1]), ["good", "good", "dot", "line"]
    values = [
        ShortcutValues(mean_grey=grey, contrast=contrast, file_size=math.nan, image_width=10, image_height=height)
        for grey, contrast, height in ((90, 1, 5), (80, 2, 5), (50, 3, 5), (85, 4, 6))
    ]
    baselines = shortcut_baselines(labels, defects, values)
    assert list(baselines) == list(ShortcutValues._fields)
    assert baselines["mean_grey"].auroc == pytest.approx(3 / 4)
    assert baselines["mean_grey"].points_down
    np.testing.assert_array_equal(baselines["mean_grey"].scores, [-90, -80, -50, -85])
    assert baselines["contrast"].auroc == 1.0
    assert not baselines["contrast"].points_down
    assert baselines["image_width"].auroc == 0.5
    assert baselines["mean_grey"].per_defect_auroc == {"dot": 1.0, "line": 0.5}
    assert baselines["image_height"].per_defect_auroc == {"dot": 0.5, "line": 1.0}


def test_the_file_size_of_an_array_is_not_defined():
    pixels = np.zeros((2, 2, 1), np.uint8)
    values = [measure_shortcuts(ImageItem(str(index), pixels), pixels, (2, 2)) for index in range(2)]
    baseline = shortcut_baselines(np.array([0, 1]), ["good", "dot"], values)["file_size"]
    assert baseline.auroc is None
    assert baseline.per_defect_auroc == {}


def test_the_best_shortcut_is_found_for_each_defect():
    values = [ShortcutValues(grey, 1, math.nan, 10, height) for grey, height in ((90, 5), (80, 5), (50, 5), (85, 6))]
    baselines = shortcut_baselines(np.array([0, 0, 1, 1]), ["good", "good", "dot", "line"], values)
    assert best_shortcut_per_defect(baselines) == {"dot": ("mean_grey", 1.0), "line": ("image_height", 1.0)}


def test_shortcuts_of_good_images_alone_are_not_defined():
    values = [ShortcutValues(1, 1, 1, 1, 1)] * 3
    baselines = shortcut_baselines(np.zeros(3, int), ["good"] * 3, values)
    assert all(baseline.auroc is None for baseline in baselines.values())
    assert best_shortcut_per_defect(baselines) == {}
