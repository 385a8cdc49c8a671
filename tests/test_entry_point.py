"""The program runs its own modules, whatever else bears their names (docs/decisions/0001-top-level-names.md)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OWN_FILES = ("cli.py", "export/__init__.py", "edge_runtime/__init__.py")


def run_python(folder, environment, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_program(folder, python_path, *arguments):
    return run_python(folder, {**os.environ, "PYTHONPATH": str(python_path)}, "-m", "tfganomaly", *arguments)


def test_own_modules_win_over_files_of_the_same_name_in_the_working_directory(tmp_path):
    for name in ("cli", "export"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a stranger was imported')")
    (tmp_path / "edge_runtime").mkdir()
    (tmp_path / "edge_runtime" / "__init__.py").write_text("raise RuntimeError('a stranger was imported')")
    done = run_program(tmp_path, ROOT, "--version")
    assert done.returncode == 0, done.stderr
    assert "tfganomaly, version" in done.stdout


def test_a_module_written_over_by_another_distribution_is_named_and_not_run(tmp_path):
    for package in ("tfganomaly", "edge_runtime", "export"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "cli.py").write_text("print('a stranger ran')")
    (tmp_path / "elsewhere").mkdir()
    done = run_program(tmp_path / "elsewhere", tmp_path, "--version")
    assert done.returncode != 0
    assert "a stranger ran" not in done.stdout
    assert "cli.py" in done.stderr
    assert "virtual environment of its own" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("2", "2")])
def test_numpy_computes_with_one_thread_unless_the_user_says_otherwise(tmp_path, given, expected):
    program = (
        "import os, sys; from tfganomaly.__main__ import main; assert 'numpy' not in sys.modules\n"
        "try: main()\nexcept SystemExit: print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {"PYTHONPATH": str(ROOT)} | ({} if given is None else {"OPENBLAS_NUM_THREADS": given})
    done = run_python(tmp_path, environment, "-c", program, "--version")
    assert done.stdout.split()[-1] == expected, done.stderr


def test_each_own_file_bears_the_mark_that_the_guard_looks_for():
    for name in OWN_FILES:
        assert "tfganomaly" in (ROOT / name).read_text("utf-8").lower(), name
