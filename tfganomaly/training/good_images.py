"""Reads the images of a training: good ones all, to learn from and held back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_runtime.preprocessing import PicturePart
from tfganomaly.data.hold_out import MIN_HELD_BACK
from tfganomaly.data.items import ImageItem
from tfganomaly.data.loading import LoadedImages, load_images
from tfganomaly.data.picture_parts import picture_parts
from tfganomaly.data.pixel_cache import record_type
from tfganomaly.errors import OptionError, TrainingError
from tfganomaly.training.observer import TrainingObserver
from tfganomaly.training.run_folder import RunConfig, RunFolder

# Above this many bytes of pixels the images are kept in a file beside the checkpoints and read from there.
LARGEST_CACHE_IN_MEMORY = 2**30
FEWEST_TRAINING_IMAGES = 2


@dataclass(frozen=True, eq=False)
class GoodImages:
    """The images of a training, as they could be read.

    Attributes:
        train: Those to learn from.
        validation: The held-back ones.
        train_parts: Where each of `train` shows its picture.
        validation_parts: Where each of `validation` does.
    """

    train: LoadedImages
    validation: LoadedImages
    train_parts: tuple[PicturePart, ...]
    validation_parts: tuple[PicturePart, ...]

    @property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """Name and reason of each image that was left out."""
        return (*self.train.unreadable, *self.validation.unreadable)


def read_good_images(
    folder: RunFolder,
    config: RunConfig,
    train: tuple[ImageItem, ...],
    validation: tuple[ImageItem, ...],
    observer: TrainingObserver,
) -> GoodImages:
    """Reads all images of a training, and says which cannot be read.

    Args:
        folder: The run's; a large set is kept in a file beside its checkpoints.
        config: How pictures are prepared.
        train: Those to learn from.
        validation: The held-back ones.
        observer: Hears of progress.

    Raises:
        DataError: None of one kind can be read.
        TrainingError: Too few can be.
        OutputError: The file cannot be written.
    """
    loaded_train = _read(train, config, observer, folder.checkpoints / "train.pixels")
    loaded_validation = _read(validation, config, observer, folder.checkpoints / "validation.pixels")
    check_enough(len(loaded_train.items), len(loaded_validation.items), config.training.max_train_images)
    return GoodImages(
        loaded_train,
        loaded_validation,
        picture_parts(loaded_train.items, config.preprocessing),
        picture_parts(loaded_validation.items, config.preprocessing),
    )


def check_enough(num_train: int, num_held_back: int, limit: int | None) -> None:
    """Refuses to train on next to nothing.

    Args:
        num_train: Images to learn from.
        num_held_back: Held-back ones.
        limit: `max_train_images` of the options.

    Raises:
        OptionError: `limit` is too small.
        TrainingError: One of the numbers is.
    """
    if limit is not None and limit < FEWEST_TRAINING_IMAGES:
        raise OptionError(
            f"--max-train-images is {limit}; at least {FEWEST_TRAINING_IMAGES} images are needed to train on. Give "
            "more, or leave it out."
        )
    if num_train < FEWEST_TRAINING_IMAGES or num_held_back < MIN_HELD_BACK:
        raise TrainingError(
            f"too few good images: {num_train} to train on and {num_held_back} held back; at least "
            f"{FEWEST_TRAINING_IMAGES} and {MIN_HELD_BACK} that can be read are needed. Add good images."
        )


def _read(items: tuple[ImageItem, ...], config: RunConfig, observer: TrainingObserver, cache: Path) -> LoadedImages:
    with_textures = config.training.score_factor != "none"
    size = len(items) * record_type(config.preprocessing, with_texture=with_textures).itemsize
    images = load_images(
        items,
        config.preprocessing,
        with_textures=with_textures,
        progress=observer.reading_images,
        cache_path=cache if size > LARGEST_CACHE_IN_MEMORY else None,
    )
    for name, reason in images.unreadable:
        observer.message(f"left out {name}: {reason}")
    return images
