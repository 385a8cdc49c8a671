import pytest

pytest.importorskip("sklearn", reason="the train extra is not installed")
pytest.importorskip("rich", reason="the train extra is not installed")

from tfganomaly.reproduction.observer import ReproductionConsole
from tfganomaly.reproduction.records import LAST


def test_the_growing_table_has_a_row_for_each_training_and_names_the_scores_as_the_last_one_does():
    console = ReproductionConsole()
    shared = {"abnormal": 8, "abnormal_name": "bag", "seed": 0}
    console.begin([{**shared, "score": "latent_l2", LAST: 0.25}], 2)
    console.begin_pair(2, "bag", 1)
    console.finish_pair([{**shared, "seed": 1, "score": name, LAST: 0.5} for name in ("latent_l2", "feature_l2")])
    columns = {column.header: list(column.cells) for column in console._table().columns}
    assert columns == {
        "anomalous": ["bag", "bag"],
        "seed": ["0", "1"],
        "latent L2": ["0.250", "0.500"],
        "feature L2": ["", "0.500"],
    }
