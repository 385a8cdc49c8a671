from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.heatmap import MAX_HEATMAP_SIDE_PX, colour_ramp, heatmap, heatmap_overlay, map_excess
from edge_runtime.outline import FOUND_COLOUR
from edge_runtime.preprocessing import Preprocessing
from tests.edge_runtime.tiny_model import tiny_calibration

CALIBRATION = tiny_calibration(map_low=0.1, map_high=0.3, map_threshold=2.1)
GREY = np.full((60, 100), 120, np.uint8)


def spot(row: int, column: int, size: int = 20) -> np.ndarray:
    anomaly_map = np.full((size, size), 0.1, np.float32)
    anomaly_map[row : row + 3, column : column + 3] = 2.0
    return anomaly_map


def coloured(overlay: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that are no longer grey."""
    pixels = np.asarray(overlay).astype(int)
    return np.nonzero(np.ptp(pixels, axis=2) > 20)


def test_the_excess_is_measured_in_the_range_of_good_images() -> None:
    values = np.array([0.0, 0.1, 0.2, 0.3, 0.1 + 0.2 * 10**0.5, 2.1], np.float32)
    np.testing.assert_allclose(map_excess(values, CALIBRATION), [0, 0, 0.5, 1, 1.5, 2], atol=1e-6)
    near = tiny_calibration(map_low=0.1, map_high=0.3, map_threshold=0.31)
    np.testing.assert_allclose(map_excess(np.array([0.3, 0.5], np.float32), near), [1, 2], atol=1e-6)
    flat = tiny_calibration(map_low=0.1, map_high=0.1, map_threshold=0.1)
    assert np.isfinite(map_excess(values, flat)).all()


@pytest.mark.parametrize("threshold", [0.31, 2.1])
def test_the_ramp_of_colours_rises_evenly(threshold: float) -> None:
    calibration = tiny_calibration(map_low=0.1, map_high=0.3, map_threshold=threshold)
    ramp = colour_ramp(calibration, 41)
    np.testing.assert_allclose(map_excess(ramp, calibration), np.linspace(0, 2, 41), atol=1e-5)


def test_a_good_image_stays_a_plain_photograph() -> None:
    calm = np.full((20, 20), 0.2, np.float32)
    overlay = heatmap_overlay(GREY, calm, Preprocessing(20, 20, 1), CALIBRATION)
    np.testing.assert_array_equal(np.asarray(overlay), np.dstack([GREY] * 3))


@pytest.mark.parametrize(
    ("rule", "rows", "columns"),
    [
        # The map's spot covers rows 2 to 5 and columns 15 to 18 of 20.
        ("stretch", (2 * 3, 5 * 3), (15 * 5, 18 * 5)),  # 3 picture pixels a map pixel high, 5 wide
        ("crop", (2 * 3, 5 * 3), (20 + 15 * 3, 20 + 18 * 3)),  # the middle 60 x 60, 20 pixels left out at either side
        ("letterbox", None, (15 * 5, 18 * 5)),  # 5 picture pixels a map pixel; rows 2 to 4 lie above the picture
    ],
)
def test_the_spot_lies_where_the_model_saw_it(
    rule: str, rows: tuple[int, int] | None, columns: tuple[int, int]
) -> None:
    overlay = heatmap_overlay(GREY, spot(2, 15), Preprocessing(20, 20, 1, rule), CALIBRATION, with_outline=False)
    assert overlay.size == (100, 60)
    found_rows, found_columns = coloured(overlay)
    if rows is not None:
        assert found_rows.min() == pytest.approx(rows[0], abs=5)
        assert found_rows.max() + 1 == pytest.approx(rows[1], abs=5)
    else:
        assert found_rows.max() < 8
    assert found_columns.min() == pytest.approx(columns[0], abs=5)
    assert found_columns.max() + 1 == pytest.approx(columns[1], abs=5)


def test_letterbox_draws_only_the_part_of_the_map_that_is_picture() -> None:
    overlay = heatmap_overlay(GREY, spot(9, 2), Preprocessing(20, 20, 1, "letterbox"), CALIBRATION, with_outline=False)
    rows, columns = coloured(overlay)
    # Row 9 of the map is row (9 - 4) * 5 = 25 of the picture.
    assert rows.min() == pytest.approx(25, abs=5)
    assert rows.max() == pytest.approx(40, abs=5)
    assert columns.min() == pytest.approx(10, abs=5)


def test_more_anomalous_is_never_paler() -> None:
    values = np.linspace(0.1, 1.0, 64, dtype=np.float32)[np.newaxis]
    colours = heatmap(values, CALIBRATION)[0].astype(int)
    assert colours.shape == (64, 3)
    assert (colours[0] == 0).all()
    visible = colours[values[0] > 0.4]
    assert (np.diff(visible[:, 1]) <= 0).all()  # from yellow to red the green goes


def test_a_huge_picture_is_scaled_down_for_its_heatmap(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("L", (5000, 2500), 90).save(path)
    overlay = heatmap_overlay(path, spot(2, 15), Preprocessing(20, 20, 1, "crop"), CALIBRATION)
    assert overlay.size == (MAX_HEATMAP_SIDE_PX, MAX_HEATMAP_SIDE_PX // 2)
    assert len(coloured(overlay)[0]) > 0


@pytest.mark.parametrize("rule", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (33, 47, 3)])
def test_pictures_of_any_shape_can_be_drawn_on(rule: str, shape: tuple[int, ...]) -> None:
    overlay = heatmap_overlay(np.zeros(shape, np.uint8), spot(2, 15), Preprocessing(20, 20, 1, rule), CALIBRATION)
    assert overlay.size == (shape[1], shape[0])
    assert overlay.mode == "RGB"


@pytest.mark.parametrize("rule", ["stretch", "letterbox", "crop"])
def test_what_exceeds_the_map_threshold_is_outlined_at_the_pictures_resolution(rule: str) -> None:
    anomaly_map = np.full((20, 20), 0.1, np.float32)
    anomaly_map[9:12, 9:12] = 1.0
    calibration = tiny_calibration(map_low=0.1, map_high=10.0, map_threshold=0.5)  # so high that nothing gets coloured
    overlay = heatmap_overlay(GREY, anomaly_map, Preprocessing(20, 20, 1, rule), calibration)
    rows, columns = np.nonzero((np.asarray(overlay) == FOUND_COLOUR).all(axis=2))
    per_row, per_column = {"stretch": (3, 5), "letterbox": (5, 5), "crop": (3, 3)}[rule]
    # Map pixels 9 to 12 around the middle, the line a gap of one pixel outside.
    top, left = 30 - per_row, 50 - per_column
    assert rows.min() == pytest.approx(top - 2, abs=2)
    assert rows.max() == pytest.approx(top + 3 * per_row + 1, abs=2)
    assert columns.min() == pytest.approx(left - 2, abs=3)
    assert columns.max() == pytest.approx(left + 3 * per_column + 1, abs=3)


def test_a_map_below_the_threshold_has_no_outline() -> None:
    calibration = tiny_calibration(map_low=0.1, map_high=10.0, map_threshold=2.0)
    overlay = heatmap_overlay(GREY, spot(9, 9), Preprocessing(20, 20, 1), calibration)  # at most 2.0
    np.testing.assert_array_equal(np.asarray(overlay), np.dstack([GREY] * 3))
    higher = tiny_calibration(map_low=0.1, map_high=10.0, map_threshold=1.0)
    overlay = heatmap_overlay(GREY, spot(9, 9), Preprocessing(20, 20, 1), higher, with_outline=False)
    np.testing.assert_array_equal(np.asarray(overlay), np.dstack([GREY] * 3))
