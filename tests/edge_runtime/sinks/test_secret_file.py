from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import SinkError
from edge_runtime.sinks.secret_file import read_secret


def secret_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"pa ss#w\xc3\xb6rd", b"pa ss#w\xc3\xb6rd\n", b"pa ss#w\xc3\xb6rd\r\nmore\n"])
def test_the_first_line_is_the_secret(tmp_path: Path, content: bytes) -> None:
    assert read_secret(secret_file(tmp_path, content, 0o640), "MQTT password") == "pa ss#wörd"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644])
def test_a_file_that_everybody_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SinkError, match="chmod o=") as caught:
        read_secret(secret_file(tmp_path, b"hidden", mode), "MQTT password")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\nsecond", b"a\0b", b"\xff\xfe"])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SinkError, match="MQTT password"):
        read_secret(secret_file(tmp_path, content), "MQTT password")


def test_no_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(SinkError, match="MQTT password"):
            read_secret(path, "MQTT password")
