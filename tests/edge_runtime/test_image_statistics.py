from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import MetadataError
from edge_runtime.image_statistics import SHRINKAGE, WINDOWS, ImageStatistics, image_figures
from edge_runtime.preprocessing import scale_pixels


def grainy_images(count: int, seed: int, channels: int = 1) -> np.ndarray:
    """Grey images of fine noise, 64 x 64."""
    return np.random.default_rng(seed).integers(110, 146, (count, 64, 64, channels), np.uint8)


def unusualness(statistics: ImageStatistics, images: np.ndarray) -> np.ndarray:
    return statistics.unusualness(scale_pixels(images)).reshape(len(images), -1).max(axis=1)


def test_the_figures_of_stripes_are_those_computed_by_hand() -> None:
    image = np.zeros((32, 32, 1), np.uint8)
    image[:, 1::2] = 80
    figures = image_figures(image)
    assert figures.shape == (WINDOWS, WINDOWS, 66)
    inside = figures[2:-2, 2:-2]  # away from the border, which is repeated
    assert inside.min(axis=(0, 1)).tolist() == inside.max(axis=(0, 1)).tolist()  # all windows alike
    mean, deviation, wide, narrow = np.split(inside[0, 0], [1, 2, 50])
    assert mean.item() == 40 / 16
    assert deviation.item() == pytest.approx(41**0.25)
    # Constant down the rows, along them the even polynomials: 80 * (2 - 2 + 2) and 80 * (1 + 6 + 1).
    expected = np.ones(24)
    expected[1] = np.sqrt(np.sqrt(1 + 80 * 2 * 5 / (14 * 5) ** 0.5))
    expected[3] = np.sqrt(np.sqrt(1 + 80 * 8 * 5 / (70 * 5) ** 0.5))
    np.testing.assert_allclose(wide, [*expected, *expected])
    expected = np.ones(8)
    expected[1] = np.sqrt(np.sqrt(1 + 80 * 2 * 3 / (6 * 3) ** 0.5))
    np.testing.assert_allclose(narrow, [*expected, *expected])


def test_the_largest_answer_stands_beside_the_mean() -> None:
    image = np.full((32, 32, 1), 100, np.uint8)
    image[13, 13] = 140  # seen by four windows of 8 x 8 pixels
    figures = image_figures(image)
    means, largest = figures[..., 50:58], figures[..., 58:]
    slope_along_rows = 40 * 1 / (2 * 3) ** 0.5  # at six of the pixels around
    assert largest[2, 2, 0] == pytest.approx((1 + slope_along_rows) ** 0.25)
    assert means[2, 2, 0] == pytest.approx((1 + 6 * slope_along_rows / 64) ** 0.25)
    assert (largest[4:, 4:] == 1).all()


def test_large_pictures_are_looked_at_in_less_detail() -> None:
    small = grainy_images(1, 0)[0]
    for times in (2, 4):
        np.testing.assert_allclose(image_figures(small.repeat(times, 0).repeat(times, 1)), image_figures(small))
    assert image_figures(np.zeros((96, 160, 1), np.uint8)).shape == (WINDOWS, WINDOWS, 66)


def test_colour_adds_how_far_its_channels_are_from_the_brightness() -> None:
    grey = grainy_images(1, 0)[0]
    coloured = np.concatenate([grey + 32, grey, grey - 32], axis=2)
    figures = image_figures(coloured)
    assert figures.shape == (WINDOWS, WINDOWS, 68)
    np.testing.assert_allclose(figures[..., 2], 2)
    np.testing.assert_allclose(figures[..., 3], -2)
    np.testing.assert_allclose(figures[..., [0, 1, *range(4, 68)]], image_figures(grey))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_differs_from_the_good_images_is_unusual(channels: int) -> None:
    statistics = ImageStatistics.of_images(grainy_images(25, 0, channels))
    usual = unusualness(statistics, grainy_images(25, 1, channels))
    assert 0.5 < np.median(usual) < 16
    smooth, scratched, dark_corner = (grainy_images(5, 2, channels) for _ in range(3))
    smooth[:, 16:32, 16:32] = 128
    scratched[:, 20:44, 30] = 20
    dark_corner[:, :16, :16] -= 40
    for images in (smooth, scratched, dark_corner):
        assert unusualness(statistics, images).min() > 2 * usual.max()


def test_the_gaussians_are_those_of_all_images_together() -> None:
    images = grainy_images(150, 0)  # more than are measured at once
    statistics = ImageStatistics.of_images(images)
    figures = np.stack([image_figures(image) for image in images])
    np.testing.assert_allclose(statistics.mean, figures.mean(axis=0), rtol=1e-6)
    narrow = figures[:, 3, 3, [0, 1, *range(50, 66)]]
    covariance = np.cov(narrow.T, bias=True)
    covariance += np.diag(1e-3 + 0 * np.diag(covariance)) - SHRINKAGE * (covariance - np.diag(np.diag(covariance)))
    factor = statistics.factors[1][3, 3].astype(float)
    np.testing.assert_allclose(np.linalg.inv(factor.T @ factor), covariance, rtol=1e-3, atol=1e-6)


def test_it_works_with_images_that_are_all_alike() -> None:
    same = np.full((3, 64, 64, 1), 90, np.uint8)
    statistics = ImageStatistics.of_images(same)
    assert unusualness(statistics, same).tolist() == [0, 0, 0]
    assert unusualness(statistics, same + 3).min() > 1


def test_a_background_that_never_changes_is_not_judged_by_a_grey_level() -> None:
    statistics = ImageStatistics.of_images(np.full((20, 64, 64, 1), 255, np.uint8))
    flickering = 255 - np.random.default_rng(0).integers(0, 2, (1, 64, 64, 1), np.uint8)
    stained = np.full((1, 64, 64, 1), 255, np.uint8)
    stained[0, 20:30, 20:30] = 200
    assert 100 * unusualness(statistics, flickering) < unusualness(statistics, stained)


def test_a_window_is_as_unusual_as_its_distance_cubed() -> None:
    statistics = ImageStatistics.of_images(grainy_images(25, 0))
    images = scale_pixels(grainy_images(3, 4))
    distances = statistics.distances(images)
    assert distances.shape == (3, WINDOWS, WINDOWS)
    np.testing.assert_allclose(statistics.unusualness(images), distances**3, rtol=1e-14)


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
        {"figures": 66},
        {"figures": -16},
        {"figures": 10**9},
        {"factors_5": stored["mean"]},
        {"factors_3": stored["factors_5"]},
    ):
        with pytest.raises(MetadataError, match="damaged"):
            ImageStatistics.from_dict({**stored, **change})
    with pytest.raises(MetadataError, match="damaged"):
        ImageStatistics(np.full_like(statistics.mean, np.nan), statistics.factors)
