import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from tfganomaly.evaluation.pixel_metrics import choose_thresholds, label_regions, pixel_metrics


def exact_aupro(maps, masks, limit=0.3):
    """The definition, slowly: every distinct value is a threshold, every region is looked at by itself."""
    regions = []
    for anomaly_map, mask in zip(maps, masks, strict=True):
        labelled, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [anomaly_map[labelled == number] for number in range(1, count + 1)]
    normal = np.concatenate([one[~mask] for one, mask in zip(maps, masks, strict=True)])
    rates, overlaps = [0.0], [0.0]
    for threshold in np.unique(np.concatenate([one.ravel() for one in maps]))[::-1]:
        rates.append(np.mean(normal >= threshold))
        overlaps.append(np.mean([np.mean(region >= threshold) for region in regions]))
    area = 0.0
    for index in range(1, len(rates)):
        left, right = rates[index - 1], rates[index]
        if left >= limit:
            break
        end = overlaps[index]
        if right > limit:
            end = overlaps[index - 1] + (end - overlaps[index - 1]) * (limit - left) / (right - left)
            right = limit
        area += (right - left) * (overlaps[index - 1] + end) / 2
    return area / limit


def smooth_problem(seed, count=6, size=40, strength=1.0):
    generator = np.random.default_rng(seed)
    maps, masks = [], []
    for index in range(count):
        noise = ndimage.gaussian_filter(generator.normal(size=(size, size)), 2) * 8
        mask = np.zeros((size, size), bool)
        if index:
            row, column = generator.integers(0, size - 10, size=2)
            mask[row : row + 8, column : column + 5] = True
            mask[-2:, -3:] = True
        maps.append((noise + strength * mask).astype(np.float32))
        masks.append(mask)
    return maps, masks


def measure(maps, masks, **options):
    return pixel_metrics(zip(maps, masks, strict=True), choose_thresholds(maps, **options))


def test_aupro_of_a_hand_computed_example():
    # One region of two pixels with values 4 and 2, three normal pixels with 3, 1 and 1.
    anomaly_map = np.array([[4.0, 2.0, 3.0, 1.0, 1.0]])
    mask = np.array([[True, True, False, False, False]])
    result = measure([anomaly_map], [mask])
    # Overlap is 1/2 from rate 0 on and does not grow until rate 1/3, which is beyond 0.3.
    assert result.aupro == pytest.approx(0.5)
    # Of the six pairs the defect pixel is higher in five.
    assert result.pixel_auroc == pytest.approx(5 / 6)
    assert result.num_regions == 1


def test_a_small_region_weighs_as_much_as_a_large_one():
    anomaly_map = np.zeros((10, 20))
    mask = np.zeros((10, 20), bool)
    mask[:, :6] = True  # sixty pixels, all found
    mask[4, 15] = True  # one pixel, not found
    anomaly_map[:, :6] = 1.0
    result = measure([anomaly_map], [mask])
    # Overlap is 1/2 at rate 0 and 1 at rate 1; at 0.3 it is 0.65.
    assert result.aupro == pytest.approx((0.5 + 0.65) / 2)
    assert result.num_regions == 2


def test_a_perfect_map_gets_one_and_a_constant_map_gets_chance():
    maps, masks = smooth_problem(0)
    perfect = measure([mask.astype(np.float32) for mask in masks], masks)
    assert perfect.pixel_auroc == 1.0
    assert perfect.aupro == 1.0
    constant = measure([np.ones_like(one) for one in maps], masks)
    assert constant.pixel_auroc == pytest.approx(0.5)
    assert constant.aupro == pytest.approx(0.15)


def test_metrics_are_exact_when_every_value_is_a_threshold():
    for seed in range(3):
        maps, masks = smooth_problem(seed)
        maps = [np.round(one, 1) for one in maps]
        result = measure(maps, masks)
        assert result.aupro == pytest.approx(exact_aupro(maps, masks), abs=1e-12)
        labels = np.concatenate([mask.ravel() for mask in masks])
        scores = np.concatenate([one.ravel() for one in maps])
        assert result.pixel_auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("count", [256, 4096])
def test_metrics_at_quantiles_stay_within_the_documented_error(count):
    for seed, strength in ((0, 0.5), (1, 1.5), (2, 4.0)):
        maps, masks = smooth_problem(seed, strength=strength)
        thresholds = choose_thresholds(maps, count=count)
        result = pixel_metrics(zip(maps, masks, strict=True), thresholds)
        normal = np.concatenate([one[~mask] for one, mask in zip(maps, masks, strict=True)])
        rates = np.array([np.mean(normal >= threshold) for threshold in thresholds[::-1]])
        largest_step = np.diff(np.concatenate([[0.0], rates, [1.0]])).max()
        assert largest_step < 2 / count
        assert abs(result.aupro - exact_aupro(maps, masks)) <= largest_step / (2 * 0.3)
        labels = np.concatenate([mask.ravel() for mask in masks])
        scores = np.concatenate([one.ravel() for one in maps])
        assert abs(result.pixel_auroc - roc_auc_score(labels, scores)) <= largest_step / 2


def test_thresholds_are_taken_from_a_sample_of_large_data_and_counts_stay_exact():
    generator = np.random.default_rng(3)
    maps = generator.normal(size=(40, 256, 256)).astype(np.float32)  # 2.6 million values
    masks = np.zeros(maps.shape, bool)
    masks[::2, 100:130, 50:90] = True
    maps[masks] += 1.0
    thresholds = choose_thresholds(maps)
    assert thresholds.size <= 4096
    result = pixel_metrics(zip(maps, masks, strict=True), thresholds)
    assert result.pixel_auroc == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-4)


def test_choosing_thresholds_does_not_hold_the_maps_in_memory():
    class MapsMadeOnDemand(Sequence):
        def __len__(self):
            return 1000

        def __getitem__(self, index):
            if index >= 1000:
                raise IndexError(index)
            return np.full((128, 128), index, np.float32)

    tracemalloc.start()
    thresholds = choose_thresholds(MapsMadeOnDemand())
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(thresholds, np.arange(1000))
    assert peak_bytes < 35e6  # all maps are 66 MB, the sample with its sorted copy a third of that


def test_pixels_that_touch_at_a_corner_are_one_region():
    assert label_regions(np.eye(3, dtype=bool))[1] == 1


def test_maps_of_several_sizes_are_counted_together():
    maps, masks = smooth_problem(5, size=30)
    more_maps, more_masks = smooth_problem(6, size=20)
    maps, masks = [np.round(one, 1) for one in maps + more_maps], masks + more_masks
    thresholds = np.unique(np.concatenate([one.ravel() for one in maps]))
    result = pixel_metrics(zip(maps, masks, strict=True), thresholds)
    assert result.aupro == pytest.approx(exact_aupro(maps, masks), abs=1e-12)


def test_pixel_metrics_without_defect_pixels_or_without_normal_ones_are_none():
    anomaly_map = np.arange(6.0).reshape(2, 3)
    for mask in (np.zeros((2, 3), bool), np.ones((2, 3), bool)):
        result = measure([anomaly_map], [mask])
        assert (result.pixel_auroc, result.aupro) == (None, None)
