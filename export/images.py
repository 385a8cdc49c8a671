"""Reads the images that an export needs from the data that the run was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from export.disturbance import Purpose, with_disturbed_pixels
from export.errors import ExportError
from export.options import MOST_TRAIN_IMAGES, ExportOptions
from export.parity import ParityImages
from tfganomaly.data.items import ImageItem
from tfganomaly.data.loading import LoadedImages, load_images
from tfganomaly.training.trainer import chosen_training_items

if TYPE_CHECKING:
    from tfganomaly.training.run_folder import RunConfig

FEWEST_HELD_BACK_IMAGES = 2
# Of either class. On fewer a file that says nothing is within the bounds, as a pair or an image may always differ.
FEWEST_TEST_IMAGES = 10


@dataclass(frozen=True)
class ExportImages:
    """Images as the model takes them, all uint8 (N, H, W, C).

    Attributes:
        data_name: The data set's name for headings.
        source: The text that opens the data again, such as an absolute folder path.
        training_items: What a training with the run's options takes of this data.
        train: Good images for ranges and fine-tuning.
        held_back: Good images for the threshold and for choosing the best step.
        held_back_textures: Their `cell_figures`, float32; None where the score rule needs none.
        parity: The images that run and artefact are compared on.
        unreadable: Name and reason of each file that could not be read.
    """

    data_name: str
    source: str
    training_items: tuple[ImageItem, ...] = field(repr=False)
    train: np.ndarray = field(repr=False)
    held_back: np.ndarray = field(repr=False)
    held_back_textures: np.ndarray | None = field(repr=False)
    parity: ParityImages = field(repr=False)
    unreadable: tuple[tuple[str, str], ...] = field(repr=False)


def load_export_images(
    config: RunConfig,
    options: ExportOptions,
    source: str | None,
    progress: Callable[[str, int, int], None],
) -> ExportImages:
    """Opens the run's data with the run's seed, so that held-back and test images are the run's.

    Args:
        config: The run's configuration.
        options: How many images, and the seed that draws them.
        source: Where the data is now; None for where the run found it.
        progress: Told about images read.

    Raises:
        DataError: The data is gone, or none of it can be read.
        ExportError: Fewer than two held-back good images can be read.
    """
    dataset = config.open_dataset(source)
    rng = np.random.default_rng(options.seed)

    def read(items: Sequence[ImageItem], *, with_textures: bool = False) -> LoadedImages:
        return load_images(
            items,
            config.preprocessing,
            with_textures=with_textures,
            progress=lambda done, total: progress("read images", done, total),
        )

    train = read(_draw(dataset.train, MOST_TRAIN_IMAGES, rng))
    held_back = read(dataset.validation, with_textures=config.score_rule.needs_textures)
    if len(held_back.pixels) < FEWEST_HELD_BACK_IMAGES:
        raise ExportError(
            f"{len(held_back.pixels)} held-back good images of '{dataset.name}' can be read; at least "
            f"{FEWEST_HELD_BACK_IMAGES} are needed for the threshold. Train with a larger --validation-fraction."
        )
    test = read(_draw_by_class(dataset.test, options.parity_images, rng))
    return ExportImages(
        data_name=dataset.name,
        source=dataset.source,
        training_items=chosen_training_items(dataset.train, config),
        train=train.pixels,
        held_back=held_back.pixels,
        held_back_textures=held_back.textures,
        parity=choose_parity_images(test, held_back, options.parity_images, options.seed),
        unreadable=tuple(dict.fromkeys((*train.unreadable, *held_back.unreadable, *test.unreadable))),
    )


def choose_parity_images(test: LoadedImages, held_back: LoadedImages, count: int, seed: int) -> ParityImages:
    """Takes the test images; where they are few of either class, disturbed copies of good ones as well.

    On good images alone a file that says nothing would look right. Copies are made of the good test images, which
    nothing was tuned on; where these are few, of held-back ones, which then stand beside their copies.

    Args:
        test: Labelled images, as many as `count` allows; may be none.
        held_back: Good images, one or more.
        count: Most test images, and twice the most copies.
        seed: Decides the disturbances.
    """
    tested = _labelled(test, slice(None))
    good_rows = np.flatnonzero(tested.labels == 0)
    if min(len(good_rows), len(tested.labels) - len(good_rows)) >= FEWEST_TEST_IMAGES:
        return tested
    if len(good_rows) >= FEWEST_TEST_IMAGES:
        originals, shown = _labelled(test, good_rows[: count // 2]), [tested]
        part = "test, disturbed copies of its good images"
    else:
        originals = _labelled(held_back, slice(count // 2))
        shown = [tested, originals] if test.items else [originals]
        part = ("test, " if test.items else "") + "held-back good images and disturbed copies of them"
    num_copies = len(originals.names)
    copies = with_disturbed_pixels(originals.pixels, seed, Purpose.COMPARISON)[num_copies:]
    names = [name for each in shown for name in each.names]
    return ParityImages(
        part=part,
        names=(*names, *(f"{name}, disturbed" for name in originals.names)),
        pixels=np.concatenate([*(each.pixels for each in shown), copies]),
        labels=np.concatenate([*(each.labels for each in shown), np.ones(num_copies, np.int64)]),
        num_stand_ins=num_copies,
    )


def _labelled(images: LoadedImages, rows: slice | np.ndarray) -> ParityImages:
    """Some of the images with their names and labels."""
    names = np.array([item.name for item in images.items], object)
    labels = np.array([item.is_anomalous for item in images.items], np.int64)
    return ParityImages("test", tuple(names[rows]), images.pixels[rows], labels[rows])


def _draw(items: Sequence[ImageItem], count: int, rng: np.random.Generator) -> list[ImageItem]:
    """At most `count` items, in their own order."""
    if len(items) <= count:
        return list(items)
    return [items[index] for index in sorted(rng.choice(len(items), count, replace=False))]


def _draw_by_class(items: Sequence[ImageItem], count: int, rng: np.random.Generator) -> list[ImageItem]:
    """At most `count` items, half of them of either class; where a class has fewer, all of it and more of the other."""
    if len(items) <= count:
        return list(items)
    good, anomalous = ([item for item in items if item.is_anomalous is label] for label in (False, True))
    num_anomalous = max(min(len(anomalous), count // 2), count - len(good))
    return _draw(good, count - num_anomalous, rng) + _draw(anomalous, num_anomalous, rng)
