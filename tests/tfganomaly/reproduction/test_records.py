import pytest

pytest.importorskip("sklearn", reason="the train extra is not installed")

from tfganomaly.errors import RunError
from tfganomaly.reproduction.records import (
    LAST,
    SHOWN,
    Spread,
    mean_over_classes,
    read_records,
    spreads,
    training_images,
    write_records,
)


def record(label, seed, auroc, score="latent_l2"):
    return {"abnormal": label, "seed": seed, "score": score, LAST: auroc}


def test_a_spread_is_mean_and_sample_deviation():
    assert Spread.of([0.7]).text() == "0.700"
    spread = Spread.of([0.6, 0.8, 1.0])
    assert (spread.mean, spread.deviation, spread.count) == (pytest.approx(0.8), pytest.approx(0.2), 3)
    assert spread.text() == "0.800 ± 0.200"


def test_classes_and_scores_are_kept_apart():
    found = spreads([record(0, 0, 0.5), record(0, 1, 0.7), record(1, 0, 0.9), record(0, 0, 0.1, "other")], LAST)
    assert found[0, "latent_l2"].mean == pytest.approx(0.6)
    assert found[1, "latent_l2"].count == 1
    assert found[0, "other"].mean == 0.1


def test_the_mean_over_classes_takes_only_seeds_that_every_class_has():
    records = [record(0, 0, 0.5), record(1, 0, 0.7), record(0, 1, 0.1)]
    means = mean_over_classes(records, LAST)
    assert means["latent_l2"].mean == pytest.approx(0.6)
    assert means["latent_l2"].count == 1


def test_the_number_of_training_images_is_a_range_where_it_depends_on_the_class():
    assert training_images([{"num_train": 45360}, {"num_train": 45360}]) == "45360"
    assert training_images([{"num_train": 45486}, {"num_train": 44729}]) == "44729 to 45486"


@pytest.mark.parametrize("text", ["", "[{", "{}", "[1]", "[]", '[{"abnormal": 0, "seed": 0}]'])
def test_damaged_records_are_one_line_that_says_what_to_remove(tmp_path, text):
    path = tmp_path / "result.json"
    write_records(path, [dict.fromkeys(SHOWN, 0)])
    assert read_records(path) == [dict.fromkeys(SHOWN, 0)]
    path.write_text(text)
    with pytest.raises(RunError, match=r"is damaged .*; remove its folder to run that class again"):
        read_records(path)
