import pytest

from edge_runtime.scoring import ScoreRule
from tfganomaly.errors import DataError, RunError
from tfganomaly.options import ModelOptions, TrainingOptions
from tfganomaly.training.configuration import resumed_config
from tfganomaly.training.run_folder import RunConfig, RunFolder

CONFIG = RunConfig(TrainingOptions(), ModelOptions(channels=1), "fashion-mnist:8", None, ScoreRule())


@pytest.fixture
def folder(tmp_path):
    begun = RunFolder(tmp_path / "run")
    begun.create(CONFIG)
    return begun


@pytest.mark.parametrize("source", ["fashion-mnist:8", "fashion-mnist:bag", "FashionMNIST:Bag"])
def test_a_run_goes_on_with_its_data_however_that_is_spelled(folder, source):
    assert resumed_config(folder, source, None, {}, None) == CONFIG


def test_another_class_or_collection_is_refused(folder):
    for source in ("fashion-mnist:coat", "mnist:8", "photos"):
        with pytest.raises(RunError, match=f"was begun with the data 'fashion-mnist:8', not '{source}'"):
            resumed_config(folder, source, None, {}, None)
    with pytest.raises(DataError, match="fashion-mnist has no class 'boat'"):
        resumed_config(folder, "fashion-mnist:boat", None, {}, None)
