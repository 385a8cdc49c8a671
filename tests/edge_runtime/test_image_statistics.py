from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import MetadataError
from edge_runtime.image_statistics import GRID, ImageStatistics, image_figures
from edge_runtime.preprocessing import scale_pixels


def grainy_images(count: int, seed: int, channels: int = 1) -> np.ndarray:
    """Grey images of fine noise, 64 x 64."""
    return np.random.default_rng(seed).integers(110, 146, (count, 64, 64, channels), np.uint8)


def unusualness(statistics: ImageStatistics, images: np.ndarray) -> np.ndarray:
    return statistics.unusualness(scale_pixels(images))


def test_the_figures_are_those_computed_by_hand() -> None:
    image = np.zeros((32, 32, 1), np.uint8)
    image[:8, :8] = 16  # the first cell; beside it and below it a step of 16 at the border
    image[8:16, 8:16:2] = 81  # the cell at (1, 1): every second column, differences along the rows of 81
    figures = image_figures(image)
    assert figures.shape == (GRID, GRID, 14)
    # Mean; fourth root of the deviation, 0; along rows the mean of one step in 64 pixels' 8 rows, and the largest.
    np.testing.assert_allclose(figures[0, 0, :4], [16, 0, (16 * 8 / 64) ** 0.25, 2])
    np.testing.assert_allclose(figures[0, 0, 4:6], figures[0, 0, 2:4])  # the same along columns
    np.testing.assert_allclose(figures[1, 1, :4], [40.5, 40.5**0.25, (81 * 63 / 64 + 81 / 64 - 81 * 8 / 64) ** 0.25, 3])
    # Halved, the stripes are gone: what is left are the steps to the cells beside.
    np.testing.assert_allclose(figures[1, 1, 7], 40.5**0.25)
    assert not figures[3, 3].any()


def test_colour_adds_how_far_its_channels_are_from_the_brightness() -> None:
    grey = grainy_images(1, 0)[0]
    coloured = np.concatenate([grey + 30, grey, grey - 30], axis=2)
    figures = image_figures(coloured)
    assert figures.shape == (GRID, GRID, 16)
    np.testing.assert_allclose(figures[..., 14], 30)
    np.testing.assert_allclose(figures[..., 15], -30)
    np.testing.assert_allclose(figures[..., :14], image_figures(grey))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_differs_from_the_good_images_is_unusual(channels: int) -> None:
    statistics = ImageStatistics.of_images(grainy_images(25, 0, channels))
    usual = unusualness(statistics, grainy_images(25, 1, channels))
    assert 0.5 < np.median(usual) < 2
    smooth, scratched, dark_corner = (grainy_images(5, 2, channels) for _ in range(3))
    smooth[:, 16:32, 16:32] = 128
    scratched[:, 20:44, 30] = 20
    dark_corner[:, :16, :16] -= 40
    for images in (smooth, scratched, dark_corner):
        assert unusualness(statistics, images).min() > 2 * usual.max()


def test_it_works_with_images_that_are_all_alike() -> None:
    same = np.full((3, 64, 64, 1), 90, np.uint8)
    statistics = ImageStatistics.of_images(same)
    assert unusualness(statistics, same).tolist() == [0, 0, 0]
    assert unusualness(statistics, same + 3).min() > 1


def test_an_image_does_not_depend_on_its_batch() -> None:
    statistics = ImageStatistics.of_images(grainy_images(12, 0))
    images = grainy_images(7, 3)
    together = unusualness(statistics, images)
    assert together.tolist() == [float(unusualness(statistics, image[np.newaxis])[0]) for image in images]


def test_they_survive_json_and_refuse_what_is_damaged() -> None:
    statistics = ImageStatistics.of_images(grainy_images(5, 0, 3))
    stored = statistics.to_dict()
    assert ImageStatistics.from_dict(stored) == statistics
    assert hash(ImageStatistics.from_dict(stored)) == hash(statistics)
    assert statistics != ImageStatistics.of_images(grainy_images(5, 1, 3))
    assert statistics != "something else"
    for change in (
        {"mean": "not base64!"},
        {"mean": stored["mean"][:-8]},
        {"figures": 14},
        {"figures": -16},
        {"precision": stored["mean"]},
    ):
        with pytest.raises(MetadataError, match="damaged"):
            ImageStatistics.from_dict({**stored, **change})
    with pytest.raises(MetadataError, match="damaged"):
        ImageStatistics(np.full_like(statistics.mean, np.nan), statistics.precision)
