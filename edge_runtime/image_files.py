"""Finds the image files that a user means by the paths he gives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from edge_runtime.errors import ImageError

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)

MASKS_PART = "ground_truth"
DATA_SET_PARTS = ("train", "test", MASKS_PART)
"""The folders of a data set in MVTec layout."""

WORDS_FOR_GOOD = (
    *("good", "ok", "okay", "normal", "pass", "passed", "negative"),
    *("no_defect", "no_defects", "defect_free", "nondefective", "non_defective"),
)
"""What people name a folder of good parts; see `plain_name`."""


def find_images(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the image files among and below `paths`.

    Folders are searched with all their sub-folders, links to folders excepted; hidden files and folders (a
    leading dot) are passed over. In a folder a file counts as an image by its suffix; a file that is named by
    itself is always taken, so that reading it can say what is wrong with it.

    Args:
        paths: A file or a folder, or several.

    Returns:
        Each file once, in the order of `paths`, and in natural order (2 before 10) inside a folder.

    Raises:
        ImageError: A path does not exist, a folder cannot be read, or a folder holds no image.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found.update(dict.fromkeys(_images_in_folder(path)))
        elif path.exists():
            found[path] = None
        else:
            raise ImageError(f"'{path}' does not exist. Give image files or folders that hold images.")
    if not found:
        raise ImageError("No image was given. Give image files or folders that hold images.")
    return list(found)


def plain_name(name: str) -> str:
    """Return a folder's name in small letters, with `_` for blanks and hyphens."""
    return name.lower().replace("-", "_").replace(" ", "_")


def natural_order(path: str | os.PathLike[str]) -> list[tuple[int, int, str]]:
    """Return a sorting key by which `part2.png` stands before `part10.png`, and a folder's files stay together."""
    key: list[tuple[int, int, str]] = []
    for part in Path(path).parts:
        pieces = re.split("([0-9]+)", part.lower())
        key += [(1, int(piece), "") if piece.isdecimal() else (2, 0, piece) for piece in pieces if piece]
        key.append((0, 0, part))
    return key


def _images_in_folder(folder: Path) -> list[Path]:
    images: list[Path] = []
    num_others = 0
    for parent, folder_names, file_names in os.walk(folder, onerror=_refuse):
        folder_names[:] = [name for name in folder_names if not name.startswith(".")]
        visible = [name for name in file_names if not name.startswith(".")]
        chosen = [Path(parent, name) for name in visible if Path(name).suffix.lower() in IMAGE_SUFFIXES]
        images += chosen
        num_others += len(visible) - len(chosen)
    if not images:
        content = f"holds no images, only {num_others} other file(s)" if num_others else "is empty"
        raise ImageError(f"Folder '{folder}' {content}. Files with {', '.join(sorted(IMAGE_SUFFIXES))} were expected.")
    return sorted(images, key=natural_order)


def _refuse(error: OSError) -> None:
    raise ImageError(f"Folder '{error.filename}' cannot be read: {error.strerror or error}.") from error
