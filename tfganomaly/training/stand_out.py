"""Shows the strangest images of a finished training: defects among the good ones, mostly, where there are any.

What a model was trained on it finds less strange, a defect too. So few defects stand out far enough to be named, and a
person's look at the strangest dozen finds more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from edge_runtime.atomic_files import atomic_path, write_text_atomically
from edge_runtime.calibration import Calibration
from edge_runtime.contact_sheet import SheetTile, contact_sheet
from edge_runtime.errors import ImageError
from edge_runtime.heatmap import heatmap_overlay
from edge_runtime.preprocessing import read_image
from edge_runtime.printable_text import printable
from tfganomaly.batch_sizes import batches
from tfganomaly.data.items import ImageItem
from tfganomaly.data.loading import LoadedImages
from tfganomaly.evaluation.scorer import Scorer, score_batch
from tfganomaly.training.run_folder import RunFolder

SMALLEST_DISTANCE = 7.0
"""In standard deviations, as the usual half of the images gives them. The highest place of a map is a maximum of many,
which has a long tail: of 10,000 Gumbel-distributed values 2.5 lie further out, of normally distributed ones none."""

SMALLEST_DEVIATION = 0.001
"""Of a logarithm, so a thousandth of the value: images whose values lie closer together than this are told apart by
rounding, as the highest places of maps are where a model draws all pictures in one tone."""

MOST_SHOWN = 24
ALWAYS_SHOWN = 12
TILE_PX = 192
MOST_NAMED = 5
SMALLEST_SCORE = 1e-12
_MAD_OF_A_STANDARD_NORMAL = 0.6745


@dataclass(frozen=True)
class StrangeImage:
    """A good image that is stranger than most.

    Attributes:
        images: What it is of,
        row: and its place among these.
        distance: By how many standard deviations its raw score, or the highest place of its map, lies above the usual
            one, whichever is further; see `find_strangest`.
        is_held_back: Whether it was held back from training, so that it had a part in the threshold.
    """

    images: LoadedImages
    row: int
    distance: float
    is_held_back: bool

    @property
    def item(self) -> ImageItem:
        """The image."""
        return self.images.items[self.row]

    @property
    def stands_out(self) -> bool:
        """Whether it is so far from the others that it is named."""
        return self.distance > SMALLEST_DISTANCE


def report_stand_outs(
    folder: RunFolder, scorer: Scorer, calibration: Calibration, train: LoadedImages, validation: LoadedImages
) -> list[str]:
    """Scores all good images of a run and shows the strangest on one sheet in its folder, with a list of their paths.

    Args:
        folder: The run's; sheet and list of an earlier training in it are replaced.
        scorer: The trained model.
        calibration: Its calibration, for the heatmaps.
        train: The images that it was trained on.
        validation: The held-back ones.

    Returns:
        The sentence that names those that stand out, or says that none does.

    Raises:
        OutputError: The sheet or the list cannot be written.
    """
    strangest = find_strangest(scorer, train, validation)
    found = [one for one in strangest if one.stands_out]
    shown = strangest[:MOST_SHOWN]
    sheet = contact_sheet(
        [_tile(one, scorer, calibration) for one in shown],
        tile_px=TILE_PX,
        title=f"The {len(shown)} strangest of the good images, each with its distance from the usual; "
        f"{len(found)} of all stand out, by more than {SMALLEST_DISTANCE:g} deviations",
    )
    with atomic_path(folder.stand_out_path) as temporary:
        sheet.save(temporary)
    list_path = folder.stand_out_path.with_suffix(".json")
    _write_list(list_path, shown)
    if not found:
        return [
            f"no good image stands out by far; the {len(shown)} strangest are in {folder.stand_out_path}, their paths "
            f"in {list_path.name}. A defect that was trained on looks less strange than it is, so look at them: if "
            "they show any, move them out and train again."
        ]
    named = ", ".join(f"{printable(one.item.name)} ({one.distance:.1f})" for one in found[:MOST_NAMED])
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    num_held_back = sum(one.is_held_back for one in found)
    lifted = ""
    if num_held_back:
        which = "It was" if len(found) == 1 else f"{num_held_back} of them {'was' if num_held_back == 1 else 'were'}"
        lifted = f" {which} held back and may have lifted the threshold."
    return [
        f"{len(found)} of {len(train.items) + len(validation.items)} good images stand out, more than "
        f"{SMALLEST_DISTANCE:g} deviations from the usual: {named}{more}; look at {folder.stand_out_path}, their paths "
        f"are in {list_path.name}.{lifted} If they show defects, move them out and train again."
    ]


def find_strangest(scorer: Scorer, train: LoadedImages, validation: LoadedImages) -> list[StrangeImage]:
    """Finds the images whose score, or the highest place of whose map, is farthest above the usual one.

    Both are looked at because a model that was trained on a defect may give it a usual score and still not draw it.
    They are skewed, so their logarithms are compared; median and median absolute deviation stay where they are when
    a few of the images are defects. What was trained on scores lower than what was not, so each of the two groups
    has a median of its own; their deviation is a common one, because the held-back ones are few.

    Args:
        scorer: The trained model.
        train: The images that it was trained on.
        validation: The held-back ones, at least two.

    Returns:
        All images further out than `SMALLEST_DISTANCE`, which stand out, and at least `ALWAYS_SHOWN`, the furthest
        first.
    """
    groups = (train, validation)
    measures = [np.log(np.maximum(_scores_and_peaks(scorer, images), SMALLEST_SCORE)) for images in groups]
    excess = np.concatenate([values - np.median(values, axis=0) for values in measures])  # (N, 2)
    deviation = np.median(np.abs(excess), axis=0) / _MAD_OF_A_STANDARD_NORMAL
    usable = deviation > 0  # else more than half of the values are equal, and there is no usual distance
    distance = np.where(usable, excess / np.maximum(deviation, SMALLEST_DEVIATION), 0.0)
    found: list[StrangeImage] = []
    for row in np.argsort(-distance.max(axis=1), kind="stable"):
        images, index = (train, row) if row < len(train.items) else (validation, row - len(train.items))
        strange = StrangeImage(images, int(index), float(distance[row].max()), images is validation)
        if not strange.stands_out and len(found) >= ALWAYS_SHOWN:
            break
        found.append(strange)
    return found


def _write_list(path: Path, shown: Sequence[StrangeImage]) -> None:
    """Writes the images of the sheet in its order, with their paths: the captions have room for file names only."""
    images = [
        {
            "path": str(one.item.source) if isinstance(one.item.source, Path) else one.item.name,
            "distance": round(one.distance, 3),
            "stands_out": one.stands_out,
            "is_held_back": one.is_held_back,
        }
        for one in shown
    ]
    write_text_atomically(path, json.dumps({"limit": SMALLEST_DISTANCE, "images": images}, indent=2) + "\n")


def _scores_and_peaks(scorer: Scorer, images: LoadedImages) -> np.ndarray:
    """Returns float64 (N, 2): raw score and highest value of the map; only one batch is in memory."""
    rows = []
    for batch in batches(len(images.items), images.pixels.shape[1:]):
        scores, maps = score_batch(scorer, *images.batch(batch))
        rows.append(np.stack([scores, maps.max(axis=(1, 2))], axis=1))
    return np.concatenate(rows).astype(np.float64)


def _tile(one: StrangeImage, scorer: Scorer, calibration: Calibration) -> SheetTile:
    pixels, texture = one.images.batch(slice(one.row, one.row + 1))
    _, maps = score_batch(scorer, pixels, texture)
    try:
        picture = read_image(one.item.source)
    except ImageError:  # the file has gone since it was read
        picture = read_image(pixels[0])
    # A small picture is enlarged first, its pixels kept as squares, so that map and outline get drawn finely.
    factor = max(1, TILE_PX // max(picture.size))
    picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    drawn = heatmap_overlay(picture, maps[0], scorer.preprocessing, calibration)
    part = "held back" if one.is_held_back else "trained on"
    note = f"distance {one.distance:.1f}, limit {SMALLEST_DISTANCE:g}; {part}"
    return SheetTile(drawn, one.item.name.rpartition("/")[2], note, one.stands_out)
