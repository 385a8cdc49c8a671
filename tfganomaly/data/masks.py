"""Find the masks that show where the defects of test images are, and check that they fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.image_files import find_images
from edge_runtime.image_reading import orientation

ASPECT_TOLERANCE = 0.02
"""A mask whose aspect ratio differs by more does not show the same picture; less comes from rounding at a resize."""

EXIF_QUARTER_TURNS = (5, 6, 7, 8)
TIFF_WIDTH, TIFF_HEIGHT = 0x0100, 0x0101


def find_masks(images: Sequence[Path], image_folder: Path, mask_folder: Path, warnings: list[str]) -> list[Path | None]:
    """Return the mask of each image, looked for as `<stem>_mask.*` and `<stem>.*`.

    Sizes are read from the files' headers. A mask of the same shape but another size is kept, as it can be
    scaled; one of another shape or one that cannot be opened is left out.

    Args:
        images: Image files of one defect type.
        image_folder: The folder that they are in, perhaps deeper.
        mask_folder: The folder of their masks, with the same folders inside. It may be missing.
        warnings: Receives one sentence for each kind of trouble.

    Returns:
        For each image its mask file, or None.
    """
    try:
        candidates = {path.relative_to(mask_folder).with_suffix(""): path for path in find_images(mask_folder)}
    except ImageError:
        candidates = {}
    if not candidates:
        if mask_folder.parent.is_dir() and images:
            warnings.append(f"ground_truth/{mask_folder.name} has no masks for its {len(images)} image(s).")
        return [None] * len(images)

    missing: list[str] = []
    unusable: list[str] = []
    scaled: list[str] = []
    masks: list[Path | None] = []
    for image in images:
        stem = image.relative_to(image_folder).with_suffix("")
        mask = candidates.pop(stem.with_name(f"{stem.name}_mask"), None) or candidates.pop(stem, None)
        if mask is None:
            missing.append(image.name)
        else:
            fit = _fit(image, mask)
            if fit == "scaled":
                scaled.append(mask.name)
            elif fit == "unusable":
                unusable.append(mask.name)
                mask = None
        masks.append(mask)

    folder = f"ground_truth/{mask_folder.name}"
    for names, text in (
        (missing, "image(s) of test/{defect} have no mask and do not count in the pixel figures"),
        (unusable, "mask(s) in {folder} cannot be opened or have another shape than their image and are left out"),
        (scaled, "mask(s) in {folder} have another size than their image and are scaled to it"),
        ([path.name for path in candidates.values()], "mask(s) in {folder} belong to no image and are ignored"),
    ):
        if names:
            sentence = text.format(folder=folder, defect=mask_folder.name)
            warnings.append(f"{len(names)} {sentence}, such as '{names[0]}'.")
    return masks


def _fit(image: Path, mask: Path) -> str:
    """Return "same", "scaled" (same shape, another size) or "unusable"; an unreadable image is not judged."""
    mask_size = upright_size(mask)
    image_size = upright_size(image)
    if mask_size is None:
        return "unusable"
    if image_size is None or image_size == mask_size:
        return "same"
    ratio = (image_size[0] * mask_size[1]) / (image_size[1] * mask_size[0])
    return "scaled" if abs(ratio - 1) <= ASPECT_TOLERANCE else "unusable"


def upright_size(source: Path | np.ndarray) -> tuple[int, int] | None:
    """Return width and height from a file's header, turned as EXIF says; None when it cannot be opened.

    Of pixels, (H, W) or (H, W, C), their own. What a PNG says of its orientation only behind its pixels is not seen.
    """
    if isinstance(source, np.ndarray):
        return source.shape[1], source.shape[0]
    try:
        with Image.open(source) as image:
            width, height = image.size
            if hasattr(image, "tag_v2"):  # by its version Pillow has turned the size of a TIFF already, or has not
                width, height = image.tag_v2[TIFF_WIDTH], image.tag_v2[TIFF_HEIGHT]
            return (height, width) if orientation(image) in EXIF_QUARTER_TURNS else (width, height)
    except Exception:  # Pillow's plugins raise a dozen kinds for a damaged header
        return None
