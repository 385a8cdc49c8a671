from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from edge_runtime.errors import ImageError
from edge_runtime.preprocessing import Preprocessing
from tfganomaly.data.items import ImageItem
from tfganomaly.evaluation.masks import judge_pixels, read_mask, resize_mask
from tfganomaly.evaluation.scorer import score_items


def save(path, array):
    Image.fromarray(array).save(path)
    return path


def test_every_non_zero_pixel_of_a_mask_is_defect(tmp_path):
    values = np.array([[0, 1], [3, 255]], np.uint8)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", values)), values > 0)


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", np.uint16), (".tif", np.uint16), (".tif", np.int32)])
def test_class_numbers_of_more_than_eight_bits_are_defects(tmp_path, suffix, dtype):
    values = np.array([[0, 1], [2, 65535]], dtype)
    np.testing.assert_array_equal(read_mask(save(tmp_path / f"m{suffix}", values)), values > 0)


def test_every_colour_but_black_is_defect(tmp_path):
    values = np.zeros((2, 2, 3), np.uint8)
    values[0, 0, 2] = values[1, 1, 0] = 1
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", values)), values.any(axis=2))


def test_the_noise_of_a_jpeg_mask_is_not_defect(tmp_path):
    mask = np.zeros((32, 32), np.uint8)
    mask[9:20, 9:20] = 255
    path = tmp_path / "m.jpg"
    Image.fromarray(mask).save(path, quality=60)
    assert 0 < np.asarray(Image.open(path))[mask == 0].max() < 127
    np.testing.assert_array_equal(read_mask(path), mask > 0)


@pytest.mark.parametrize(("options", "is_lossy"), [({"quality": 60}, True), ({"lossless": True}, False)])
@pytest.mark.parametrize("extra", [{}, {"icc_profile": b"profile"}])
def test_only_a_lossy_webp_mask_has_noise(tmp_path, options, is_lossy, extra):
    mask = np.zeros((32, 32), np.uint8)
    mask[9:20, 9:20] = 255 if is_lossy else 2  # a class number
    path = tmp_path / "m.webp"
    try:
        Image.fromarray(mask).save(path, **options, **extra)
    except (KeyError, OSError):
        pytest.skip("this Pillow has no WebP")
    if is_lossy:
        assert np.asarray(Image.open(path).convert("L"))[mask == 0].max() > 0
    np.testing.assert_array_equal(read_mask(path), mask > 0)


def test_a_film_of_lossy_pictures_has_noise_too(tmp_path):
    mask = np.zeros((32, 32), np.uint8)
    mask[9:20, 9:20] = 255
    path = tmp_path / "m.webp"
    try:
        Image.fromarray(mask).save(path, save_all=True, append_images=[Image.fromarray(mask[::-1])], quality=60)
    except (KeyError, OSError):
        pytest.skip("this Pillow has no WebP")
    assert b"ANMF" in path.read_bytes()
    np.testing.assert_array_equal(read_mask(path), mask > 0)


@pytest.mark.parametrize(
    ("colours", "defect_numbers"),
    [
        ([255, 255, 255, 255, 0, 0, 0, 0, 255], (1, 2)),  # no black: class numbers, of which 0 is good
        ([255, 255, 255, 0, 0, 0, 0, 0, 255], (0, 2)),  # as a program that makes files smaller may sort two colours
        ([0, 0, 0, 255, 255, 255, 0, 0, 255], (1, 2)),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_mask_with_a_palette_is_read_by_its_colours_or_class_numbers(tmp_path, colours, defect_numbers, suffix):
    numbers = np.array([[0, 1, 1], [2, 0, 0]], np.uint8)
    picture = Image.fromarray(numbers).convert("P")
    picture.putdata(numbers.ravel().tolist())
    picture.putpalette(colours)
    picture.save(tmp_path / f"m{suffix}")
    np.testing.assert_array_equal(read_mask(tmp_path / f"m{suffix}"), np.isin(numbers, defect_numbers))


def test_a_turned_mask_of_sixteen_bits_is_upright(tmp_path):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) // 5
    Image.fromarray(values).save(tmp_path / "m.tif", tiffinfo={0x0112: 6})
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif"), np.rot90(values, -1) > 0)


def test_a_mask_that_is_no_image_is_an_error(tmp_path):
    (tmp_path / "m.png").write_text("not an image")
    with pytest.raises(ImageError, match=r"m\.png"):
        read_mask(tmp_path / "m.png")


def test_a_single_pixel_survives_any_reduction():
    mask = np.zeros((1000, 1500), bool)
    mask[777, 333] = True
    small = resize_mask(mask, (15, 10))
    assert small.shape == (10, 15)
    assert small.sum() == 1
    assert small[7, 3]


def test_an_enlarged_mask_keeps_its_square_pixels():
    mask = np.array([[True, False], [False, False]])
    np.testing.assert_array_equal(resize_mask(mask, (4, 4)), np.kron(mask, np.ones((2, 2))) > 0)


def test_pixel_metrics_of_maps_at_the_pictures_size_agree_with_scikit_learn(parts, make_scorer):
    scorer = make_scorer(size=48)
    scorer.preprocessing = Preprocessing(36, 48, 1)
    scored = score_items(scorer, parts.test)
    metrics, findings = judge_pixels(scored, scorer.preprocessing)
    truth = [np.zeros((36, 48), bool) if item.mask is None else read_mask(item.mask) for item in scored.items]
    expected = roc_auc_score(np.stack(truth).ravel(), np.stack(scored.maps).ravel())
    assert metrics.pixel_auroc == pytest.approx(expected, abs=1e-4)
    assert metrics.num_regions == 14
    assert findings.warnings() == []


def test_images_without_a_usable_mask_are_left_out_and_counted(parts, scorer, tmp_path):
    anomalous = [item for item in parts.test if item.is_anomalous]
    (tmp_path / "text.png").write_text("no image")
    empty = save(tmp_path / "empty.png", np.zeros((36, 48), np.uint8))
    changed = [
        replace(anomalous[0], mask=None),
        replace(anomalous[1], mask=empty),
        replace(anomalous[2], mask=tmp_path / "text.png"),
        *anomalous[3:],
    ]
    metrics, findings = judge_pixels(score_items(scorer, [*parts.test_good, *changed]), scorer.preprocessing)
    left, _ = judge_pixels(score_items(scorer, [*parts.test_good, *anomalous[3:]]), scorer.preprocessing)
    assert metrics.pixel_auroc == pytest.approx(left.pixel_auroc, abs=1e-3)
    (warning,) = findings.warnings()
    assert "judge 11 of 14" in warning
    assert "1 without a mask, 1 with an empty mask, 1 with a mask that cannot be read" in warning
    assert "text.png" in warning


def test_a_mask_of_another_size_gives_nearly_the_same_figures(parts, scorer, tmp_path):
    doubled = [
        replace(item, mask=save(tmp_path / f"{index}.png", np.kron(read_mask(item.mask), np.ones((2, 2))) > 0))
        if item.mask
        else item
        for index, item in enumerate(parts.test)
    ]
    same, _ = judge_pixels(score_items(scorer, parts.test), scorer.preprocessing)
    other, findings = judge_pixels(score_items(scorer, doubled), scorer.preprocessing)
    assert other == same
    assert findings.num_judged == 14


def test_without_any_mask_there_are_no_pixel_metrics(parts, scorer):
    items = [replace(item, mask=None) for item in parts.test]
    metrics, findings = judge_pixels(score_items(scorer, items), scorer.preprocessing)
    assert metrics is None
    assert findings.num_missing == 14
    assert judge_pixels(score_items(scorer, items, keep_maps=False), scorer.preprocessing)[0] is None


def test_regions_outside_of_a_crop_are_counted_and_said(make_scorer, tmp_path):
    pixels = np.full((20, 60), 90, np.uint8)
    mask = np.zeros((20, 60), np.uint8)
    mask[5:9, 2:6] = 255  # outside of the middle third, which is all that the model sees
    mask[5:9, 30:34] = 255
    items = [
        ImageItem("good", pixels),
        ImageItem("bad", np.maximum(pixels, mask), True, "dot", save(tmp_path / "mask.png", mask)),
    ]
    scorer = make_scorer(resize_rule="crop")
    metrics, findings = judge_pixels(score_items(scorer, items), scorer.preprocessing)
    assert metrics.num_regions == 1
    assert metrics.pixel_auroc > 0.95
    (warning,) = findings.warnings()
    assert warning.startswith("1 defect regions lie wholly outside")
