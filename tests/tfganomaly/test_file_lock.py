import sys

import pytest

from tfganomaly.errors import RunError
from tfganomaly.file_lock import file_lock


def test_a_lock_is_held_by_one_at_a_time_and_leaves_nothing(tmp_path):
    pytest.importorskip("fcntl", reason="this system has no such locks")
    first, second = tmp_path / "first.lock", tmp_path / "second.lock"
    with (
        file_lock(first, "somebody has the first"),
        file_lock(second, "somebody has the second"),
        pytest.raises(RunError, match="somebody has the first"),
        file_lock(first, "somebody has the first"),
    ):
        pass
    with file_lock(first, ""):
        assert first.exists()
    assert not list(tmp_path.iterdir())


def test_the_file_that_a_kill_leaves_keeps_nobody_away(tmp_path):
    (tmp_path / "lock").touch()
    with pytest.raises(KeyboardInterrupt), file_lock(tmp_path / "lock", ""):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())  # Ctrl-C leaves none
    with file_lock(tmp_path / "lock", ""):
        pass
    assert not list(tmp_path.iterdir())


def test_a_system_without_such_locks_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with file_lock(tmp_path / "lock", ""), file_lock(tmp_path / "lock", ""):
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
