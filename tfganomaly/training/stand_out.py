"""Shows the strangest images of a finished training: defects among the good ones, mostly, where there are any.

What a model was trained on it finds less strange, a defect too. So few defects stand out far enough to be named, and a
person's look at the strangest dozen finds more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from edge_runtime.atomic_files import atomic_path
from edge_runtime.calibration import Calibration
from edge_runtime.contact_sheet import SheetTile, contact_sheet
from edge_runtime.errors import ImageError
from edge_runtime.heatmap import heatmap_overlay
from edge_runtime.preprocessing import read_image
from tfganomaly.data.items import ImageItem
from tfganomaly.data.loading import LoadedImages
from tfganomaly.evaluation.scorer import BATCH_SIZE, Scorer, score_batch
from tfganomaly.training.run_folder import RunFolder

SMALLEST_DISTANCE = 7.0
"""In standard deviations, as the usual half of the images gives them. The highest place of a map is a maximum of many,
which has a long tail: of 10,000 Gumbel-distributed values 2.5 lie further out, of normally distributed ones none."""

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
        times_usual: Its raw score over the median one, or the highest place of its map over the median one, whichever
            stands out more.
        stands_out: Whether it is so far from the others that it is named.
        is_held_back: Whether it was held back from training, so that it had a part in the threshold.
    """

    images: LoadedImages
    row: int
    times_usual: float
    stands_out: bool
    is_held_back: bool

    @property
    def item(self) -> ImageItem:
        """The image."""
        return self.images.items[self.row]


def report_stand_outs(
    folder: RunFolder, scorer: Scorer, calibration: Calibration, train: LoadedImages, validation: LoadedImages
) -> list[str]:
    """Scores all good images of a run and shows the strangest on one sheet in its folder.

    Args:
        folder: The run's; the sheet of an earlier training in it is replaced.
        scorer: The trained model.
        calibration: Its calibration, for the heatmaps.
        train: The images that it was trained on.
        validation: The held-back ones.

    Returns:
        The sentence that names those that stand out, or says that none does.

    Raises:
        OutputError: The sheet cannot be written.
    """
    strangest = find_strangest(scorer, train, validation)
    found = [one for one in strangest if one.stands_out]
    shown = strangest[:MOST_SHOWN]
    sheet = contact_sheet(
        [_tile(one, scorer, calibration) for one in shown],
        tile_px=TILE_PX,
        title=f"The {len(shown)} strangest of the good images; {len(found)} of all stand out from the others",
    )
    with atomic_path(folder.stand_out_path) as temporary:
        sheet.save(temporary)
    if not found:
        return [
            f"no good image stands out by far; the {len(shown)} strangest are in {folder.stand_out_path}. A defect "
            "that was trained on looks less strange than it is, so look at them: if they show any, move them out and "
            "train again."
        ]
    named = ", ".join(f"{one.item.name} ({one.times_usual:.1f} times the usual)" for one in found[:MOST_NAMED])
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    num_held_back = sum(one.is_held_back for one in found)
    lifted = ""
    if num_held_back:
        which = "It was" if len(found) == 1 else f"{num_held_back} of them {'was' if num_held_back == 1 else 'were'}"
        lifted = f" {which} held back and may have lifted the threshold."
    return [
        f"{len(found)} of {len(train.items) + len(validation.items)} good images stand out: {named}{more}; look at "
        f"{folder.stand_out_path}.{lifted} If they show defects, move them out and train again."
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
    distance = np.where(usable, excess / np.where(usable, deviation, 1), 0.0)
    found: list[StrangeImage] = []
    for row in np.argsort(-distance.max(axis=1), kind="stable"):
        measure = int(distance[row].argmax())
        stands_out = bool(distance[row, measure] > SMALLEST_DISTANCE)
        if not stands_out and len(found) >= ALWAYS_SHOWN:
            break
        images, index = (train, row) if row < len(train.items) else (validation, row - len(train.items))
        found.append(
            StrangeImage(
                images,
                int(index),
                float(np.exp(excess[row, measure])),
                stands_out,
                images is validation,
            )
        )
    return found


def _scores_and_peaks(scorer: Scorer, images: LoadedImages) -> np.ndarray:
    """Returns float64 (N, 2): raw score and highest value of the map; only one batch is in memory."""
    rows = []
    for start in range(0, len(images.items), BATCH_SIZE):
        scores, maps = score_batch(scorer, *images.batch(slice(start, start + BATCH_SIZE)))
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
    return SheetTile(drawn, one.item.name, f"{one.times_usual:.1f} times the usual, {part}", one.stands_out)
