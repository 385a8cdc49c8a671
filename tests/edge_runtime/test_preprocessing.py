from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_runtime.errors import MetadataError
from edge_runtime.preprocessing import Preprocessing, prepare_image, scale_pixels, unscale_pixels

RULES = ["stretch", "letterbox", "crop"]
# Three vertical bands: a quarter black, a half grey, a quarter white; 40 wide, 20 high.
BANDS = np.repeat(np.array([[0] * 10 + [128] * 20 + [255] * 10], np.uint8), 20, axis=0)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (7, 200), (200, 7), (32, 32), (64, 32, 3), (5, 9, 4)])
def test_any_picture_becomes_the_models_shape(rule: str, channels: int, shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    pixels = prepare_image(picture, Preprocessing(32, 48, channels, rule))
    assert pixels.shape == (32, 48, channels)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("rule", RULES)
def test_one_pixel_becomes_a_plain_surface(rule: str) -> None:
    assert (prepare_image(np.full((1, 1), 99, np.uint8), Preprocessing(8, 8, 1, rule)) == 99).all()


def test_stretch_takes_all_of_the_picture() -> None:
    pixels = prepare_image(BANDS, Preprocessing(8, 8, 1, "stretch"))[:, :, 0]
    assert (pixels[:, 0] < 20).all()
    assert (np.abs(pixels[:, 3:5].astype(int) - 128) < 3).all()
    assert (pixels[:, -1] > 235).all()


def test_crop_takes_the_middle_of_the_picture() -> None:
    pixels = prepare_image(BANDS, Preprocessing(8, 8, 1, "crop"))[:, :, 0].astype(int)
    assert (pixels[:, 1:-1] == 128).all()
    assert (np.abs(pixels - 128) <= 16).all()  # the antialiasing filter reaches a little over the edge


def test_letterbox_keeps_the_aspect_ratio_and_goes_on_from_the_edge() -> None:
    picture = np.repeat(np.array([[10] * 10 + [200] * 10], np.uint8).T, 40, axis=1)  # dark above, bright below
    pixels = prepare_image(picture, Preprocessing(16, 16, 1, "letterbox"))[:, :, 0]
    assert (pixels[:6] == 10).all()
    assert (pixels[10:] == 200).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_letterbox_border_has_no_streaks_and_fades_into_the_mean_of_the_edge(channels: int) -> None:
    picture = np.full((64, 128, 3), 100, np.uint8)
    picture[:, 30] = 255  # one bright line up to the edges, in which repeated pixels would be a streak
    picture[:, 64:] = 160
    rule = Preprocessing(128, 128, channels, "letterbox")
    pixels = prepare_image(picture, rule).astype(int)
    border = np.concatenate([pixels[:32], pixels[96:][::-1]], axis=1)  # from the outermost row inwards
    assert np.abs(np.diff(border, axis=1)[:, :127]).max() <= 12
    assert border[0].std() == 0
    assert abs(border[0].mean() - 131) <= 2
    assert border[-1, 20:40].mean() < border[-1, 100:120].mean() - 30
    turned = prepare_image(picture.swapaxes(0, 1), rule)
    np.testing.assert_array_equal(turned.swapaxes(0, 1), pixels)
    assert turned.flags.c_contiguous


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for rule in RULES:
        np.testing.assert_array_equal(prepare_image(picture, Preprocessing(32, 32, 3, rule)), picture)


def test_scaling_down_averages_so_that_a_thin_scratch_is_not_lost() -> None:
    picture = np.full((320, 320), 128, np.uint8)
    picture[:, 163] = 255
    pixels = prepare_image(picture, Preprocessing(32, 32, 1))[:, :, 0].astype(int)
    assert pixels.max() > 132
    # A tenth of the pixel's width carries 127 more: the sum over a row is kept but for rounding.
    assert abs((pixels[5] - 128).sum() - 12.7) < 2


def test_grey_and_colour_are_converted_both_ways() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)
    as_colour = prepare_image(grey, Preprocessing(16, 16, 3))
    np.testing.assert_array_equal(as_colour, np.repeat(prepare_image(grey, Preprocessing(16, 16, 1)), 3, axis=2))
    red = np.zeros((20, 20, 3), np.uint8)
    red[:, :, 0] = 255
    assert (prepare_image(red, Preprocessing(16, 16, 1)) == 76).all()  # 0.299 * 255


def test_a_path_a_pillow_image_and_an_array_give_equal_pixels(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    preprocessing = Preprocessing(32, 32, 1, "crop")
    from_array = prepare_image(picture, preprocessing)
    np.testing.assert_array_equal(prepare_image(path, preprocessing), from_array)
    np.testing.assert_array_equal(prepare_image(Image.fromarray(picture), preprocessing), from_array)


def test_pixels_are_scaled_to_minus_one_and_one_and_back() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    scaled = scale_pixels(pixels)
    assert scaled.dtype == np.float32
    assert scaled.min() == -1
    assert scaled.max() == 1
    np.testing.assert_array_equal(unscale_pixels(scaled), pixels)
    np.testing.assert_array_equal(unscale_pixels(np.array([-1.5, 1.5], np.float32)), [0, 255])
    with pytest.raises(ValueError, match="uint8"):
        scale_pixels(scaled)


@pytest.mark.parametrize("rule", RULES)
def test_the_settings_survive_json(rule: str) -> None:
    preprocessing = Preprocessing(64, 128, 3, rule)
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 0}, "0 x 32"),
        ({"height": "32"}, "field 'height' of the stored preprocessing is '32'; a whole number was expected"),
        ({"height": True}, "whole number"),
        ({"channels": 2}, "1 \\(grey\\) or 3"),
        ({"resize_rule": "tile"}, "'tile'; one of stretch, letterbox, crop"),
        ({"pixel_range": [0, 1]}, "pixel range"),
        ({"pixel_range": ["a"]}, "finite number"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, object], words: str) -> None:
    stored = {**Preprocessing(32, 32, 1).to_dict(), **change}
    with pytest.raises(MetadataError, match=words):
        Preprocessing.from_dict(stored)


def test_missing_settings_are_refused() -> None:
    with pytest.raises(MetadataError, match="no field 'height'"):
        Preprocessing.from_dict({})
    with pytest.raises(MetadataError, match="JSON object"):
        Preprocessing.from_dict([])  # type: ignore[arg-type]


@given(width=st.integers(1, 5000), height=st.integers(1, 5000), rule=st.sampled_from(RULES), model=st.integers(8, 256))
def test_the_source_window_has_the_models_shape_and_the_pictures_centre(
    width: int, height: int, rule: str, model: int
) -> None:
    preprocessing = Preprocessing(model, 2 * model, 1, rule)
    left, top, right, bottom = preprocessing.source_window(width, height)
    assert (left + right) / 2 == pytest.approx(width / 2)
    assert (top + bottom) / 2 == pytest.approx(height / 2)
    if rule == "stretch":
        assert (left, top, right, bottom) == (0, 0, width, height)
    else:
        assert (right - left) / (bottom - top) == pytest.approx(2)
        inside = left >= -1e-6 and top >= -1e-6
        around = left <= 1e-6 and top <= 1e-6
        assert inside if rule == "crop" else around


def test_the_picture_part_leaves_out_the_letterbox_border() -> None:
    assert Preprocessing(32, 32, 1, "letterbox").picture_part(100, 50) == (slice(8, 24), slice(0, 32))
    assert Preprocessing(32, 32, 1, "stretch").picture_part(100, 50) == (slice(0, 32), slice(0, 32))
    assert Preprocessing(32, 32, 1, "crop").picture_part(100, 50) == (slice(0, 32), slice(0, 32))


def with_contrast(pixels: np.ndarray, rule: str = "fitted") -> np.ndarray:
    height, width, channels = pixels.shape
    return prepare_image(pixels, Preprocessing(height, width, channels, contrast_rule=rule))


@pytest.mark.parametrize("rule", ["fitted", "normalised"])
def test_adjusted_contrast_does_not_depend_on_lamp_and_exposure(rule: str) -> None:
    scene = np.random.default_rng(0).normal(0, 1, (64, 64, 1))
    bright, dark = (np.clip(level + spread * scene, 0, 255).astype(np.uint8) for level, spread in ((150, 24), (60, 12)))
    ours, theirs = with_contrast(bright, rule).astype(int), with_contrast(dark, rule).astype(int)
    assert ours.mean() == pytest.approx(127.5, abs=2)
    assert ours.std() == pytest.approx(51, abs=2)
    assert np.abs(ours - theirs).mean() < 4  # what rounding to grey levels loses


def test_a_faint_picture_is_not_stretched_to_noise() -> None:
    faint = (100 + np.random.default_rng(0).integers(0, 2, (32, 32, 1))).astype(np.uint8)
    assert with_contrast(faint).std() == pytest.approx(51 * 0.5 / 8, rel=0.2)
    assert set(np.unique(with_contrast(np.full((32, 32, 1), 7, np.uint8)))) <= {127, 128}


def test_what_is_on_a_small_bright_part_stays_visible() -> None:
    bar = np.full((64, 64, 1), 15, np.uint8)
    bar[30:34, 8:56] = 190  # a twentieth of the picture
    dented = bar.copy()
    dented[30:34, 30:34] = 130
    assert (with_contrast(bar) == with_contrast(dented)).mean() < 1
    difference = with_contrast(bar)[32, 32].astype(int) - with_contrast(dented)[32, 32]
    assert difference > 25
    assert with_contrast(bar, "normalised")[32, 32] == with_contrast(dented, "normalised")[32, 32] == 255


@pytest.mark.parametrize("shape", [(16, 128), (128, 16)])
def test_a_letterbox_border_does_not_count_for_the_contrast(shape: tuple[int, int]) -> None:
    strip = np.random.default_rng(0).normal(120, 20, shape).clip(0, 255).astype(np.uint8)
    preprocessing = Preprocessing(128, 128, 1, "letterbox", "fitted")
    shown = prepare_image(strip, preprocessing)[preprocessing.picture_part(shape[1], shape[0])]
    assert shown.std() == pytest.approx(51, abs=2)
    assert shown.mean() == pytest.approx(127.5, abs=2)


def test_colours_keep_their_relation() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[..., 0], picture[:16, :, 1] = 90, 120
    result = with_contrast(picture)
    assert (result[..., 0] > result[..., 2]).all()
    assert (result[:16, :, 1] > result[:16, :, 0]).all()


def test_the_contrast_rule_survives_json_and_older_files_have_none() -> None:
    rule = Preprocessing(64, 32, 1, "letterbox", "fitted")
    assert Preprocessing.from_dict(rule.to_dict()) == rule
    older = {name: value for name, value in rule.to_dict().items() if name != "contrast_rule"}
    assert Preprocessing.from_dict(older).contrast_rule == "as_is"
    with pytest.raises(MetadataError, match="contrast rule"):
        Preprocessing(64, 32, 1, "letterbox", "vivid")
