"""Notices masks that lie among the photographs, where they would be taken for photographs themselves."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.image_files import MASKS_PART
from tfganomaly.errors import DataError

_MASK_STEM = re.compile(r"(?P<stem>.+?)[-_. ]?(mask|gt|label|seg)", re.IGNORECASE)


def check_misplaced_masks(images: Sequence[Path], warnings: list[str]) -> None:
    """Look for masks beside the images that they belong to, such as `part1_GT.png` beside `part1.jpg`.

    Args:
        images: Files that are about to be taken as photographs.
        warnings: Gets a sentence where it is not certain.

    Raises:
        DataError: At least half of the images of a folder have a mask beside them.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in images:
        folders[path.parent].append(path)
    for folder, paths in folders.items():
        _check_named_masks(folder, paths, warnings)
        _check_same_names(folder, paths, warnings)


def _check_named_masks(folder: Path, paths: Sequence[Path], warnings: list[str]) -> None:
    by_stem = {path.stem: path for path in paths}
    pairs = [
        (by_stem[found["stem"]], path)
        for path in paths
        if (found := _MASK_STEM.fullmatch(path.stem)) and found["stem"] in by_stem
    ]
    if not pairs:
        return
    image, mask = pairs[0]
    what = f"{len(pairs)} of {len(paths)} images in '{folder}' look like masks, such as '{mask.name}' of '{image.name}'"
    if 2 * len(pairs) >= len(paths) - len(pairs):
        raise DataError(
            f"{what}. They would be taken for photographs: move those of test images to {MASKS_PART}/<defect>, named "
            "like the image or with _mask behind its name, and the others out of the folder."
        )
    warnings.append(f"{what}. They are taken as photographs; move them out of the folder if they are masks.")


def _check_same_names(folder: Path, paths: Sequence[Path], warnings: list[str]) -> None:
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        by_stem[path.stem].append(path)
    twice = [same for same in by_stem.values() if len({path.suffix.lower() for path in same}) > 1]
    if 2 * len(twice) > len(by_stem):
        first, second = sorted(twice[0])[:2]
        warnings.append(
            f"Most images in '{folder}' are there twice under one name, such as '{first.name}' and '{second.name}'. If "
            f"half of them are masks, move these to {MASKS_PART}/<defect>; all are taken as photographs now."
        )
