"""Lists the images in a folder and below: which count, what is passed over, how they are sorted."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from edge_runtime.image_files import IMAGE_SUFFIXES

# Deleted since it was listed, a link in a circle, a sub-folder that is not for us: passed over. Anything else, such as
# an input/output error, is an outage.
_HARMLESS_IN_A_LISTING = (errno.ENOENT, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENOTDIR)
_NUMBER = re.compile("([0-9]+)")


def images_below(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield path and state of every image in a folder and below.

    Raises:
        OSError: The folder is away, or a part of it cannot be read for another reason than that it is not for us.
    """
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
                            continue
                        status = entry.stat() if _has_image_suffix(entry.name) else None
                    except OSError as error:
                        if error.errno not in _HARMLESS_IN_A_LISTING:
                            raise
                        continue
                    if status is not None:
                        yield entry.path, status
        except OSError as error:
            if folder == root or error.errno not in _HARMLESS_IN_A_LISTING:
                raise


def is_listed_image(path_below_root: str) -> bool:
    """Return whether `images_below` would yield a file with this path below its root: hidden ones are passed over."""
    return not is_hidden(path_below_root) and _has_image_suffix(path_below_root)


def is_hidden(path_below_root: str) -> bool:
    """Return whether a file or a folder that it lies in begins with a dot."""
    return any(part.startswith(".") for part in Path(path_below_root).parts)


def listing_order(path: str) -> str:
    """Return a sorting key that sorts as `image_files.natural_order` does, for a fraction of its time and memory.

    With a hundred thousand files that fraction counts. Zero bytes, which no path has, end what would sort wrongly when
    it goes on with another piece.
    """
    folder, _, name = path.rpartition(os.sep)
    return _folder_order(folder) + _part_order(name)


@lru_cache(maxsize=64)
def _folder_order(folder: str) -> str:
    return "".join(map(_part_order, Path(folder).parts))


def _part_order(part: str) -> str:
    pieces = _NUMBER.split(part.lower())
    # Text and numbers take turns, text first. Numbers sort before text, and by their length before their digits.
    for position, piece in enumerate(pieces):
        if position % 2:
            digits = piece.lstrip("0")
            pieces[position] = f"\x01{len(digits):03d}{digits}"
        elif piece:
            pieces[position] = f"\x02{piece}\0"
    return "".join(pieces) + f"\0{part}"


def _has_image_suffix(name: str) -> bool:
    stem, dot, suffix = name.rpartition(".")
    return bool(stem) and f"{dot}{suffix.lower()}" in IMAGE_SUFFIXES
