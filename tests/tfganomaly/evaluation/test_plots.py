import io

import numpy as np
import pytest
from PIL import Image

from tfganomaly.evaluation import plots

LABELS = np.array([0] * 30 + [1] * 30)
SCORES = np.concatenate([np.linspace(0, 1, 30), np.linspace(0.5, 2, 30)])


def opened(png):
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return image.convert("RGB")


def has_colour(image, colour):
    wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    return bool((np.abs(np.asarray(image, dtype=int) - wanted) <= 2).all(axis=2).any())


@pytest.mark.parametrize("theme", [plots.LIGHT, plots.DARK])
def test_every_plot_is_drawn_in_the_colours_of_its_theme(theme):
    baseline = plots.RocBaseline("best shortcut: mean grey", SCORES[::-1])
    drawn = [
        plots.roc_plot(LABELS, SCORES, 0.9, theme=theme, baseline=baseline),
        plots.score_histogram(LABELS, SCORES, 0.9, theme=theme),
        plots.per_defect_bars({"dot": 0.8, "line": None}, {"dot": 0.6, "line": None}, theme=theme),
    ]
    for png in drawn:
        image = opened(png)
        assert has_colour(image, theme.background)
        assert has_colour(image, theme.good)
        assert has_colour(image, theme.anomalous)


def test_equal_data_gives_equal_bytes():
    assert plots.roc_plot(LABELS, SCORES, 0.9) == plots.roc_plot(LABELS, SCORES, 0.9)


@pytest.mark.parametrize(
    ("labels", "scores", "threshold"),
    [
        ([0], [0.5], 0.5),
        ([0, 0, 1], [1.0, 1.0, 1.0], 1.0),
        ([1, 1], [1e-7, 2e-7], 1e6),
        ([0] * 98 + [1] * 2, [0.1] * 98 + [50.0, 1e9], 0.2),
        ([0, 1], [0.0, 0.0], 0.0),
    ],
)
def test_the_histogram_can_draw_unusual_scores(labels, scores, threshold):
    image = opened(plots.score_histogram(np.array(labels), np.array(scores), threshold))
    assert image.width > 600


def test_scores_over_orders_of_magnitude_spread_over_the_whole_histogram():
    good, anomalous = np.geomspace(0.01, 1, 60), np.geomspace(1, 100, 60)
    labels, scores = np.repeat([0, 1], 60), np.concatenate([good, anomalous])
    image = np.asarray(opened(plots.score_histogram(labels, scores, 1.0)), dtype=int)
    wanted = [int(plots.LIGHT.good[at : at + 2], 16) for at in (1, 3, 5)]
    left_of_the_legend = (np.abs(image - wanted) <= 2).all(axis=2)[:, : image.shape[1] // 2]
    columns = np.flatnonzero(left_of_the_legend.any(axis=0))
    assert np.ptp(columns) > 0.3 * image.shape[1]  # the good images' outline goes on to the threshold in the middle


def test_plots_leave_no_global_state():
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.score_histogram(LABELS, SCORES, 0.9)
    assert dict(matplotlib.rcParams) == before


def test_a_name_with_dollars_is_no_formula():
    name = r"a$b_$"  # as mathematics an error: nothing below the line
    assert plots.per_defect_bars({name: 0.8}, {name: 0.6}).startswith(b"\x89PNG")
