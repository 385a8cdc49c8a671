import numpy as np
import pytest

pytest.importorskip("scipy", reason="the train extra is not installed")

from edge_runtime.preprocessing import normalise_contrast, scale_pixels
from tfganomaly.synthetic_defects.harmless_changes import harmlessly_changed

SIDE = 64


@pytest.fixture(params=[1, 3])
def part(request):
    """A dark square on a bright ground with some grain, (S, S, C)."""
    pixels = np.random.default_rng(0).normal(170, 8, (SIDE, SIDE, request.param))
    pixels[20:44, 20:44] -= 100
    return normalise_contrast(np.clip(pixels, 0, 255).astype(np.uint8))


def changed(pixels, count=200):
    rng = np.random.default_rng(0)
    return [harmlessly_changed(pixels, rng) for _ in range(count)]


def test_shape_and_type_stay_and_the_image_that_was_given_too(part):
    before = part.copy()
    for image in changed(part, 20):
        assert image.shape == part.shape
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
    np.testing.assert_array_equal(part, before)


def test_the_same_generator_gives_the_same_changes(part):
    for one, another in zip(changed(part, 10), changed(part, 10), strict=True):
        np.testing.assert_array_equal(one, another)


def test_the_part_stays_in_its_place_and_its_light_within_what_a_lamp_does(part):
    plain = scale_pixels(part)
    for image in changed(part):
        assert image[28:36, 28:36].mean() < image[:6].mean() - 0.5  # the square is never moved off its middle
        assert abs(image.mean() - plain.mean()) < 0.45


def test_place_and_size_vary_by_some_pixels(part):
    widths, middles = [], []
    for image in changed(part):
        dark = np.flatnonzero(image[28:36].mean(axis=(0, 2)) < -0.4)
        widths.append(dark[-1] - dark[0] + 1)
        middles.append((dark[-1] + dark[0]) / 2)
    assert 0.5 < np.std(middles) < 3
    assert 20 <= np.median(widths) <= 28
    assert np.std(widths) > 0.5


def test_grain_is_kept_where_only_the_place_changes(part):
    grain = [np.diff(image[:12], axis=1).std() for image in changed(part)]
    plain = np.diff(scale_pixels(part)[:12], axis=1).std()
    assert 0.7 * plain < np.median(grain) < 1.3 * plain
