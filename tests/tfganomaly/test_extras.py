import importlib.machinery
import sys
import types
from pathlib import Path

import pytest

from edge_runtime.errors import TfganomalyError
from tfganomaly.errors import MissingExtraError
from tfganomaly.extras import MODULES_OF_EXTRA, require_extra


def test_installed_modules_are_no_trouble_and_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "slow_module.py").write_text("raise AssertionError('was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    require_extra("train", "json", "slow_module")
    assert "slow_module" not in sys.modules


def test_missing_module_is_named_with_the_command():
    with pytest.raises(MissingExtraError) as error:
        require_extra("camera", "json", "no_such_module")
    assert str(error.value) == (
        "This needs no_such_module, which is not installed. Install with: pip install 'tfganomaly[camera]'"
    )
    assert isinstance(error.value, TfganomalyError)


def test_all_modules_of_the_extra_are_checked_when_none_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(MODULES_OF_EXTRA, "train", ("no_such_module", "json", "nor_this"))
    with pytest.raises(MissingExtraError, match="no_such_module, nor_this, which are not installed"):
        require_extra("train")


def test_module_that_an_import_hook_forbids_counts_as_missing(monkeypatch: pytest.MonkeyPatch):
    class Forbid:
        def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec:
            raise ImportError(f"{name} must not be imported")

    monkeypatch.setattr(sys, "meta_path", [Forbid()])
    with pytest.raises(MissingExtraError, match="some_module"):
        require_extra("train", "some_module")


def test_stand_in_module_counts_as_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "stand_in", types.ModuleType("stand_in"))
    require_extra("train", "stand_in")
    monkeypatch.setitem(sys.modules, "stand_in", None)
    with pytest.raises(MissingExtraError):
        require_extra("train", "stand_in")
