from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import MetadataError
from edge_runtime.image_figures import WINDOWS
from edge_runtime.image_statistics import ImageStatistics
from edge_runtime.preprocessing import scale_pixels
from edge_runtime.scoring import (
    ModelOutputs,
    ScoreRule,
    anomaly_maps,
    anomaly_scores,
    latent_distances,
    score_components,
    window_distances,
)
from tests.edge_runtime.textures import textures_of


def random_batch(
    count: int, size: int = 32, channels: int = 1, windows: int = 1, latent_size: int = 100
) -> tuple[np.ndarray, ModelOutputs]:
    random = np.random.default_rng(count)
    latent, reconstructed = random.normal(size=(2, count, windows, windows, latent_size)).astype(np.float32)
    inputs, reconstruction = random.uniform(-1, 1, (2, count, size, size, channels)).astype(np.float32)
    return inputs, ModelOutputs(latent, reconstructed, reconstruction)


def test_the_components_are_those_computed_by_hand() -> None:
    inputs = np.array([[[[0.5], [-0.5]], [[1.0], [0.0]]]], np.float32)
    outputs = ModelOutputs(
        latent=np.array([[[[1.0, 2.0], [0.0, 0.0]]]], np.float32),
        reconstructed_latent=np.array([[[[1.0, 4.0], [3.0, 1.0]]]], np.float32),
        reconstruction=np.array([[[[0.5], [0.5]], [[0.0], [0.0]]]], np.float32),
    )
    # The windows' distances: mean(0, 4) = 2 and mean(9, 1) = 5; in L1 mean(0, 2) = 1 and mean(3, 1) = 2.
    np.testing.assert_array_equal(latent_distances(outputs), [[[2.0, 5.0]]])
    means = score_components(ScoreRule(), inputs, outputs)
    assert {name: values.tolist() for name, values in means.items()} == {
        "latent_l2": [3.5],
        "latent_l1": [1.5],
        "reconstruction_l1": [0.5],
        "relative_latent_l2": [pytest.approx(3.5 / 0.5**0.5)],
    }
    highest = score_components(ScoreRule(pooling="max"), inputs, outputs)
    assert highest["latent_l2"].tolist() == [5.0]
    assert highest["latent_l1"].tolist() == [2.0]
    assert all(values.dtype == np.float32 for values in means.values())
    rule = ScoreRule({"latent_l2": 2.0, "reconstruction_l1": 10.0})
    assert anomaly_scores(rule, inputs, outputs).tolist() == [12.0]


def test_the_discriminators_distance_joins_in_where_there_is_one() -> None:
    inputs, blind = random_batch(5)
    with_discriminator = replace(blind, feature_distance=np.arange(5, dtype=np.float32))
    values = score_components(ScoreRule(), inputs, with_discriminator)
    assert values["feature_l2"].tolist() == [0, 1, 2, 3, 4]
    expected = values["latent_l2"] + 50 * values["reconstruction_l1"] + values["feature_l2"]
    np.testing.assert_allclose(values["weighted_sum"], expected, rtol=1e-6)
    rule = ScoreRule({"feature_l2": 2.0})
    assert rule.needs_discriminator
    assert not ScoreRule({"feature_l2": 0.0, "latent_l1": 1.0}).needs_discriminator
    assert anomaly_scores(rule, inputs, with_discriminator).tolist() == [0, 2, 4, 6, 8]
    assert not {"feature_l2", "weighted_sum"} & set(score_components(ScoreRule(), inputs, blind))
    with pytest.raises(ValueError, match="discriminator"):
        anomaly_scores(rule, inputs, blind)
    both = ModelOutputs.concatenate([with_discriminator, with_discriminator])
    assert both.feature_distance is not None
    assert both.feature_distance.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("windows", [1, 13])
@pytest.mark.parametrize("channels", [1, 3])
def test_scores_and_maps_of_one_image_do_not_depend_on_its_batch(windows: int, channels: int) -> None:
    inputs, outputs = random_batch(37, channels=channels, windows=windows)
    assert outputs.reconstruction is not None
    for map_source in ("reconstruction", "latent"):
        rule = ScoreRule({"latent_l2": 1.0, "latent_l1": 0.3, "reconstruction_l1": 0.7}, map_source=map_source)
        scores, maps = anomaly_scores(rule, inputs, outputs), anomaly_maps(rule, inputs, outputs)
        assert scores.dtype == maps.dtype == np.float32
        for index in range(37):
            alone = slice(index, index + 1)
            own = ModelOutputs(
                outputs.latent[alone], outputs.reconstructed_latent[alone], outputs.reconstruction[alone]
            )
            assert anomaly_scores(rule, inputs[alone], own)[0] == scores[index]
            np.testing.assert_array_equal(anomaly_maps(rule, inputs[alone], own)[0], maps[index])


def test_the_reconstruction_map_is_high_where_the_pixels_differ_and_keeps_their_sum() -> None:
    inputs = np.zeros((1, 32, 32, 3), np.float32)
    reconstruction = inputs.copy()
    reconstruction[0, 10, 20] = [0.9, 0.0, 0.0]
    latent = np.zeros((1, 1, 1, 4), np.float32)
    anomaly_map = anomaly_maps(ScoreRule(), inputs, ModelOutputs(latent, latent, reconstruction))[0]
    assert np.unravel_index(anomaly_map.argmax(), anomaly_map.shape) == (10, 20)
    assert anomaly_map[10, 20] == pytest.approx(0.3 * 36 / 256)  # the mean over channels times the filter's middle
    assert anomaly_map.sum() == pytest.approx(0.3, rel=1e-5)
    assert anomaly_map[13, 20] == 0


def test_a_plain_difference_stays_plain_up_to_the_border() -> None:
    inputs, latent = np.zeros((2, 9, 7, 1), np.float32), np.zeros((2, 1, 1, 4), np.float32)
    maps = anomaly_maps(ScoreRule(), inputs, ModelOutputs(latent, latent, inputs + np.float32(0.25)))
    assert maps.shape == (2, 9, 7)
    np.testing.assert_allclose(maps, 0.25, rtol=1e-6)


def test_the_latent_map_places_windows_where_they_look() -> None:
    # 128 pixels and 16 windows: they stand side by side, 8 pixels each.
    inputs = np.zeros((1, 128, 128, 1), np.float32)
    latent = np.zeros((1, 16, 16, 4), np.float32)
    reconstructed = latent.copy()
    reconstructed[0, 2, 7] = 1.0
    rule = ScoreRule(map_source="latent", pooling="max")
    outputs = ModelOutputs(latent, reconstructed)
    anomaly_map = anomaly_maps(rule, inputs, outputs)[0]
    assert anomaly_map.shape == (128, 128)
    rows, columns = np.nonzero(anomaly_map == anomaly_map.max())
    assert (rows + 0.5).mean() == pytest.approx(2 * 8 + 4)
    assert (columns + 0.5).mean() == pytest.approx(7 * 8 + 4)
    assert anomaly_scores(rule, inputs, outputs).tolist() == [1.0]
    assert anomaly_map.max() <= 1


def test_top_pooling_is_the_mean_of_the_largest_hundredth_of_the_windows() -> None:
    inputs = np.zeros((1, 160, 160, 1), np.float32)
    latent = np.zeros((1, 20, 20, 2), np.float32)
    latent[0].reshape(400, 2)[[7, 60, 130, 399, 200]] = [[1], [2], [3], [4], [0.5]]
    outputs = ModelOutputs(latent, np.zeros_like(latent))
    assert anomaly_scores(ScoreRule(pooling="top"), inputs, outputs).tolist() == [(1 + 4 + 9 + 16) / 4]
    few = ModelOutputs(latent[:, :3, :3], np.zeros((1, 3, 3, 2), np.float32))  # of nine windows one
    assert anomaly_scores(ScoreRule(pooling="top"), inputs, few).tolist() == [0.0]
    rounded = ModelOutputs(latent[:, 3:19, :16], np.zeros((1, 16, 16, 2), np.float32))  # 2.56 of 256 windows: three
    assert anomaly_scores(ScoreRule(pooling="top"), inputs, rounded) == pytest.approx([(4 + 9 + 0.25) / 3])


def test_one_window_gives_a_plain_latent_map() -> None:
    inputs, outputs = random_batch(2)
    maps = anomaly_maps(ScoreRule(map_source="latent"), inputs, outputs)
    expected = anomaly_scores(ScoreRule(), inputs, outputs)
    np.testing.assert_allclose(maps, np.broadcast_to(expected[:, None, None], maps.shape), rtol=1e-6)


def test_a_rule_that_needs_the_reconstruction_says_so() -> None:
    inputs, outputs = random_batch(1)
    blind = ModelOutputs(outputs.latent, outputs.reconstructed_latent)
    assert set(score_components(ScoreRule(), inputs, blind)) == {"latent_l2", "latent_l1"}
    with pytest.raises(ValueError, match="needs the reconstruction"):
        anomaly_scores(ScoreRule({"reconstruction_l1": 1.0}), inputs, blind)
    with pytest.raises(ValueError, match="needs the reconstruction"):
        anomaly_maps(ScoreRule(), inputs, blind)
    with pytest.raises(ValueError, match="needs the reconstruction"):
        anomaly_maps(ScoreRule({"relative_latent_l2": 1.0}, map_source="latent"), inputs, blind)
    assert ScoreRule().needs_reconstruction
    assert not ScoreRule(map_source="latent").needs_reconstruction
    for name in ("reconstruction_l1", "relative_latent_l2"):
        assert ScoreRule({"latent_l2": 1, name: 1}, map_source="latent").needs_reconstruction


@pytest.mark.parametrize(("error", "difficulty"), [(0.04, 0.04), (1e-6, 1 / 255), (0.0, 1 / 255)])
def test_relative_scores_and_maps_count_by_the_difficulty_but_none_below_half_a_grey_level(
    error: float, difficulty: float
) -> None:
    inputs, latent = np.zeros((1, 8, 8, 1), np.float32), np.ones((1, 2, 2, 4), np.float32)
    latent[0, 0, 0] = 3
    outputs = ModelOutputs(latent, 0 * latent, inputs + np.float32(error))
    rule = ScoreRule({"relative_latent_l2": 1.0}, "max", "latent")
    assert anomaly_scores(rule, inputs, outputs) == pytest.approx([9 / difficulty**0.5])
    plain = anomaly_maps(replace(rule, components={"latent_l2": 1.0}), inputs, outputs)
    assert plain.max() == 9
    np.testing.assert_allclose(anomaly_maps(rule, inputs, outputs), plain / difficulty, rtol=1e-5)
    pixels = replace(rule, map_source="reconstruction")
    assert anomaly_maps(pixels, inputs, outputs).max() == pytest.approx(error)


def test_outputs_of_unequal_shape_are_refused() -> None:
    latent = np.zeros((1, 1, 1, 4), np.float32)
    with pytest.raises(ValueError, match="the same"):
        ModelOutputs(latent, latent[..., :2])
    with pytest.raises(ValueError, match="the same"):
        ModelOutputs(latent[0], latent[0])


def test_batches_are_joined_in_order() -> None:
    _, first = random_batch(2)
    _, second = random_batch(3)
    joined = ModelOutputs.concatenate([first, second])
    assert joined.latent.shape[0] == 5
    assert joined.reconstruction is not None
    assert second.reconstruction is not None
    np.testing.assert_array_equal(joined.reconstruction[2:], second.reconstruction)
    without = ModelOutputs(first.latent, first.reconstructed_latent)
    assert ModelOutputs.concatenate([without, without]).reconstruction is None


def test_the_rule_survives_json() -> None:
    rule = ScoreRule({"latent_l2": 0.9, "reconstruction_l1": 0.1}, "max", "latent")
    assert ScoreRule.from_dict(rule.to_dict()) == rule
    stored = rule.to_dict()
    del stored["statistics"]  # as files of format 2 have it
    assert ScoreRule.from_dict(stored) == rule


def test_the_score_is_the_geometric_mean_of_sum_and_statistics() -> None:
    inputs, outputs = random_batch(6)
    good = np.random.default_rng(1).integers(0, 256, (9, 32, 32, 1), np.uint8)
    statistics = ImageStatistics.of_images(good, textures_of(good))
    plain = ScoreRule({"latent_l2": 1.0, "latent_l1": 0.5})
    rule = replace(plain, statistics=statistics)
    inputs = scale_pixels(np.rint((inputs + 1) * 127.5).astype(np.uint8))
    factor = score_components(rule, inputs, outputs)["image_statistics"]
    np.testing.assert_array_equal(
        factor, statistics.score_factors(statistics.window_distances(inputs)).astype(np.float32)
    )
    np.testing.assert_allclose(
        anomaly_scores(rule, inputs, outputs), np.sqrt(anomaly_scores(plain, inputs, outputs) * factor), rtol=1e-6
    )
    windows = window_distances(rule, inputs)
    np.testing.assert_array_equal(anomaly_scores(rule, inputs, outputs, windows), anomaly_scores(rule, inputs, outputs))
    np.testing.assert_array_equal(score_components(rule, inputs, outputs, windows)["image_statistics"], factor)
    assert window_distances(plain, inputs) is None
    assert rule.formula == "√((latent_l2 + 0.5 latent_l1) × image_statistics)"
    assert ScoreRule(statistics=statistics).formula == "√(latent_l2 × image_statistics)"
    assert ScoreRule.from_dict(rule.to_dict()) == rule
    alone = [
        anomaly_scores(
            rule,
            inputs[i : i + 1],
            ModelOutputs(*(part[i : i + 1] for part in (outputs.latent, outputs.reconstructed_latent))),
        )[0]
        for i in range(6)
    ]
    assert alone == anomaly_scores(rule, inputs, outputs).tolist()


def test_the_map_is_the_geometric_mean_of_latents_and_statistics() -> None:
    good = np.random.default_rng(1).integers(100, 156, (30, 32, 32, 1), np.uint8)
    rule = ScoreRule(map_source="latent", statistics=ImageStatistics.of_images(good, textures_of(good)))
    image = good[:1].copy()
    image[:, 24:, 24:] = 128  # a corner without grain, the last window alone
    latent = np.full((1, 4, 4, 2), 2, np.float32)
    outputs, textures = ModelOutputs(latent, 0 * latent), textures_of(image)
    anomaly_map = anomaly_maps(rule, scale_pixels(image), outputs, textures)[0]
    windows = rule.statistics.window_distances(scale_pixels(image))[0]
    of_windows, of_cells = rule.statistics.map_factors(windows[np.newaxis], rule.statistics.cell_distances(textures))
    expected = 2 * np.sqrt(of_windows[0, [0, -1], [0, -1]] * of_cells[0, [0, -1], [0, -1]])
    assert anomaly_map.dtype == np.float32
    assert anomaly_map[0, 0] == pytest.approx(expected[0])
    assert anomaly_map[-1, -1] == pytest.approx(expected[1])
    assert anomaly_map.max() == anomaly_map[24:, 24:].max()
    known = anomaly_maps(rule, scale_pixels(image), outputs, textures, windows[np.newaxis])
    np.testing.assert_array_equal(known[0], anomaly_map)
    with pytest.raises(ValueError, match="textures"):
        anomaly_maps(rule, scale_pixels(image), outputs)


def test_the_map_places_the_overlapping_windows_of_the_statistics_where_they_look() -> None:
    good = np.random.default_rng(1).integers(100, 156, (30, 64, 64, 1), np.uint8)
    rule = ScoreRule(map_source="latent", statistics=ImageStatistics.of_images(good, textures_of(good)))
    latent = np.ones((1, 8, 8, 2), np.float32)
    flat = np.ones((1, WINDOWS, WINDOWS))
    peaked = flat.copy()
    peaked[0, 2, 5] = 4.0
    calm, marked = (
        anomaly_maps(rule, scale_pixels(good[:1]), ModelOutputs(latent, 0 * latent), textures_of(good[:1]), windows)[0]
        for windows in (flat, peaked)
    )
    raised = marked / calm
    # Windows of 16 pixels, 8 apart.
    rows, columns = np.nonzero(raised > 0.99 * raised.max())
    assert (rows + 0.5).mean() == pytest.approx(2 * 8 + 8)
    assert (columns + 0.5).mean() == pytest.approx(5 * 8 + 8)
    changed = np.argwhere(raised > 1.001)
    assert changed.min(axis=0).tolist() == [2 * 8, 5 * 8]
    assert changed.max(axis=0).tolist() == [2 * 8 + 15, 5 * 8 + 15]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"components": {"magic": 1}}, "'magic' is unknown; known are latent_l2"),
        ({"components": {}}, "one of them above 0"),
        ({"components": {"latent_l2": 0}}, "one of them above 0"),
        ({"components": {"latent_l2": -1}}, "numbers >= 0"),
        ({"components": {"latent_l2": "much"}}, "finite number"),
        ({"pooling": "median"}, "one of mean, max"),
        ({"map_source": 3}, "a text was expected"),
        ({"map_source": "feature"}, "one of reconstruction, latent"),
    ],
)
def test_impossible_rules_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(MetadataError, match=words):
        ScoreRule.from_dict({**ScoreRule().to_dict(), **change})


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 9), size=st.integers(1, 40), windows=st.integers(1, 6))
def test_scores_are_finite_and_not_negative_for_any_shape(count: int, size: int, windows: int) -> None:
    inputs, outputs = random_batch(count, size, 3, windows, 7)
    for map_source in ("reconstruction", "latent"):
        rule = ScoreRule(map_source=map_source)
        scores, maps = anomaly_scores(rule, inputs, outputs), anomaly_maps(rule, inputs, outputs)
        assert scores.shape == (count,)
        assert maps.shape == (count, size, size)
        assert (scores >= 0).all()
        assert (maps >= 0).all()
