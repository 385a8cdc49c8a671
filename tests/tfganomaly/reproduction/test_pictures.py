import pytest

pytest.importorskip("sklearn", reason="the train extra is not installed")
pytest.importorskip("matplotlib", reason="the train extra is not installed")

from tfganomaly.reproduction import pictures
from tfganomaly.reproduction.records import BEST_ON_TEST, LAST

OWN_SUM = "2 latent_l1 + 0.5 reconstruction_l1 + 0.25 relative_latent_l2"
SCORES = [
    *("latent_l2", "latent_l1", "reconstruction_l1", "relative_latent_l2", "feature_l2", "weighted_sum"),
    OWN_SUM,
]


def record(label, score):
    figures = {LAST: 0.7, BEST_ON_TEST: 0.8, "seed": 0, "epochs": 15, "num_train": 45360}
    names = {"collection": "fashion-mnist", "protocol": "official", "abnormal_name": f"ankle-boot {label}"}
    return {"abnormal": label, "score": score, **figures, **names}


@pytest.mark.parametrize("num_classes", [1, 4, 10])
def test_the_chart_tells_seven_scores_apart_and_cuts_no_text_off(num_classes, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "_save", lambda figure, path: drawn.append(figure))
    records = [record(label, score) for label in range(num_classes) for score in SCORES]
    pictures.write_auroc_chart(tmp_path / "auroc.png", records)
    (figure,) = drawn
    figure.canvas.draw()
    (axes,) = figure.axes
    assert len({bars.patches[0].get_facecolor() for bars in axes.containers}) == len(SCORES)
    texts = [figure.legends[0], figure._suptitle]
    for box in (text.get_window_extent(figure.canvas.get_renderer()) for text in texts):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
