from __future__ import annotations

import io
import os
import sys

import click
import pytest
from click.testing import CliRunner

from edge_runtime.errors import ImageError
from tfganomaly.terminal import OneLineErrors, echo, one_line, progress_bar


@pytest.mark.parametrize(
    ("encoding", "errors", "printed"),
    [
        ("utf-8", "strict", b"gr\xc3\xb6\xc3\x9fe_gro\\udcdf.png\n"),
        ("ascii", "strict", b"gr\\xf6\\xdfe_gro\\udcdf.png\n"),
        ("utf-8", "surrogateescape", b"gr\xc3\xb6\xc3\x9fe_gro\xdf.png\n"),
    ],
)
def test_a_name_that_the_output_s_encoding_does_not_have_is_printed_all_the_same(
    encoding: str, errors: str, printed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, errors, newline="\n"))
    echo("größe_" + os.fsdecode(b"gro\xdf.png"))
    assert written.getvalue() == printed


def test_no_name_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[2J部品\r\u202e.png"
    echo(f"first\n{name}")
    assert capsys.readouterr().out == "first\n\\x1b[2J部品\\r\\u202e.png\n"
    assert one_line(ImageError(f"'{name}' is\nno image.")) == "'\\x1b[2J部品 \\u202e.png' is no image."


def test_progress_and_results_are_no_obstacle_where_the_streams_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    steps = 0
    with progress_bar("scoring images") as progress:
        for steps in range(1, 4):
            progress(steps, 3)
    echo("done")
    assert steps == 3


def test_ctrl_c_is_no_anomaly() -> None:
    group = OneLineErrors("program", params=[click.Option(["--debug"], is_flag=True)])

    @group.command()
    def work() -> None:
        raise KeyboardInterrupt

    result = CliRunner().invoke(group, ["work"])
    assert result.exit_code == 130
    assert result.stderr == "\nError: The command was stopped by Ctrl-C before it was done.\n"
