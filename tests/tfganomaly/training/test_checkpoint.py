import pytest

pytest.importorskip("tensorflow", reason="the train extra is not installed")

from tfganomaly.training.checkpoint import Checkpoints


def test_an_older_checkpoint_that_is_gone_already_does_no_harm(tmp_path, monkeypatch):
    older = tmp_path / "epoch-00001.weights.h5"
    older.touch()
    monkeypatch.setattr(Checkpoints, "_write", lambda self, model, path: older.unlink())
    Checkpoints(tmp_path).save(None, 2)
    assert not list(tmp_path.iterdir())
