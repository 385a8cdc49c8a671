"""How the Makefile comes to a virtual environment: in a folder of its own, with Pythons that are stand-ins."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

ROOT = Path(__file__).resolve().parents[1]
SUPPORTED = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))


class Checkout:
    """A folder with the Makefile and no packages, in which `make` runs."""

    def __init__(self, folder):
        self.folder, self.log = folder, folder / "asked"
        self.environment = folder / ".venv"
        shutil.copy(ROOT / "Makefile", folder)
        (folder / "pyproject.toml").touch()
        (folder / "constraints").mkdir()
        (folder / "constraints" / "python3.11.txt").touch()

    def write_python(self, path, version, *, pip=True, venv="exit 1"):
        """Writes a Python of a version; `pip` is whether it has that, `venv` the shell code of its module venv."""
        major, minor = version.split(".")
        spoofed = f"import sys; sys.version_info = ({major}, {minor}, 0); exec(sys.argv[1])"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f'#!/bin/sh\necho "$*" >> {self.log}\n'
            f"case \"$1 $2\" in\n'-m venv') {venv} ;;\n'-m pip') exit {int(not pip)} ;;\n"
            f'*) exec {sys.executable} -c "{spoofed}" "$2" ;;\nesac\n',
            "utf-8",
        )
        path.chmod(0o755)

    def write_environment(self, version, *, pip=True):
        self.write_python(self.environment / "bin" / "python", version, pip=pip)
        (self.environment / "pyvenv.cfg").touch()

    def write_system_python(self, version, *, pip=True, venv_exit_code=0):
        """Writes the Python that `make` is given; its venv makes an environment of the same version."""
        made = self.folder / "made" / "python"
        self.write_python(made, version, pip=pip)
        venv = (
            f"rm -rf .venv; mkdir -p .venv/bin; touch .venv/pyvenv.cfg; cp {made} .venv/bin/python; "
            f"exit {venv_exit_code}"
        )
        self.write_python(self.folder / "python", version, venv=venv)

    def make(self, target=".venv/.demo"):
        return subprocess.run(
            ["make", "PYTHON=./python", target],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def installations(self):
        return [line for line in self.log.read_text("utf-8").splitlines() if line.startswith("-m pip install")]


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.mark.parametrize("target", [".venv/.demo", ".venv/.dev"])
def test_a_fresh_checkout_gets_an_environment_once(checkout, target):
    checkout.write_system_python("3.11")
    assert checkout.make(target).returncode == 0
    (installation,) = checkout.installations
    assert "--constraint constraints/python3.11.txt --editable" in installation
    assert checkout.make(target).returncode == 0
    assert len(checkout.installations) == 1


@pytest.mark.parametrize("venv_exit_code", [0, 1])
def test_after_a_venv_without_pip_make_says_what_to_install_and_then_goes_on(checkout, venv_exit_code):
    checkout.write_system_python("3.11", pip=False, venv_exit_code=venv_exit_code)
    done = checkout.make()
    assert done.returncode == 2
    assert "./python could not make .venv; on Debian and Ubuntu install python3-venv first" in done.stderr.splitlines()
    assert checkout.installations == []
    assert (checkout.environment / "bin" / "python").is_file()
    checkout.write_system_python("3.11")
    assert checkout.make().returncode == 0
    assert len(checkout.installations) == 1


def test_what_the_old_environment_had_installed_is_installed_into_the_new_one(checkout):
    checkout.write_system_python("3.11")
    checkout.write_environment("3.11", pip=False)
    (checkout.environment / ".demo").touch()
    assert checkout.make().returncode == 0
    assert len(checkout.installations) == 1


@pytest.mark.parametrize("version", SUPPORTED)
def test_each_supported_python_makes_an_environment(checkout, version):
    checkout.write_system_python(version)
    assert checkout.make().returncode == 0


@pytest.mark.parametrize("version", ["2.7", "3.9", f"3.{int(SUPPORTED[-1].removeprefix('3.')) + 1}"])
def test_another_python_is_refused_in_one_line(checkout, version):
    checkout.write_system_python(version)
    done = checkout.make()
    assert done.returncode == 2
    line, closing = done.stderr.splitlines()
    assert (
        line == f"./python is not Python {SUPPORTED[0]} to {SUPPORTED[-1]}; name one with: make PYTHON=python3.11 ..."
    )
    assert closing.startswith("make: ***")
    assert not checkout.environment.exists()


def test_an_environment_that_serves_is_kept_with_what_is_installed(checkout):
    checkout.write_environment("3.11")
    os.utime(checkout.environment / "pyvenv.cfg", (1e9, 1e9))
    (checkout.environment / ".demo").touch()
    assert checkout.make().returncode == 0
    assert checkout.installations == []


def test_an_environment_of_another_python_is_made_anew(checkout):
    checkout.write_environment("3.14")
    checkout.write_system_python("3.12")
    assert checkout.make().returncode == 0
    assert any(line == "-m venv --clear .venv" for line in checkout.log.read_text("utf-8").splitlines())


@pytest.mark.parametrize(("environment", "system", "is_constrained"), [("3.11", "3.12", True), ("3.12", "3.11", False)])
def test_the_environment_s_own_python_chooses_the_constraints(checkout, environment, system, is_constrained):
    checkout.write_environment(environment)
    checkout.write_system_python(system)
    assert checkout.make().returncode == 0
    (installation,) = checkout.installations
    assert ("--constraint constraints/python3.11.txt" in installation) == is_constrained
