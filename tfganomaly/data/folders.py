"""Open a folder of photographs: MVTec layout, or good images only.

MVTec layout, where `ground_truth` is optional and every mask as well:

    train/good/*.png                       good images to train on
    test/good/*.png                        good images to test with
    test/<defect>/*.png                    anomalous images, the folder's name is the type of the defect
    ground_truth/<defect>/*_mask.png       the defect's pixels non-zero; `<stem>_mask` or the same name as the
    image

Any other folder is taken as good images only, subfolders included; there is no test part then. For an evaluation
alone `train` may be missing beside `test`. A validation
part is held back from the good images in both cases: in contiguous runs of their natural order (see
`hold_out_runs`), or by whole blocks where the folder has a `blocks.csv` with the columns `file` and `block`
that says which images belong together, such as all photographs of one tile.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import ImageError
from edge_runtime.image_files import (
    DATA_SET_PARTS,
    MASKS_PART,
    WORDS_FOR_GOOD,
    find_images,
    natural_order,
    plain_name,
)
from tfganomaly.data.copies import find_copies
from tfganomaly.data.hold_out import hold_out_blocks, hold_out_runs
from tfganomaly.data.items import GOOD, ImageItem, InspectionDataset
from tfganomaly.data.masks import find_masks
from tfganomaly.data.misplaced_masks import check_misplaced_masks
from tfganomaly.errors import DataError

LAYOUT = "train/good with good images, and optionally test/good, test/<defect> and ground_truth/<defect>"
BLOCKS_FILE = "blocks.csv"


def open_folder(
    folder: Path, *, validation_fraction: float | None = None, seed: int = 0, for_evaluation: bool = False
) -> InspectionDataset:
    """Open a folder of photographs. Images are found, not decoded.

    Args:
        folder: In MVTec layout, or holding good images only.
        validation_fraction: Share of the good training images to hold back, 0 < fraction < 1; None:
            a tenth, and more of few images (`hold_out.held_back_count`).
        seed: Chooses what is held back.
        for_evaluation: Whether a test part without images to train on is enough.

    Returns:
        The data set; what is odd but no obstacle is in its `warnings`.

    Raises:
        DataError: The folder is missing, empty or mixed up, or has too few good images.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise DataError(f"'{folder}' is {'a file' if folder.exists() else 'missing'}; expected a folder of images.")
    warnings: list[str] = []
    if for_evaluation and (folder / "test").is_dir() and not (folder / "train").is_dir():
        return InspectionDataset(folder.name, str(folder), (), (), tuple(_read_test(folder, warnings)), tuple(warnings))
    if _is_layout(folder):
        good, test = _read_layout(folder, warnings)
    else:
        good, test = _read_good_only(folder, warnings), []
    _warn_of_links(folder, warnings)
    _warn_of_copies(folder, good, test, warnings)
    blocks = _read_blocks(folder, warnings)
    if blocks and _lists_some(blocks, good, warnings):
        train, validation = hold_out_blocks(good, [_block(blocks, item) for item in good], validation_fraction, seed)
        _warn_of_shared_blocks(blocks, good, test, warnings)
    else:
        train, validation = hold_out_runs(good, validation_fraction, seed)
    return InspectionDataset(
        name=folder.name,
        source=str(folder),
        train=tuple(train),
        validation=tuple(validation),
        test=tuple(test),
        warnings=tuple(warnings),
    )


def refuse_output_among_images(source: str, output: Path, flag: str) -> None:
    """Refuse to write pictures where the next look for images would take them for photographs of good parts.

    Args:
        source: `InspectionDataset.source` of the images; a named data set has no folder.
        output: The file or folder that is to be written.
        flag: The option that names it, for the message.

    Raises:
        DataError: It lies in a folder from which images are taken.
    """
    folder = Path(source)
    if not folder.is_absolute():
        return
    place = Path(os.path.realpath(output))  # `resolve` raises where links lead in a circle
    for taken in [folder / part for part in DATA_SET_PARTS] if _is_layout(folder) else [folder]:
        if place.is_relative_to(taken):
            raise DataError(
                f"{flag} is '{output}', inside '{taken}', from which images are taken: the pictures written there "
                "would be taken for photographs of parts the next time. Name a place outside of that folder."
            )


def _is_layout(folder: Path) -> bool:
    return any((folder / part).is_dir() for part in DATA_SET_PARTS)


def _read_layout(folder: Path, warnings: list[str]) -> tuple[list[ImageItem], list[ImageItem]]:
    """Return the good training images and the test images of a folder in MVTec layout."""
    if not (folder / "train").is_dir():
        raise DataError(
            f"'{folder}' has {_listed(folder)} but no 'train', and nothing to train on. Expected {LAYOUT}; or give a "
            "folder of good images alone."
        )
    good_folder = folder / "train" / GOOD
    beside = [path for path in _images(folder / "train") if good_folder not in path.parents]
    if not good_folder.is_dir():
        found = f"{len(beside)} images" if beside else "no images"
        raise DataError(
            f"'{folder / 'train'}' has {found} and no folder 'good' (it has {_listed(folder / 'train')}). "
            "Training uses good images only: move them to train/good."
        )
    if beside:
        raise DataError(
            f"'{folder / 'train'}' has {len(beside)} images outside its folder 'good' (the first is "
            f"'{beside[0].relative_to(folder)}'). Move good ones to train/good and defective ones to test/<defect>."
        )
    good = [_item(folder, path) for path in _images(good_folder)]
    if not good:
        raise DataError(f"'{good_folder}' holds no images{_other_files(good_folder)}. Expected {LAYOUT}.")
    check_misplaced_masks([Path(item.name) for item in good], warnings)
    ignored = [path for path in _images(folder) if path.parent == folder]
    if ignored:
        warnings.append(f"{len(ignored)} image(s) beside the folder 'train' are ignored, such as '{ignored[0].name}'.")
    others = [path.name for path in _subfolders(folder) if path.name not in DATA_SET_PARTS and _images(path)]
    if others:
        warnings.append(f"The images in {_shortened(others)} beside the folder 'train' are ignored. Expected {LAYOUT}.")
    return good, _read_test(folder, warnings)


def _read_test(folder: Path, warnings: list[str]) -> list[ImageItem]:
    test_folder = folder / "test"
    if not test_folder.is_dir():
        return []
    unsorted = [path for path in _images(test_folder) if path.parent == test_folder]
    if unsorted:
        raise DataError(
            f"'{test_folder}' has {len(unsorted)} images outside its folders (the first is '{unsorted[0].name}'), so "
            "it is not known whether they are good. Move them to test/good or test/<defect>."
        )
    test = [_item(folder, path) for path in _images(test_folder / GOOD)]
    if not test:
        warnings.append(
            "test/good has no images: AUROC and false alarm rate cannot be measured. Add good images that were not "
            "trained on."
        )
    num_good = len(test)
    for defect_folder in _subfolders(test_folder):
        if defect_folder.name == GOOD:
            continue
        if plain_name(defect_folder.name) in WORDS_FOR_GOOD:
            raise DataError(
                f"'{test_folder}' has a folder '{defect_folder.name}', which would be taken for a type of defect. Name "
                f"it '{GOOD}' if its images are good, or by the defect that they show."
            )
        images = _images(defect_folder)
        if not images:
            warnings.append(f"test/{defect_folder.name} has no images and is left out.")
        masks = find_masks(images, defect_folder, folder / MASKS_PART / defect_folder.name, warnings)
        test += [_item(folder, path, defect_folder.name, mask) for path, mask in zip(images, masks, strict=True)]
    check_misplaced_masks([Path(item.name) for item in test], warnings)
    if len(test) == num_good:
        warnings.append("The test part has no defective images: only the false alarm rate can be measured.")
    return test


def _read_good_only(folder: Path, warnings: list[str]) -> list[ImageItem]:
    subfolders = _subfolders(folder)
    collection = [path.name for path in subfolders if (path / "train").is_dir()]
    if collection:
        raise DataError(
            f"'{folder}' is a collection of {len(collection)} data sets ({_shortened(collection)}). "
            f"Give one of them, such as '{folder / collection[0]}'."
        )
    images = _images(folder)
    if not images:
        raise DataError(f"'{folder}' holds no images{_other_files(folder)}. Expected good images, or {LAYOUT}.")
    parts = Counter(path.relative_to(folder).parts[0] for path in images if path.parent != folder)
    loose = len(images) - sum(parts.values())
    for name in parts:
        if name.lower() in ("train", "test") and name not in ("train", "test"):
            raise DataError(
                f"'{folder}' has a folder '{name}'; the names are written in small letters. Expected {LAYOUT}."
            )
    words = [name for name in parts if plain_name(name) in WORDS_FOR_GOOD]
    others = [name for name in parts if name not in words] + ([f"{loose} images"] if loose else [])
    if words and others:
        raise DataError(
            f"'{folder}' has '{words[0]}' and beside it {_shortened(others)}, but no 'train', so it is not known which "
            f"images are good. Give '{folder / words[0]}' to train on all of it, or arrange the folder: {LAYOUT}; for "
            "an evaluation test/good and test/<defect> are enough."
        )
    check_misplaced_masks([path.relative_to(folder) for path in images], warnings)
    if len(parts) + bool(loose) > 1:
        warnings.append(
            f"All {len(images)} images in {_shortened(list(parts))} are taken as good, as there is no folder 'train'."
        )
    return [_item(folder, path) for path in images]


def _item(folder: Path, path: Path, defect: str = GOOD, mask: Path | None = None) -> ImageItem:
    name = path.relative_to(folder).as_posix()
    return ImageItem(name, path, is_anomalous=defect != GOOD, defect=defect, mask=mask)


def _images(folder: Path) -> list[Path]:
    """Return the images in a folder and its subfolders in natural order; none when it is empty or missing."""
    try:
        return find_images(folder)
    except ImageError as error:
        if isinstance(error.__cause__, OSError):  # no permission, a failing disk
            raise DataError(str(error)) from error
        return []


def _warn_of_copies(folder: Path, good: Sequence[ImageItem], test: Sequence[ImageItem], warnings: list[str]) -> None:
    copies = find_copies(*([folder / item.name for item in part] for part in (good, test)))
    if copies:
        warnings.append(
            f"Of {len(test)} test images {len(copies)} can be found in train as well, such as "
            f"'{copies[0].relative_to(folder).as_posix()}': figures of what the model has seen say nothing of new "
            "parts. Take copies out of one of the two."
        )


def _warn_of_links(folder: Path, warnings: list[str]) -> None:
    """Say that linked folders are not searched, except where the layout itself names them."""
    roots = [folder]
    if _is_layout(folder):
        roots = [folder / "train" / GOOD, *(_subfolders(folder / "test") if (folder / "test").is_dir() else [])]
    links = [
        path
        for root in roots
        for parent, names, _ in os.walk(root)
        for name in names
        if not name.startswith(".") and (path := Path(parent, name)).is_symlink()
    ]
    if links:
        warnings.append(
            f"{len(links)} linked folder(s) are not followed, such as '{links[0].relative_to(folder)}'. Copy their "
            "images, or give their own folder."
        )


def _subfolders(folder: Path) -> list[Path]:
    folders = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    return sorted(folders, key=natural_order)


def _listed(folder: Path) -> str:
    return _shortened([path.name for path in _subfolders(folder)]) or "no folders"


def _other_files(folder: Path) -> str:
    suffixes = Counter(sorted(path.suffix.lower() or "no suffix" for path in folder.rglob("*") if path.is_file()))
    listed = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(3))
    return f", only other files ({listed})" if suffixes else ""


def _shortened(names: Sequence[str], limit: int = 5) -> str:
    listed = ", ".join(f"'{name}'" if " images" not in name else name for name in names[:limit])
    return f"{listed} and {len(names) - limit} more" if len(names) > limit else listed


def _read_blocks(folder: Path, warnings: list[str]) -> dict[str, str]:
    """Return the block of each file by its name as `blocks.csv` has it; empty without a usable file."""
    path = folder / BLOCKS_FILE
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return {row["file"].replace("\\", "/"): row["block"] for row in csv.DictReader(stream)}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        reason = f"no column {error}" if isinstance(error, KeyError) else str(error)
        warnings.append(f"{BLOCKS_FILE} is not used ({reason}); expected the columns 'file' and 'block'.")
        return {}


def _lists_some(blocks: dict[str, str], good: Sequence[ImageItem], warnings: list[str]) -> bool:
    """Tell whether blocks are of use: with all good images unlisted near twins would stand on both sides."""
    unlisted = [item.name for item in good if _listed_block(blocks, item) is None]
    if unlisted:
        consequence = (
            "so it is not used, and runs of neighbours are held back"
            if len(unlisted) == len(good)
            else "and each of these counts as a block by itself"
        )
        warnings.append(
            f"Not listed in {BLOCKS_FILE}: {len(unlisted)} of {len(good)} good images, such as '{unlisted[0]}', "
            f"{consequence}. Expected in its column 'file' are names as they are here."
        )
    return len(unlisted) < len(good)


def _listed_block(blocks: dict[str, str], item: ImageItem) -> str | None:
    """Return the block of an image, by relative path or file name."""
    return blocks.get(item.name) or blocks.get(Path(item.name).name)


def _block(blocks: dict[str, str], item: ImageItem) -> str:
    """Return the block of an image; one that is not listed is one by itself."""
    return _listed_block(blocks, item) or f"file {item.name}"


def _warn_of_shared_blocks(
    blocks: dict[str, str], good: Sequence[ImageItem], test: Sequence[ImageItem], warnings: list[str]
) -> None:
    shared = {_block(blocks, item) for item in good} & {_block(blocks, item) for item in test}
    if shared:
        warnings.append(
            f"{len(shared)} block(s) of {BLOCKS_FILE} stand in both train and test, such as '{min(shared)}': results "
            "will look better than they are."
        )
