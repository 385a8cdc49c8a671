"""Finds the images that a threshold is set with, and refuses folders whose images are plainly of another kind."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from edge_runtime.errors import CalibrationError
from edge_runtime.image_files import DATA_SET_PARTS, MASKS_PART, WORDS_FOR_GOOD, find_images, plain_name


def find_good_images(path: str | os.PathLike[str]) -> list[Path]:
    """Return the image files of good parts in a folder and below, or the one that is named.

    Raises:
        ImageError: As `find_images`.
        CalibrationError: The folder holds a whole data set, good parts beside others, or masks: a threshold that takes
            defects for good finds none.
    """
    images, folder = _photographs(path, "good parts, such as test/good of a data set")
    if (image := _below(images, folder, DATA_SET_PARTS)) is not None:
        raise CalibrationError(
            f"'{path}' is a whole data set, with images such as '{image.relative_to(folder)}': its defects would be "
            f"taken for good parts. Give '{folder / 'test' / 'good'}', or a folder of new good parts."
        )
    tops = {image.relative_to(folder).parts[0] for image in images}
    words = sorted(name for name in tops if plain_name(name) in WORDS_FOR_GOOD)
    if words and len(tops) > len(words):
        raise CalibrationError(
            f"'{path}' has '{words[0]}' and beside it '{min(tops.difference(words))}', which would be taken for good "
            f"parts too. Give '{folder / words[0]}', or a folder of new good parts."
        )
    return images


def find_defective_images(path: str | os.PathLike[str]) -> list[Path]:
    """Return the image files of defective parts in a folder and below, or the one that is named.

    Raises:
        ImageError: As `find_images`.
        CalibrationError: Images lie in a folder of good parts or of masks.
    """
    images, folder = _photographs(path, "defective parts, such as test/DEFECT of a data set")
    if (image := _below(images, folder, WORDS_FOR_GOOD, num_outer=1)) is not None:
        raise CalibrationError(
            f"'{image}' is given as defective, but lies in a folder of good parts. Give a folder with defective parts "
            "only, such as test/DEFECT of a data set."
        )
    return images


def _photographs(path: str | os.PathLike[str], wanted: str) -> tuple[list[Path], Path]:
    """Return the image files, and the folder that they lie in or below.

    Raises:
        ImageError: As `find_images`.
        CalibrationError: One of them is a mask; the text says that photographs of what is `wanted` are to be given.
    """
    images = find_images(path)
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    if (mask := _below(images, folder, (MASKS_PART,), num_outer=2)) is not None:
        raise CalibrationError(
            f"'{mask}' lies below '{MASKS_PART}', where masks are and no photographs. Give a folder of photographs of "
            f"{wanted}."
        )
    return images, folder


def _below(images: list[Path], folder: Path, names: Collection[str], num_outer: int = 0) -> Path | None:
    """Return the first image in a folder of such a name below `folder`, or where the innermost folders have it."""
    outer = folder.resolve().parts[-num_outer:] if num_outer else ()
    for image in images:
        if any(plain_name(part) in names for part in (*outer, *image.relative_to(folder).parts[:-1])):
            return image
    return None
