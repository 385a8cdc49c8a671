"""The systemd unit, as systemd's own tools see it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_runtime import service

FOLDER = Path(next(iter(service.__path__)))
UNIT = FOLDER / "tfganomaly-watch.service"
CONFIGURATION = FOLDER / "watch.conf"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def settings() -> dict[str, str]:
    lines = CONFIGURATION.read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@needs_systemd
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    # Only the program itself is missing where tfganomaly is not installed in /opt.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/tfganomaly/bin/tfganomaly", "/bin/true"))
    done = analyze("verify", unit)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]
    assert complaints == []
    assert done.returncode == 0, done.stderr


@needs_systemd
def test_the_service_may_do_little() -> None:
    # Exposure from 0 (none) to 10; a unit without any protection has 9.6.
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=20", UNIT)
    if "unrecognized option" in done.stderr or "Unknown option" in done.stderr:
        pytest.skip("this systemd-analyze cannot judge a file")
    assert done.returncode == 0, done.stdout[-500:] + done.stderr


def test_every_variable_of_the_unit_is_in_its_configuration() -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text("utf-8"), re.M)
    assert set(re.findall(r"\$\{?([A-Z]+)\}?", command)) == set(settings())


@pytest.mark.parametrize("command", ["watch", "serve"])
def test_the_configured_command_is_one_that_the_program_has(command: str) -> None:
    from cli import main

    values = settings()
    assert values["COMMAND"] == "watch"
    parsed = main.commands[command].make_context(
        command, [values["MODEL"], values["SOURCE"], *shlex.split(values["OPTIONS"])]
    )
    assert parsed.params["source"] == "camera:0"
    assert parsed.params["sinks"] == ("jsonl:verdicts.jsonl", "evidence:evidence")
    assert parsed.params["every"] == "500ms"
