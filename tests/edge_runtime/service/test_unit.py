"""The systemd unit, as systemd's own tools see it."""

from __future__ import annotations

import itertools
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
PAGE = Path(__file__).parents[3] / "docs/raspberry-pi.md"
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


def drop_ins() -> list[str]:
    """The drop-ins that the page about the Raspberry Pi gives, without its indentation."""
    lines = PAGE.read_text("utf-8").splitlines()
    starts = [index for index, line in enumerate(lines) if line == "    [Service]"]
    blocks = [itertools.takewhile(lambda line: line.startswith("    "), lines[start:]) for start in starts]
    return ["\n".join(line.strip() for line in block) + "\n" for block in blocks]


@needs_systemd
@pytest.mark.parametrize("drop_in", drop_ins())
def test_systemd_understands_the_drop_ins_of_the_page(drop_in: str, tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/tfganomaly/bin/tfganomaly", "/bin/true"))
    folder = tmp_path / f"{UNIT.name}.d"
    folder.mkdir()
    (folder / "override.conf").write_text(drop_in)
    done = analyze("verify", unit)
    assert "override.conf" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr


def test_a_drop_in_that_lets_the_service_write_elsewhere_gives_it_a_lasting_user() -> None:
    # A dynamic user owns nothing outside of the state directory: ReadWritePaths alone gives it no right to write.
    writing = [drop_in for drop_in in drop_ins() if "ReadWritePaths=" in drop_in]
    assert writing
    for drop_in in writing:
        assert "DynamicUser=no\n" in drop_in
        assert re.search(r"^User=\w+$", drop_in, re.M)


def test_every_credential_of_the_page_is_named_where_systemd_puts_it() -> None:
    page = PAGE.read_text("utf-8")
    names = re.findall(r"LoadCredential=([\w-]+):", page)
    assert {"token", "mqtt-password"} <= set(names)
    for name in names:
        assert re.search(rf"--[\w-]+-file /run/credentials/{re.escape(UNIT.name)}/{name}\b", page)


def test_the_page_s_service_for_the_network_is_a_command_line_that_the_program_takes() -> None:
    from cli import main

    (options,) = re.findall(r"^    OPTIONS=(.*--host.*)$", PAGE.read_text("utf-8"), re.M)
    parsed = main.commands["serve"].make_context("serve", ["parts.tflite", "camera:0", *shlex.split(options)])
    assert parsed.params["host"] == "0.0.0.0"
    assert parsed.params["token_file"] == f"/run/credentials/{UNIT.name}/token"


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
    # At 380 bytes a judgement the lines of all would push the alarms of the day before out of the files.
    assert parsed.params["jsonl_judgements"] == "anomalous"
