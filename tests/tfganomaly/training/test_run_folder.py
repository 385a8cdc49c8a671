import pytest

from edge_runtime.scoring import ScoreRule
from tfganomaly.errors import RunError
from tfganomaly.options import ModelOptions, TrainingOptions
from tfganomaly.training.run_folder import RunConfig, RunFolder

CONFIG = RunConfig(TrainingOptions(), ModelOptions(channels=1), "mnist:0", None, ScoreRule())


def test_what_a_kill_left_of_a_run_folder_that_was_being_made_counts_as_empty(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.mkdir(parents=True)
    folder.samples.mkdir()
    (folder.path / ".config.4711-0123abcd.part.json").write_text("{")
    folder.create(CONFIG)
    assert folder.read_config() == CONFIG
    assert {path.name for path in folder.path.iterdir()} == {"config.json", "checkpoint", "samples"}


@pytest.mark.parametrize("name", ["notes.txt", ".notes.part.txt", "checkpoint/notes.txt", "photos/part.png"])
def test_a_folder_with_anything_else_in_it_is_refused_and_left_as_it_is(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    leftover = tmp_path / ".config.4711-0123abcd.part.json"
    leftover.write_text("{")
    with pytest.raises(RunError, match="not made by train"):
        RunFolder(tmp_path).create(CONFIG)
    assert leftover.exists()
    assert (tmp_path / name).read_text() == "mine"
