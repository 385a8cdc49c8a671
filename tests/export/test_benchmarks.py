from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _benchmarks_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "benchmarks")])


def test_a_finished_run_is_taken_of_the_same_folder_however_it_is_named(
    run: Path, labelled_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quality_by_width import _trained_run

    monkeypatch.chdir(labelled_folder.parent)
    for data in (str(labelled_folder), labelled_folder.name):
        arguments = argparse.Namespace(data=data, image_size=32, epochs=2, max_train_images=None, seed=0)
        assert _trained_run(arguments, run, 4, 6, 0.2).folder.path == run
    arguments.data = str(run)
    with pytest.raises(SystemExit, match=r"was trained with the data .*; name another --runs-folder"):
        _trained_run(arguments, run, 4, 6, 0.2)


@pytest.mark.parametrize(("json", "said"), [("gone/figures.json", "there is no folder"), (".", "is a folder")])
def test_a_file_that_cannot_take_the_figures_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], json: str, said: str
) -> None:
    from size_speed_quality import _parse_arguments

    monkeypatch.setattr(sys, "argv", ["size_speed_quality.py", "--json", str(tmp_path / json)])
    with pytest.raises(SystemExit):
        _parse_arguments()
    assert said in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["size_speed_quality.py", "--json", str(tmp_path / "figures.json")])
    assert _parse_arguments().json == tmp_path / "figures.json"
