"""Turn the items of a data set into the pixels that a model takes."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from edge_runtime.errors import ImageError
from edge_runtime.image_figures import cell_figures
from edge_runtime.preprocessing import Preprocessing, prepare_detail, prepare_image, read_image
from tfganomaly.data.items import ImageItem
from tfganomaly.data.pixel_cache import PreparedImage, cache_key, read_cache, record_type, write_cache
from tfganomaly.errors import DataError

Progress = Callable[[int, int], None]
"""Called as `progress(done, total)` with numbers of images, from the thread that asked for them."""

IMAGES_PER_TASK = 16
COLOUR_SPREAD = 16
"""Largest difference between the channels of a pixel that JPEG makes out of a grey picture, of 255."""


@dataclass(frozen=True, eq=False)
class LoadedImages:
    """Images as a model takes them, and what could not be read.

    Attributes:
        pixels: uint8, (N, H, W, C), range 0 to 255; a read-only memory map when a cache file was asked for.
        items: The N items that the rows of `pixels` belong to, in the order asked for.
        unreadable: Name and reason of each image that was left out.
        textures: float32 (N, CELLS, CELLS, CELL_FIGURES), `image_figures.cell_figures` of their details, which the
            maps of some score rules are made from; None when they were not asked for.
    """

    pixels: np.ndarray
    items: tuple[ImageItem, ...]
    unreadable: tuple[tuple[str, str], ...] = ()
    textures: np.ndarray | None = None

    def batch(self, rows: slice) -> tuple[np.ndarray, np.ndarray | None]:
        """Return pixels and textures of some of the images, in memory."""
        return np.array(self.pixels[rows]), None if self.textures is None else np.array(self.textures[rows])


def load_images(
    items: Sequence[ImageItem],
    preprocessing: Preprocessing,
    *,
    with_textures: bool = False,
    on_error: Literal["skip", "stop"] = "skip",
    progress: Progress | None = None,
    cache_path: Path | None = None,
    num_threads: int | None = None,
) -> LoadedImages:
    """Read, convert and resize images in parallel.

    The order of the result is that of `items` whatever the number of threads. Besides the result only a few
    images at a time are in memory; with `cache_path` the result lies on disk too, so memory stays flat for a
    set of any size. A cache file of the same images and the same preprocessing is used again instead of
    reading them.

    Args:
        items: The images, any part of a data set.
        preprocessing: Size, channels and resize rule.
        with_textures: Whether to measure the images' texture too.
        on_error: "skip" leaves unreadable images out and reports them; "stop" raises at the first.
        progress: Told about the images done so far.
        cache_path: File to keep the images in, N * H * W * C bytes, and 8 kB for each texture. Its folder must exist.
        num_threads: Default: the processors that this process may use. Pillow works outside Python's lock.

    Returns:
        The readable images. For no items at all: no images.

    Raises:
        DataError: No image could be read, or one could not and `on_error` is "stop".
        OutputError: The cache file cannot be written.
    """
    if not items:
        return LoadedImages(np.empty((0, *preprocessing.input_shape), np.uint8), ())
    # Pillow's reader mutes warnings while it opens a file. Python cannot do that in several threads at once: without
    # this outer block all warnings of the process would stay muted afterwards.
    record = record_type(preprocessing, with_texture=with_textures)
    with (
        warnings.catch_warnings(),
        closing(_prepared_images(items, preprocessing, record, on_error, progress, num_threads)) as images,
    ):
        if cache_path is None:
            records, unreadable = _collect(len(items), record, images)
        else:
            records, unreadable = _through_cache(cache_path, items, preprocessing, record, images, progress)
    if unreadable and on_error == "stop":  # a cache file may come from a call that skipped
        raise DataError(next(iter(unreadable.values())))
    return LoadedImages(
        pixels=records["pixels"],
        textures=records["texture"] if with_textures else None,
        items=tuple(item for index, item in enumerate(items) if index not in unreadable),
        unreadable=tuple((items[index].name, reason) for index, reason in unreadable.items()),
    )


def count_channels(items: Sequence[ImageItem], *, num_samples: int = 32) -> Literal[1, 3]:
    """Tell from a sample whether images are grey or in colour.

    A grey picture that was saved as RGB counts as grey: what matters is whether there is colour to see.

    Args:
        items: The images.
        num_samples: Number of images to look at, spread evenly over `items`.

    Returns:
        1 when all of the sampled images are grey, else 3.

    Raises:
        DataError: None of the sampled images can be read.
    """
    sample = [items[round(index)] for index in np.linspace(0, len(items) - 1, min(num_samples, len(items)))]
    errors: list[str] = []
    for item in sample:
        try:
            image = read_image(item.source)
        except ImageError as error:
            errors.append(str(error))
            continue
        if image.mode == "RGB":
            image.thumbnail((256, 256))
            pixels = np.asarray(image)
            if int((pixels.max(axis=2) - pixels.min(axis=2)).max()) > COLOUR_SPREAD:
                return 3
    if len(errors) == len(sample):
        raise DataError(_none_readable(len(sample), errors[0] if errors else ""))
    return 1


def available_processors() -> int:
    """Return the number of processors that this process may use, which a container can limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def _prepared_images(
    items: Sequence[ImageItem],
    preprocessing: Preprocessing,
    record: np.dtype[np.void],
    on_error: str,
    progress: Progress | None,
    num_threads: int | None,
) -> Generator[PreparedImage, None, None]:
    """Yield each image, or the reason why it cannot be read, in order."""
    done = num_unreadable = 0
    for images in _prepared_in_order(items, preprocessing, record, num_threads or available_processors()):
        for image in images:
            if isinstance(image, str):
                num_unreadable += 1
                if on_error == "stop":
                    raise DataError(image)
                if num_unreadable == len(items):
                    raise DataError(_none_readable(len(items), image))
            yield image
        done += len(images)
        if progress is not None:
            progress(done, len(items))


def _prepared_in_order(
    items: Sequence[ImageItem], preprocessing: Preprocessing, record: np.dtype[np.void], num_threads: int
) -> Iterator[list[PreparedImage]]:
    """Yield groups of images in order; only a few groups run ahead of the consumer, so memory stays flat."""
    running: deque[Future[list[PreparedImage]]] = deque()
    executor = ThreadPoolExecutor(num_threads, thread_name_prefix="load_images")
    try:
        for start in range(0, len(items), IMAGES_PER_TASK):
            running.append(executor.submit(_prepare, items[start : start + IMAGES_PER_TASK], preprocessing, record))
            if len(running) > 2 * num_threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _prepare(
    items: Sequence[ImageItem], preprocessing: Preprocessing, record: np.dtype[np.void]
) -> list[PreparedImage]:
    images: list[PreparedImage] = []
    for item in items:
        try:
            picture = read_image(item.source)
            prepared = np.empty((), record)
            prepared["pixels"] = prepare_image(picture, preprocessing)
            if "texture" in (record.names or ()):
                prepared["texture"] = cell_figures(prepare_detail(picture, preprocessing))
            images.append(prepared)
        except ImageError as error:
            images.append(str(error))
    return images


def _collect(
    num_images: int, record: np.dtype[np.void], images: Iterable[PreparedImage]
) -> tuple[np.ndarray, dict[int, str]]:
    records = np.empty(num_images, record)
    unreadable: dict[int, str] = {}
    for index, image in enumerate(images):
        if isinstance(image, str):
            unreadable[index] = image
        else:
            records[index - len(unreadable)] = image
    return records[: num_images - len(unreadable)], unreadable


def _through_cache(
    path: Path,
    items: Sequence[ImageItem],
    preprocessing: Preprocessing,
    record: np.dtype[np.void],
    images: Iterable[PreparedImage],
    progress: Progress | None,
) -> tuple[np.ndarray, dict[int, str]]:
    key = cache_key(items, preprocessing, record)
    cached = read_cache(path, key, record)
    if cached is None:
        return write_cache(path, key, record, images)
    if progress is not None:
        progress(len(items), len(items))
    return cached


def _none_readable(num_images: int, reason: str) -> str:
    return f"None of the {num_images} images can be read. {reason}".strip()
