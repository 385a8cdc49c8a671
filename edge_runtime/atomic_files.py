"""Writes files so that a reader finds the old content or the new one, never a part of it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_runtime.errors import OutputError

PathLike = str | os.PathLike[str]

_ADVICE = {
    errno.ENOSPC: "the disk is full. Free some space or choose another place.",
    errno.EDQUOT: "your disk quota is used up. Free some space or choose another place.",
    errno.EACCES: "you have no permission to write there. Choose another place or change its permissions.",
    errno.EPERM: "the system does not allow it. Choose another place or change its permissions.",
    errno.EROFS: "the file system is read-only. Choose another place.",
    errno.ENOTDIR: "a part of this path is a file, not a folder. Choose another place.",
    errno.EISDIR: "it is a folder. Give the name of a file.",
    errno.ENAMETOOLONG: "the name is too long. Choose a shorter one.",
}


def output_error(path: PathLike, error: OSError) -> OutputError:
    """Return the `OutputError` that tells a user why `path` could not be written.

    Args:
        path: The file or folder that was to be written.
        error: What the operating system said.
    """
    folders = (Path(path).parent, Path(os.path.realpath(path)).parent)  # of a link both
    missing = [folder for folder in folders if not folder.exists()]
    if error.errno == errno.ENOENT and missing:
        reason = f"the folder '{missing[0]}' does not exist. Create it first."
    else:
        reason = _ADVICE.get(error.errno or 0, f"{error.strerror or error}.")
    return OutputError(f"Cannot write '{path}': {reason}")


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that takes its place when the block ends without an error.

    The temporary name keeps the suffix, because Pillow and Keras choose the format by it. After an error,
    also a `KeyboardInterrupt`, the temporary file is removed and `path` is as it was. A link is followed: its
    target is replaced. A character device such as /dev/null and a named pipe are never replaced: of those `path` itself
    is yielded, and what the block writes goes straight into it. The block should do nothing but write, as any `OSError`
    in it is reported as a failure to write.

    Args:
        path: The file to write. Its folder must exist.

    Yields:
        The temporary path. The block must create a file there.

    Raises:
        OutputError: No space, no permission, no such folder, `path` is a folder, a socket or a block device, or the
            block wrote nothing.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.stem[:100]}.{os.getpid()}-{os.urandom(4).hex()}.part{target.suffix}")
    try:
        mode = _mode_of(path)
        if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
            yield Path(path)  # not `target`: /dev/stdout leads to a pipe that has no path
            return
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", str(target))
        if not stat.S_ISREG(mode):
            raise OutputError(f"Cannot write '{path}': it is a socket or a disk. Give the name of a file.")
        yield temporary
        flush_to_disk(temporary)
        with suppress(FileNotFoundError):  # nothing to keep when there is no earlier file
            temporary.chmod(target.stat().st_mode & 0o7777)
        os.replace(temporary, target)  # noqa: PTH105 - the one function whose contract is atomicity
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_bytes_atomically(path: PathLike, data: bytes) -> None:
    """Write `data` to `path`, replacing an earlier file in one step.

    Raises:
        OutputError: The file cannot be written; an earlier file is untouched.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomically(path: PathLike, text: str) -> None:
    """Write `text` as UTF-8 to `path`, line ends as they are, replacing an earlier file in one step.

    The lone surrogates that a file name has in it when it is not UTF-8 are written as backslash, u and four digits.

    Raises:
        OutputError: The file cannot be written; an earlier file is untouched.
    """
    write_bytes_atomically(path, text.encode("utf-8", errors="backslashreplace"))


def require_writable(path: PathLike) -> None:
    """Say before the work what `atomic_path` would say after it.

    Args:
        path: The file to write.

    Raises:
        OutputError: Its folder does not exist or cannot be written to, or `path` is a folder.
    """
    try:
        mode = _mode_of(path)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        if stat.S_ISREG(mode):
            for folder in (Path(path).parent, Path(os.path.realpath(path)).parent):  # of a link the target is replaced
                _require_writable_folder(folder)
    except OSError as error:
        raise output_error(path, error) from error


def require_writable_folder(path: PathLike) -> None:
    """Say before the work what would go wrong when files are written into a folder, which need not exist yet.

    Raises:
        OutputError: It is a file, or cannot be made or written to.
    """
    place = Path(os.path.realpath(path))
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        _require_writable_folder(place)
    except OSError as error:
        raise output_error(path, error) from error


def require_free_space(path: PathLike, size_bytes: int) -> None:
    """Refuse to begin a write that cannot end.

    For writers such as HDF5's that do not fail cleanly on a full disk.

    Args:
        path: The file to write. Its folder must exist.
        size_bytes: About how large it will be.

    Raises:
        OutputError: Less is free on that disk.
    """
    try:
        free_bytes = shutil.disk_usage(Path(path).parent).free
    except OSError as error:
        raise output_error(path, error) from error
    if free_bytes < size_bytes:
        raise output_error(path, OSError(errno.ENOSPC, "No space left on device"))


def flush_to_disk(path: PathLike) -> None:
    """Wait until a written file is on the disk: without it a power cut after a rename can leave an empty file.

    Raises:
        OSError: The disk or a quota has no room after all.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_writable_folder(folder: Path) -> None:
    if not folder.exists():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, "Permission denied")


def _mode_of(path: PathLike) -> int:
    """Return the mode of a file, its links followed; that of a regular file where there is none."""
    try:
        return os.stat(path).st_mode  # noqa: PTH116 - `Path` would be made for this alone
    except FileNotFoundError:
        return stat.S_IFREG
