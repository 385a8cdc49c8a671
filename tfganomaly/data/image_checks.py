"""Tells what is odd about images that can all be read: shapes, sizes, grey levels, copies, blank pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from edge_runtime.errors import ImageError
from edge_runtime.preprocessing import Preprocessing, read_image
from tfganomaly.data.items import ImageItem
from tfganomaly.data.loading import LoadedImages
from tfganomaly.data.masks import upright_size

MOST_ENLARGED = 1.5
"""Images that are enlarged by more than this in both directions lack detail that the model could see."""

MOST_DIFFERENT_SHAPES = 1.5
"""The widest image's aspect ratio over the narrowest one's, from which on a person should hear of it."""

MOST_REDUCED = 8
"""Images that are reduced by more than this in width or height lose small defects; MVTec's lie at it, not above."""

LEAST_FILLED = 1 / 3
"""Share of the model's square that a picture fills, below which it is said."""

FEWEST_LEVELS = 24
"""Grey levels between an image's darkest and brightest thousandth, of 255; 12 bits stored in 16 have 16 at most."""

NUM_SAMPLED_LEVELS = 32

FEW_TRAINING_IMAGES = 100

FEWEST_COPIES = 0.05
"""From this share of exact copies on they are said."""

NamedSize = tuple[str, tuple[int, int]]
"""An image's name with its width and height in pixels."""


def check_images(train: LoadedImages, validation: LoadedImages, preprocessing: Preprocessing) -> list[str]:
    """Look at good images for what makes a training worth less than it looks, and stops nothing.

    Args:
        train: The images to train on, at least one.
        validation: The held-back ones.
        preprocessing: The model's.

    Returns:
        One sentence for each oddity; none for usual images.
    """
    items = (*train.items, *validation.items)
    sized = [(item.name, size) for item in items if (size := upright_size(item.source)) is not None]
    return [
        *_check_number(train),
        *_check_shapes(sized, preprocessing),
        *_check_reduction(sized, preprocessing),
        *_check_levels(items),
        *_check_copies(train, validation),
        *_check_blank(train, validation),
    ]


def _check_number(train: LoadedImages) -> list[str]:
    if len(train.items) >= FEW_TRAINING_IMAGES:
        return []
    return [
        f"Only {len(train.items)} images to train on: expect plain defects to be found and faint ones to drown in the "
        "ordinary differences between good parts. Some hundred images make a better model."
    ]


def _check_shapes(sized: Sequence[NamedSize], preprocessing: Preprocessing) -> list[str]:
    if not sized:
        return []
    found = []
    target = f"{preprocessing.width} x {preprocessing.height}"
    small = [
        (name, size)
        for name, size in sized
        if min(preprocessing.width / size[0], preprocessing.height / size[1]) > MOST_ENLARGED
    ]
    if small:
        name, (width, height) = min(small, key=lambda entry: entry[1])
        found.append(
            f"{len(small)} of {len(sized)} images are much smaller than the model's {target} pixels, such as '{name}' "
            f"with {width} x {height}: they are enlarged, which adds no detail. A smaller --image-size does as well."
        )
    narrowest = min(sized, key=lambda entry: entry[1][0] / entry[1][1])[1]
    widest = max(sized, key=lambda entry: entry[1][0] / entry[1][1])[1]
    difference = (widest[0] * narrowest[1]) / (widest[1] * narrowest[0])
    if preprocessing.resize_rule == "letterbox" and not (narrowest[0] < narrowest[1] and widest[0] > widest[1]):
        return found  # the whole picture in its own proportions, always laid into the square in the same way
    consequence = {
        "stretch": "are stretched to one shape, each in its own way. --resize-rule letterbox keeps their proportions",
        "crop": "are cut to one shape, so that some lose more than others. --resize-rule letterbox shows them whole",
        "letterbox": "lie in the model's square in different ways, so that a place of one is not the same place of "
        "another. Turn upright and lying ones the same way",
    }[preprocessing.resize_rule]
    if difference > MOST_DIFFERENT_SHAPES:
        found.append(
            f"The images have different shapes, from {narrowest[0]} x {narrowest[1]} to {widest[0]} x {widest[1]} "
            f"pixels, and {consequence}."
        )
    return found


def _check_reduction(sized: Sequence[NamedSize], preprocessing: Preprocessing) -> list[str]:
    help_ = (
        "Photograph closer, cut the pictures to the part with --roi when capturing, or choose a larger --image-size, "
        "which costs training time."
    )
    reduced, little = [], []
    for name, (width, height) in sized:
        left, top, right, bottom = preprocessing.source_window(width, height)
        rows, columns = preprocessing.picture_part(width, height)
        num_rows, num_columns = rows.stop - rows.start, columns.stop - columns.start
        factor = max((right - left) / preprocessing.width, (bottom - top) / preprocessing.height)
        if factor > MOST_REDUCED:
            reduced.append((name, width, height, factor))
        elif num_rows * num_columns < LEAST_FILLED * preprocessing.height * preprocessing.width:
            little.append((name, width, height, num_columns, num_rows, factor))
    if 2 * len(reduced) > len(sized):
        name, width, height, factor = reduced[0]
        return [
            f"{len(reduced)} of {len(sized)} images are reduced more than {MOST_REDUCED}-fold, such as '{name}' with "
            f"{width} x {height} pixels {factor:.1f}-fold: a defect of 5 pixels becomes {5 / factor:.1f} pixels and is "
            f"likely lost. {help_}"
        ]
    if 2 * len(little) > len(sized):
        name, width, height, num_columns, num_rows, factor = little[0]
        return [
            f"{len(little)} of {len(sized)} images fill less than a third of the model's square, such as '{name}' with "
            f"{width} x {height} pixels {num_columns} x {num_rows} of it: a defect of 5 pixels becomes "
            f"{5 / factor:.1f} pixels. {help_}"
        ]
    return []


def _check_levels(items: Sequence[ImageItem]) -> list[str]:
    """Measured on some of the pictures as they were photographed, before any change of contrast."""
    sample = [items[round(index)] for index in np.linspace(0, len(items) - 1, min(NUM_SAMPLED_LEVELS, len(items)))]
    ranges = [found for item in sample if (found := _level_range(item)) is not None]
    flat = [(low, high) for low, high in ranges if 0 < high - low < FEWEST_LEVELS]
    if 2 * len(flat) <= len(sample):
        return []
    lowest, highest = min(low for low, _ in flat), max(high for _, high in flat)
    return [
        f"{len(flat)} of {len(sample)} sampled images use fewer than {FEWEST_LEVELS} of 255 grey levels, all between "
        f"{lowest} and {highest}: they are too dark or too flat. Light or expose them better; pictures of 12 bits that "
        "are stored in 16 are to be multiplied by 16."
    ]


def _level_range(item: ImageItem) -> tuple[int, int] | None:
    try:
        grey = np.asarray(read_image(item.source).convert("L"))
    except ImageError:
        return None  # gone or overwritten since it was loaded
    shares = np.cumsum(np.bincount(grey.ravel(), minlength=256)) / grey.size
    return int(np.searchsorted(shares, 0.001)), int(np.searchsorted(shares, 0.999))


def _check_copies(train: LoadedImages, validation: LoadedImages) -> list[str]:
    digests = [_digest(image) for image in train.pixels]
    num_copies = len(digests) - len(set(digests))
    if len(digests) > 1 and num_copies == len(digests) - 1:
        return [
            f"All {len(digests)} training images are the same, pixel by pixel. A model cannot learn from them how good "
            "parts differ, and will call most of them anomalous: photograph different parts."
        ]
    found = []
    if num_copies >= FEWEST_COPIES * len(digests):
        found.append(
            f"{num_copies} of {len(digests)} training images are exact copies of others: the model learns from "
            f"{len(digests) - num_copies} only."
        )
    seen = set(digests)
    held_back = [_digest(image) for image in validation.pixels]
    num_seen = sum(digest in seen for digest in held_back)
    if num_seen >= max(1, FEWEST_COPIES * len(validation.pixels)):
        found.append(
            f"{num_seen} of {len(validation.pixels)} held-back images are exact copies of training images, so the "
            "threshold is likely too low. Leave copies out."
        )
    num_again = len(held_back) - len(set(held_back))
    if num_again >= max(1, FEWEST_COPIES * len(held_back)):
        found.append(
            f"{num_again} of {len(held_back)} held-back images are exact copies of others of them: the threshold rests "
            f"on {len(held_back) - num_again} only, and promises more than it keeps. Leave copies out."
        )
    return found


def _check_blank(train: LoadedImages, validation: LoadedImages) -> list[str]:
    blank = [
        item.name
        for images in (train, validation)
        for item, image in zip(images.items, images.pixels, strict=True)
        if (image == image[:1, :1]).all()
    ]
    if not blank:
        return []
    return [
        f"{len(blank)} of {len(train.items) + len(validation.items)} images are of one colour all over, such as "
        f"'{blank[0]}'. Leave them out unless good parts look like this."
    ]


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
