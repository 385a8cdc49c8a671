from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from edge_runtime.atomic_files import (
    atomic_path,
    require_free_space,
    require_writable,
    require_writable_folder,
    write_bytes_atomically,
    write_text_atomically,
)
from edge_runtime.errors import OutputError


def test_content_is_written_and_no_other_file_is_left(tmp_path: Path) -> None:
    write_bytes_atomically(tmp_path / "a.bin", b"one")
    write_bytes_atomically(tmp_path / "a.bin", b"two")
    write_text_atomically(tmp_path / "b.txt", "größe\n")
    assert (tmp_path / "a.bin").read_bytes() == b"two"
    assert (tmp_path / "b.txt").read_bytes() == "größe\n".encode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "b.txt"]


@pytest.mark.parametrize("failure", [ValueError("broken"), KeyboardInterrupt()])
def test_a_failure_while_writing_keeps_the_old_file(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_one_clear_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fill_the_disk() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match=r"Cannot write '.*a\.txt': the disk is full") as caught:
        fill_the_disk()
    assert "\n" not in str(caught.value)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_real_disk_full_error_is_reported(tmp_path: Path) -> None:
    def write_to_full_device() -> None:
        with atomic_path(tmp_path / "a.txt"):
            Path("/dev/full").write_bytes(b"x" * 100_000)

    with pytest.raises(OutputError, match="the disk is full"):
        write_to_full_device()


def test_a_missing_folder_a_folder_and_a_file_as_folder_are_clear(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"the folder '.*none' does not exist. Create it first"):
        write_bytes_atomically(tmp_path / "none" / "a.txt", b"")
    with pytest.raises(OutputError, match="it is a folder"):
        write_bytes_atomically(tmp_path, b"")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        write_bytes_atomically(tmp_path / "file" / "a.txt", b"")
    with pytest.raises(OutputError, match="the name is too long"):
        write_bytes_atomically(tmp_path / ("x" * 300), b"")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_clear(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="no permission"):
            write_bytes_atomically(tmp_path / "a.txt", b"")
    finally:
        tmp_path.chmod(0o700)


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    def write_nothing() -> None:
        with atomic_path(tmp_path / "a.txt"):
            pass

    with pytest.raises(OutputError, match="Cannot write"):
        write_nothing()
    assert not list(tmp_path.iterdir())


def test_the_temporary_name_keeps_the_suffix_and_stands_beside_the_target(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")
    assert (tmp_path / "model.keras").read_bytes() == b"x"


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions and links")
def test_permissions_are_kept_and_a_link_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "real.txt"
    target.write_text("old")
    target.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    write_text_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="POSIX devices")
def test_a_device_and_a_named_pipe_are_written_to_and_stay_what_they_are(tmp_path: Path) -> None:
    controller, terminal = os.openpty()  # a device that also root may hand to a test
    name = os.ttyname(terminal)
    write_text_atomically(name, "hello")
    assert os.read(controller, 5) == b"hello"
    assert stat.S_ISCHR(Path(name).stat().st_mode)
    os.close(controller)
    os.close(terminal)
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_text_atomically(pipe, "hello")
    reader.join(timeout=10)
    assert read == [b"hello"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="POSIX sockets")
def test_a_socket_is_refused_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a.sock")
        with pytest.raises(OutputError, match=r"Cannot write 'a\.sock': it is a socket"):
            write_bytes_atomically("a.sock", b"")
    assert stat.S_ISSOCK((tmp_path / "a.sock").stat().st_mode)


def test_a_name_that_is_not_utf8_is_written_with_backslashes(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "a.txt", os.fsdecode(b"gro\xdf") + " größe\n")
    assert (tmp_path / "a.txt").read_bytes() == b"gro\\udcdf gr\xc3\xb6\xc3\x9fe\n"


def test_a_write_larger_than_the_free_space_is_refused_before_it_begins(tmp_path):
    require_free_space(tmp_path / "small.bin", 1)
    with pytest.raises(OutputError, match="the disk is full"):
        require_free_space(tmp_path / "huge.bin", 2**62)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    require_writable(tmp_path / "new.json")
    require_writable("/dev/null")
    require_writable_folder(tmp_path / "new" / "report")
    require_writable_folder(tmp_path / "folder")
    for path, message in (
        (tmp_path / "gone" / "a.json", "the folder '.*gone' does not exist"),
        (tmp_path / "file" / "a.json", "a part of this path is a file"),
        (tmp_path / "folder", "it is a folder"),
    ):
        with pytest.raises(OutputError, match=message):
            require_writable(path)
    for path in (tmp_path / "file", tmp_path / "file" / "report"):
        with pytest.raises(OutputError, match="is a file, not a folder"):
            require_writable_folder(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_that_may_not_be_written_to_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    for check in (require_writable, require_writable_folder):
        with pytest.raises(OutputError, match="you have no permission to write there"):
            check(tmp_path / "a")
