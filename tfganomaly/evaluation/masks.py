"""Masks: reads the truth about an image's pixels and lays the anomaly map over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.image_reading import load_upright
from edge_runtime.preprocessing import Preprocessing, read_image
from tfganomaly.evaluation.pixel_metrics import PixelMetrics, choose_thresholds, label_regions, pixel_metrics
from tfganomaly.evaluation.projection import to_picture
from tfganomaly.evaluation.scorer import ScoredImages

MAX_JUDGED_SIDE_PX = 512
"""Pixels are judged at the picture's own resolution, larger pictures at this longest side: bounds the time."""

_RIFF_HEADER_BYTES = 12
_CHUNK_HEADER_BYTES = 8
_FRAME_HEADER_BYTES = 16


@dataclass
class MaskFindings:
    """What came up while the masks were read; numbers of anomalous images unless said otherwise.

    Attributes:
        num_judged: Their mask was used.
        num_missing: They have no mask.
        num_empty: Their mask has no defect pixel.
        num_hidden_regions: Number of defect regions wholly where the model does not look ("crop").
        unreadable: What is wrong with each mask that cannot be read.
    """

    num_judged: int = 0
    num_missing: int = 0
    num_empty: int = 0
    num_hidden_regions: int = 0
    unreadable: list[str] = field(default_factory=list)

    def warnings(self) -> list[str]:
        """Returns what the reader of pixel metrics should know, one sentence each."""
        left_out = [
            f"{count} {reason}"
            for count, reason in (
                (self.num_missing, "without a mask"),
                (self.num_empty, "with an empty mask"),
                (len(self.unreadable), "with a mask that cannot be read"),
            )
            if count
        ]
        found: list[str] = []
        if left_out:
            num_anomalous = self.num_judged + self.num_missing + self.num_empty + len(self.unreadable)
            found.append(
                f"The pixel figures judge {self.num_judged} of {num_anomalous} anomalous images; left out: "
                f"{', '.join(left_out)}." + (f" The first: {self.unreadable[0]}" if self.unreadable else "")
            )
        if self.num_hidden_regions:
            found.append(
                f"{self.num_hidden_regions} defect regions lie wholly outside the centre that the resize rule "
                '"crop" shows the model: it cannot find them, and the pixel figures leave them out. '
                'Train with "stretch" or "letterbox" to see the whole picture.'
            )
        return found


def read_mask(path: Path) -> np.ndarray:
    """Reads the mask of one image.

    Args:
        path: An image file in which every non-zero pixel is defect, whatever the number (0/1, 0/255 or a class
            number). In a JPEG or a lossy WebP, whose zeros are never quite zero, it is every pixel above 127. In a
            picture with a palette every colour but black is defect; where no pixel is black, every class number but 0.

    Returns:
        (H, W) bool, True = defect.

    Raises:
        ImageError: The file is missing or no image.
    """
    picture = read_image(path)
    with Image.open(path) as stored:
        if stored.format in ("JPEG", "MPO") or (stored.format == "WEBP" and _is_lossy_webp(path)):
            return np.asarray(picture.convert("L")) > 127
        if stored.mode.startswith("I"):  # 16 bits, of which `read_image` keeps the upper 8: class numbers would be lost
            return np.asarray(load_upright(stored)) > 0
        values = np.asarray(picture)
        is_defect = np.any(values > 0, axis=2) if values.ndim == 3 else values > 0
        if stored.mode == "P" and is_defect.all():
            return np.asarray(load_upright(stored)) > 0
    return is_defect


def _is_lossy_webp(path: Path) -> bool:
    """Whether the first picture in a WebP file is one of the lossy kind, by the chunks of the file."""
    content = path.read_bytes()
    position = _RIFF_HEADER_BYTES
    while position + _CHUNK_HEADER_BYTES <= len(content):
        kind, size = content[position : position + 4], int.from_bytes(content[position + 4 : position + 8], "little")
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8 "
        inside = _FRAME_HEADER_BYTES if kind == b"ANMF" else size + size % 2  # a frame of a film has chunks within it
        position += _CHUNK_HEADER_BYTES + inside
    return True


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a mask so that no defect region gets lost: a pixel is defect when any of it was.

    Args:
        mask: (H, W) bool.
        size: (width, height) in pixels.

    Returns:
        (height, width) bool.
    """
    if (mask.shape[1], mask.shape[0]) == size:
        return mask
    covered = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX)
    return np.asarray(covered) > 0


def judge_pixels(scored: ScoredImages, preprocessing: Preprocessing) -> tuple[PixelMetrics | None, MaskFindings]:
    """Computes the pixel metrics with each map laid over its picture.

    Maps are enlarged to the picture's own resolution (at most `MAX_JUDGED_SIDE_PX`), undoing the resize rule;
    judging at the model's small input instead would blur thin defects out of the truth and flatter the model. A mask
    of another size than its picture is scaled to it (`open_dataset` warns). Good images count as wholly normal.
    Anomalous images whose mask is missing, empty or unreadable are left out, because nobody said which of their
    pixels are normal.

    Args:
        scored: Images with their maps.
        preprocessing: The model's.

    Returns:
        The metrics, or `None` when there is no usable mask; and what came up.
    """
    findings = MaskFindings()
    if not scored.maps:
        findings.num_missing = sum(item.is_anomalous for item in scored.items)
        return None, findings
    thresholds = choose_thresholds(scored.maps)
    metrics = pixel_metrics(_maps_and_masks(scored, scored.maps, preprocessing, findings), thresholds)
    return (metrics if findings.num_judged else None), findings


def _maps_and_masks(
    scored: ScoredImages, maps: Sequence[np.ndarray], preprocessing: Preprocessing, findings: MaskFindings
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for item, anomaly_map, image_size in zip(scored.items, maps, scored.image_sizes, strict=True):
        judged_size = _judged_size(image_size)
        if item.is_anomalous:
            mask = _usable_mask(item.mask, judged_size, findings)
            if mask is None:
                continue
        else:
            mask = np.zeros((judged_size[1], judged_size[0]), dtype=bool)
        laid_over = to_picture(anomaly_map, preprocessing, image_size, judged_size)
        if preprocessing.resize_rule == "crop":
            rows, columns = _seen_part(laid_over)
            findings.num_hidden_regions += label_regions(mask)[1] - _num_touched(mask, rows, columns)
            laid_over, mask = laid_over[rows, columns], mask[rows, columns]
        yield laid_over, mask


def _usable_mask(path: Path | None, judged_size: tuple[int, int], findings: MaskFindings) -> np.ndarray | None:
    if path is None:
        findings.num_missing += 1
        return None
    try:
        mask = read_mask(path)
    except ImageError as error:
        findings.unreadable.append(str(error))
        return None
    if not mask.any():
        findings.num_empty += 1
        return None
    findings.num_judged += 1
    return resize_mask(mask, judged_size)


def _judged_size(image_size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, MAX_JUDGED_SIDE_PX / max(image_size))
    return max(1, round(image_size[0] * scale)), max(1, round(image_size[1] * scale))


def _seen_part(laid_over: np.ndarray) -> tuple[slice, slice]:
    seen = ~np.isnan(laid_over)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _num_touched(mask: np.ndarray, rows: slice, columns: slice) -> int:
    inside = label_regions(mask)[0][rows, columns]
    return int(np.unique(inside[inside > 0]).size)
