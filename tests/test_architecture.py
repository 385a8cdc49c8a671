"""The layers hold, and the light commands stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_import_contracts_of_pyproject_hold():
    pytest.importorskip("importlinter", reason="the dev extra is not installed")
    done = run_python("from importlinter.cli import lint_imports; raise SystemExit(lint_imports())")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "0 broken" in done.stdout


def optional_imports():
    """What the contract on optional packages lets modules of the runtime import: (module, package)."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one["name"].startswith("Each optional package of the device"))
    return {tuple(edge.split(" -> ")) for edge in contract["ignore_imports"]}


def imported_packages(source):
    """The top-level packages that a module imports, at its head or later."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield node.module.partition(".")[0]


def test_the_runtime_imports_nothing_but_what_a_device_has():
    allowed = {*sys.stdlib_module_names, "numpy", "PIL", "ai_edge_litert", "edge_runtime"}
    optional = optional_imports()
    paths = sorted((ROOT / "edge_runtime").rglob("*.py"))
    found = {
        (".".join(path.relative_to(ROOT).with_suffix("").parts), package)
        for path in paths
        for package in imported_packages(path.read_text("utf-8"))
    }
    assert ("edge_runtime.scoring", "numpy") in found
    assert {(module, package) for module, package in found if package not in allowed} == optional


def test_cli_imports_nothing_heavy_at_module_level():
    tree = ast.parse((ROOT / "cli.py").read_text("utf-8"))
    modules = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert modules <= {
        "__future__",
        "json",
        "pathlib",
        "typing",
        "click",
        "edge_runtime.version",
        "tfganomaly.options",
        "tfganomaly.reproduction.options",
        "tfganomaly.terminal",
    }


@pytest.mark.parametrize(
    "command",
    [
        *("", "train", "evaluate", "export", "inspect", "calibrate", "watch", "serve", "benchmark", "info"),
        *("defects", "reproduce", "demo", "capture"),
    ],
)
def test_help_loads_no_numpy_and_no_tensorflow(command):
    code = (
        "import sys; sys.argv[0] = 'tfganomaly'\n"
        "from tfganomaly.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'numpy', 'tensorflow', 'keras', 'PIL', 'ai_edge_litert', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = run_python(code, *([command] if command else []), "--help")
    assert done.returncode == 0, done.stderr
    assert ("Example:" if command else "The usual way:") in done.stdout


def test_opening_data_and_evaluating_import_no_tensorflow():
    pytest.importorskip("sklearn", reason="the train extra is not installed")
    code = (
        "import sys\n"
        "import tfganomaly.data.sources, tfganomaly.data.loading, tfganomaly.evaluation.evaluate\n"
        "import tfganomaly.evaluation.report, tfganomaly.training.trainer, tfganomaly.training.run, export.options\n"
        "assert not {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)\n"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_wrong_data_or_run_is_said_before_tensorflow_is_loaded(tmp_path):
    pytest.importorskip("tensorflow", reason="the train extra is not installed")
    code = (
        "import sys; from tfganomaly.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 2, end.code\n"
        "assert not {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)\n"
    )
    empty = str(tmp_path)
    for arguments in (
        ["train", empty, "--run", f"{empty}/run"],
        ["train", empty, "--run", f"{empty}/run", "--resume"],
        ["evaluate", empty, "elpv"],
        ["export", empty, "--output", f"{empty}/model.tflite"],
    ):
        done = run_python(code, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("Error: ")
