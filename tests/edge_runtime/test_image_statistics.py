from __future__ import annotations

import string
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.errors import MetadataError
from edge_runtime.image_figures import CELLS, WINDOWS, window_figures, window_groups
from edge_runtime.image_statistics import (
    CELL_RIDGE,
    LEAST_VARIANCE,
    MOST_MODES,
    PICTURES_A_MODE,
    POWERS,
    RIDGE,
    ImageStatistics,
    PlaceStatistics,
)
from edge_runtime.preprocessing import scale_pixels
from tests.edge_runtime.textures import textures_of


def grainy_images(count: int, seed: int, channels: int = 1) -> np.ndarray:
    """Grey images of fine noise, 64 x 64."""
    return np.random.default_rng(seed).integers(110, 146, (count, 64, 64, channels), np.uint8)


def statistics_of(images: np.ndarray) -> ImageStatistics:
    return ImageStatistics.of_images(images, textures_of(images))


def unusualness(statistics: ImageStatistics, images: np.ndarray) -> np.ndarray:
    """The largest window distance of each image."""
    return statistics.window_distances(scale_pixels(images)).max(axis=(1, 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_differs_from_the_good_images_is_unusual(channels: int) -> None:
    statistics = statistics_of(grainy_images(25, 0, channels))
    usual = unusualness(statistics, grainy_images(25, 1, channels))
    assert 0.5 < np.median(usual) < 16
    smooth, scratched, dark_corner = (grainy_images(5, 2, channels) for _ in range(3))
    smooth[:, 16:32, 16:32] = 128
    scratched[:, 20:44, 30] = 20
    dark_corner[:, :16, :16] -= 40
    for images in (smooth, scratched, dark_corner):
        assert unusualness(statistics, images).min() > 2 * usual.max()


def test_the_cells_say_where() -> None:
    statistics = statistics_of(grainy_images(25, 0))
    scratched = grainy_images(1, 2)
    scratched[:, 20:44, 30] = 20
    distances = statistics.cell_distances(textures_of(scratched))[0]
    assert distances.shape == (CELLS, CELLS)
    highest = np.argsort(distances, axis=None)[-6:]
    assert sorted(np.unravel_index(highest, distances.shape)[0]) == [5, 6, 7, 8, 9, 10]
    assert set(np.unravel_index(highest, distances.shape)[1]) == {7}


def test_what_all_places_have_in_common_is_not_unusual() -> None:
    def of_any_light(count: int, seed: int) -> np.ndarray:
        light = np.random.default_rng(seed + 100).integers(-60, 60, (count, 1, 1, 1))
        return (grainy_images(count, seed) + light).astype(np.uint8)

    statistics = statistics_of(of_any_light(60, 0))
    usual = unusualness(statistics, of_any_light(60, 1))
    half_dark = grainy_images(20, 2)
    half_dark[:, 32:] -= 40  # each half by itself is of a usual brightness
    assert unusualness(statistics, half_dark).min() > 2 * usual.max()
    assert len(statistics.windows.modes) == len(statistics.cells.modes) == 60 // PICTURES_A_MODE


def test_the_gaussians_are_those_of_the_remainders() -> None:
    rng = np.random.default_rng(0)
    common = rng.standard_normal((300, 1, 1, 1)) * rng.uniform(1, 2, (1, 2, 3, 4))
    figures = 5 + common + 0.1 * rng.standard_normal((300, 2, 3, 4))
    groups = (np.array([0, 1]), np.array([1, 2, 3]))
    statistics = PlaceStatistics.of_figures(figures, groups)
    assert len(statistics.modes) == MOST_MODES
    spread = figures.std(axis=0)
    np.testing.assert_allclose(statistics.mean, figures.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(statistics.spread, np.sqrt(spread**2 + LEAST_VARIANCE), rtol=1e-3)
    modes = statistics.modes.astype(float).reshape(MOST_MODES, -1)
    np.testing.assert_allclose(modes @ modes.T, np.eye(MOST_MODES), atol=2e-3)
    deviations = ((figures - statistics.mean) / statistics.spread).reshape(300, -1)
    assert np.square(deviations @ modes[0]).sum() > 0.95 * np.square(deviations).sum()
    remainders = (deviations - deviations @ modes.T @ modes).reshape(figures.shape) * statistics.spread
    part = remainders[:, 1, 2][:, groups[1]]
    covariance = np.cov(part.T, bias=True) + np.diag(RIDGE * spread[1, 2, groups[1]] ** 2 + LEAST_VARIANCE)
    factor = statistics.factors[1][1, 2].astype(float)
    np.testing.assert_allclose(np.linalg.inv(factor.T @ factor), covariance, rtol=5e-3, atol=1e-4)
    whitened = [statistics.factors[i][1, 2].astype(float) @ remainders[7, 1, 2, groups[i]] for i in (0, 1)]
    expected = sum(np.square(one).sum() for one in whitened) / 5
    assert statistics.distances(figures[7])[1, 2] == pytest.approx(expected)


def test_of_many_images_some_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    images = grainy_images(41, 0)
    monkeypatch.setattr("edge_runtime.image_statistics.MOST_PICTURES", 21)
    assert statistics_of(images) == statistics_of(images[::2])


def test_it_works_with_images_that_are_all_alike() -> None:
    for count in (3, 3 * PICTURES_A_MODE):
        same = np.full((count, 64, 64, 1), 90, np.uint8)
        statistics = statistics_of(same)
        assert unusualness(statistics, same).tolist() == [0] * count
        assert unusualness(statistics, same + 3).min() > 1


def test_a_background_that_never_changes_is_not_judged_by_a_grey_level() -> None:
    statistics = statistics_of(np.full((20, 64, 64, 1), 255, np.uint8))
    flickering = 255 - np.random.default_rng(0).integers(0, 2, (1, 64, 64, 1), np.uint8)
    stained = np.full((1, 64, 64, 1), 255, np.uint8)
    stained[0, 20:30, 20:30] = 200
    assert 5 * unusualness(statistics, flickering) < unusualness(statistics, stained)


@pytest.mark.parametrize("power", POWERS)
def test_the_distances_count_to_the_power(power: int) -> None:
    statistics = replace(statistics_of(grainy_images(25, 0)), power=power)
    images = grainy_images(3, 4)
    windows = statistics.window_distances(scale_pixels(images))
    cells = statistics.cell_distances(textures_of(images))
    assert windows.shape == (3, WINDOWS, WINDOWS)
    assert cells.shape == (3, CELLS, CELLS)
    np.testing.assert_allclose(statistics.score_factors(windows), windows.max(axis=(1, 2)) ** power, rtol=1e-14)
    of_windows, of_cells = statistics.map_factors(windows, cells)
    np.testing.assert_allclose(of_windows, windows ** (power / 2), rtol=1e-14)
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(np.log(cells), ((0, 0), (1, 1), (1, 1)), mode="edge"), (3, 3), axis=(1, 2)
    )
    expected = np.exp((around * weights).sum(axis=(3, 4)))
    np.testing.assert_allclose(of_cells, expected**power, rtol=1e-12)
    assert ImageStatistics.from_dict(statistics.to_dict()) == statistics


def test_an_image_does_not_depend_on_its_batch() -> None:
    statistics = statistics_of(grainy_images(42, 0))
    images = grainy_images(7, 3)
    together = unusualness(statistics, images)
    assert together.tolist() == [float(unusualness(statistics, image[np.newaxis])[0]) for image in images]


def test_they_survive_json_and_refuse_what_is_damaged() -> None:
    statistics = statistics_of(grainy_images(25, 0, 3))
    stored = statistics.to_dict()
    assert ImageStatistics.from_dict(stored) == statistics
    assert hash(ImageStatistics.from_dict(stored)) == hash(statistics)
    assert statistics != statistics_of(grainy_images(25, 1, 3))
    assert statistics.windows != "something else"
    windows = stored["windows"]
    for change in (
        {"mean": "not base64!"},
        {"mean": windows["mean"][:-8]},
        {"spread": windows["mean"]},
        {"figures": 66},
        {"figures": -16},
        {"figures": 10**9},
        {"num_modes": 2},
        {"num_modes": -1},
        {"spread": stored["windows"]["spread"].translate(str.maketrans(string.ascii_letters, 52 * "A"))},
        {"factors_0": windows["mean"]},
        {"factors_1": windows["factors_0"]},
    ):
        with pytest.raises(MetadataError, match="damaged"):
            ImageStatistics.from_dict({**stored, "windows": {**windows, **change}})
    with pytest.raises(MetadataError, match="power 3"):
        ImageStatistics.from_dict({**stored, "power": 3})
    figures = textures_of(grainy_images(5, 0)).astype(np.float64)
    with pytest.raises(MetadataError, match="damaged"):
        PlaceStatistics.of_figures(figures * np.nan, (np.arange(8),))
    with pytest.raises(MetadataError, match="damaged"):
        PlaceStatistics(window_groups(66), *statistics.cells._arrays[:3], statistics.cells.factors)


def test_the_figures_of_both_grids_are_used() -> None:
    images = grainy_images(25, 0)
    statistics = statistics_of(images)
    windows = np.stack([window_figures(image) for image in images])
    cells = textures_of(images).astype(np.float64)
    assert statistics.windows == PlaceStatistics.of_figures(windows, window_groups(66))
    assert statistics.cells == PlaceStatistics.of_figures(cells, (np.arange(8),), CELL_RIDGE)
