import numpy as np
import pytest

from edge_runtime.preprocessing import Preprocessing, prepare_image
from tfganomaly.evaluation.projection import to_picture


def test_a_map_of_the_pictures_size_is_not_changed():
    values = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    back = to_picture(values, Preprocessing(8, 8, 1, "stretch"), (8, 8), (8, 8))
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("resize_rule", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("image_size", [(120, 60), (50, 130), (31, 31)])
def test_a_picture_comes_back_to_where_it_was(resize_rule, image_size):
    # A smooth picture survives the way to the model and back, so any shift or wrong scale would show.
    width, height = image_size
    rows, columns = np.mgrid[:height, :width]
    picture = (60 + 130 * rows / height + 60 * columns / width).astype(np.uint8)
    preprocessing = Preprocessing(32, 32, 1, resize_rule)
    values = prepare_image(picture, preprocessing)[:, :, 0].astype(np.float32)
    back = to_picture(values, preprocessing, image_size, image_size)
    assert back.shape == picture.shape
    seen = ~np.isnan(back)
    difference = np.abs(back - picture)
    if resize_rule == "letterbox":  # its outermost pixels are interpolated with the border
        pixel = -(-max(image_size) // 32)
        difference[:pixel] = difference[-pixel:] = difference[:, :pixel] = difference[:, -pixel:] = 0
    assert difference[seen].max() < 8  # half a model pixel of the slope at the border
    assert difference[seen].mean() < 2
    seen_share = min(image_size) / max(image_size) if resize_rule == "crop" else 1.0
    assert seen.mean() == pytest.approx(seen_share, abs=0.02)


def test_crop_hides_the_sides_of_a_wide_picture():
    back = to_picture(np.ones((8, 8)), Preprocessing(8, 8, 1, "crop"), (40, 20), (40, 20))
    np.testing.assert_array_equal(np.isnan(back).all(axis=0), [*[True] * 10, *[False] * 20, *[True] * 10])


@pytest.mark.parametrize("image_size", [(1, 3000), (3000, 1), (1, 1)])
def test_extreme_shapes_keep_at_least_one_pixel(image_size):
    for resize_rule in ("stretch", "letterbox", "crop"):
        preprocessing = Preprocessing(32, 32, 1, resize_rule)
        rows, columns = preprocessing.picture_part(*image_size)
        assert np.ones((32, 32))[rows, columns].size >= 1
        back = to_picture(np.ones((32, 32)), preprocessing, image_size, image_size)
        assert np.nanmax(back) == 1.0
