"""The plain types that describe a data set: one image, and the three parts that images are split into."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

GOOD = "good"
"""The value of `ImageItem.defect` for an image without a defect."""


@dataclass(frozen=True)
class ImageItem:
    """One image of a data set, not yet read. Two items are equal when name, labels and mask are.

    Attributes:
        name: Unique within the data set, with `/` as separator: the path relative to the data set's folder,
            or for arrays `part/class/index` such as "train/bag/00012".
        source: The image file, or the pixels: uint8, (H, W) grey or (H, W, 3) RGB, range 0 to 255.
        is_anomalous: The truth about this image.
        defect: "good", or the type of the defect (the folder's name in MVTec layout).
        mask: File with the defect's pixels non-zero, or None when there is none.
    """

    name: str
    source: Path | np.ndarray = field(repr=False, compare=False)
    is_anomalous: bool = False
    defect: str = GOOD
    mask: Path | None = None


@dataclass(frozen=True)
class InspectionDataset:
    """A data set split for anomaly detection: training sees good images only.

    Attributes:
        name: Short name for headings, such as "magnetic_tile_256" or "fashion-mnist, bag anomalous".
        source: The text with which `open_dataset` opens it again: an absolute folder path, "elpv" or
            "mnist:8".
        train: Good images to learn from.
        validation: Good images held back: for the threshold, the score range and the early stop.
        test: Good and anomalous images. Empty for a plain folder of good images.
        warnings: What is odd about the data without stopping the work, one sentence each.
    """

    name: str
    source: str
    train: tuple[ImageItem, ...]
    validation: tuple[ImageItem, ...]
    test: tuple[ImageItem, ...]
    warnings: tuple[str, ...] = ()

    @property
    def test_good(self) -> tuple[ImageItem, ...]:
        """The good images of the test part."""
        return tuple(item for item in self.test if not item.is_anomalous)

    @property
    def test_anomalous(self) -> tuple[ImageItem, ...]:
        """The anomalous images of the test part."""
        return tuple(item for item in self.test if item.is_anomalous)

    @property
    def num_test_by_defect(self) -> dict[str, int]:
        """Number of anomalous test images for each defect type, in the order of the test part."""
        counts: dict[str, int] = {}
        for item in self.test_anomalous:
            counts[item.defect] = counts.get(item.defect, 0) + 1
        return counts

    @property
    def has_masks(self) -> bool:
        """Whether at least one test image comes with a mask of its defect."""
        return any(item.mask is not None for item in self.test)


def fingerprint(items: Iterable[ImageItem]) -> str:
    """Return a SHA-256 that is equal exactly when names, labels and contents of the images are equal.

    The order of the items does not matter. Files are hashed as they lie on disk, not decoded; a file that
    cannot be opened counts as one with that name and no content.

    Args:
        items: Any part of a data set.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for item in sorted(items, key=lambda item: item.name):
        # A name that is not UTF-8 has lone surrogates in it; so it becomes the bytes that it is on disk.
        digest.update(f"{item.name}\0{item.defect}\0".encode("utf-8", "surrogateescape"))
        digest.update(_content_digest(item.source))
    return digest.hexdigest()


def _content_digest(source: Path | np.ndarray) -> bytes:
    if isinstance(source, np.ndarray):
        return hashlib.sha256(f"{source.shape}{source.dtype}".encode() + source.tobytes()).digest()
    try:
        return hashlib.sha256(source.read_bytes()).digest()
    except OSError:
        return b"unreadable"
