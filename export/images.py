"""Reads the images that an export needs from the data that the run was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.preprocessing import scale_pixels, unscale_pixels
from export.disturbance import with_disturbed
from export.errors import ExportError
from export.options import ExportOptions
from export.parity import ParityImages
from tfganomaly.data.items import ImageItem
from tfganomaly.data.loading import LoadedImages, load_images

if TYPE_CHECKING:
    from tfganomaly.training.run_folder import RunConfig

# Fine-tuning sees no more distinct images than this, so that a large data set costs no more memory or time.
MOST_TRAIN_IMAGES = 4096
FEWEST_HELD_BACK_IMAGES = 2


@dataclass(frozen=True)
class ExportImages:
    """Images as the model takes them, all uint8 (N, H, W, C).

    Attributes:
        data_name: The data set's name for headings.
        train: Good images for ranges and fine-tuning.
        held_back: Good images for the threshold and for choosing the best step.
        parity: The images that run and artefact are compared on.
        num_unreadable: How many files could not be read.
    """

    data_name: str
    train: np.ndarray = field(repr=False)
    held_back: np.ndarray = field(repr=False)
    parity: ParityImages = field(repr=False)
    num_unreadable: int


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

    def read(items: Sequence[ImageItem]) -> LoadedImages:
        return load_images(
            items, config.preprocessing, progress=lambda done, total: progress("read images", done, total)
        )

    train = read(_draw(dataset.train, MOST_TRAIN_IMAGES, rng))
    held_back = read(dataset.validation)
    if len(held_back.pixels) < FEWEST_HELD_BACK_IMAGES:
        raise ExportError(
            f"{len(held_back.pixels)} held-back good images of '{dataset.name}' can be read; at least "
            f"{FEWEST_HELD_BACK_IMAGES} are needed for the threshold. Train with a larger --validation-fraction."
        )
    unreadable = {*train.unreadable, *held_back.unreadable}
    if any(item.is_anomalous for item in dataset.test):
        chosen = read(_draw_by_class(dataset.test, options.parity_images, rng))
        unreadable |= {*chosen.unreadable}
        parity = ParityImages(
            part="test",
            names=tuple(item.name for item in chosen.items),
            pixels=chosen.pixels,
            labels=np.array([item.is_anomalous for item in chosen.items], np.int64),
        )
    else:
        parity = _with_stand_ins(held_back, options.parity_images, options.seed)
    return ExportImages(dataset.name, train.pixels, held_back.pixels, parity, len(unreadable))


def _with_stand_ins(held_back: LoadedImages, count: int, seed: int) -> ParityImages:
    """Good images and disturbed copies of them: on good ones alone a file that says nothing would look right."""
    num_good = max(1, min(len(held_back.pixels), count // 2))
    names = [item.name for item in held_back.items[:num_good]]
    return ParityImages(
        part="held-back good images and disturbed copies of them",
        names=(*names, *(f"{name}, disturbed" for name in names)),
        pixels=unscale_pixels(with_disturbed(scale_pixels(held_back.pixels[:num_good]), seed)),
        labels=np.repeat([0, 1], num_good),
        has_stand_ins=True,
    )


def _draw(items: Sequence[ImageItem], count: int, rng: np.random.Generator) -> list[ImageItem]:
    """At most `count` items, in their own order."""
    if len(items) <= count:
        return list(items)
    return [items[index] for index in sorted(rng.choice(len(items), count, replace=False))]


def _draw_by_class(items: Sequence[ImageItem], count: int, rng: np.random.Generator) -> list[ImageItem]:
    """At most `count` items with the share of anomalous ones kept, and at least one of each class."""
    if len(items) <= count:
        return list(items)
    classes = [[item for item in items if item.is_anomalous is label] for label in (False, True)]
    shares = [max(1, round(count * len(members) / len(items))) for members in classes]
    return [item for members, share in zip(classes, shares, strict=True) for item in _draw(members, share, rng)]
