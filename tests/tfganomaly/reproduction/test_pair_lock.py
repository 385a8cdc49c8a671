import sys

import pytest

from tfganomaly.errors import RunError
from tfganomaly.reproduction.pair_lock import pair_lock


def test_a_pair_is_held_by_one_at_a_time_and_the_lock_leaves_nothing(tmp_path):
    pytest.importorskip("fcntl", reason="this system has no such locks")
    first, second = tmp_path / "class-0_seed-0", tmp_path / "class-1_seed-0"
    with (
        pair_lock(first),
        pair_lock(second),
        pytest.raises(RunError, match=r"another process is training this pair, '.*class-0_seed-0'"),
        pair_lock(first),
    ):
        pass
    with pair_lock(first):
        pass
    assert not list(tmp_path.iterdir())


def test_the_file_that_a_kill_leaves_keeps_nobody_away(tmp_path):
    with pytest.raises(KeyboardInterrupt), pair_lock(tmp_path / "class-0_seed-0"):
        raise KeyboardInterrupt
    with pair_lock(tmp_path / "class-0_seed-0"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_system_without_such_locks_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pair_lock(tmp_path / "class-0_seed-0"), pair_lock(tmp_path / "class-0_seed-0"):
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
