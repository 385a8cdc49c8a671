"""The file in which prepared images are kept, so that a set larger than memory is read from disk as it is needed.

The file holds the records of all readable images one after the other, then a JSON description, its length as 8
bytes and a signature. The description comes last because only then the number of readable images is known,
and so that one rename puts the file in place complete.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from edge_runtime.atomic_files import atomic_path
from edge_runtime.image_figures import CELL_FIGURES, CELLS
from edge_runtime.preprocessing import Preprocessing
from tfganomaly.data.items import ImageItem

SIGNATURE = b"TFGPIXEL"
ENDING = struct.Struct(f"<Q{len(SIGNATURE)}s")

PreparedImage = np.ndarray | str
"""A record of `record_type`, shape (), or the reason why the image cannot be read."""


def record_type(preprocessing: Preprocessing, *, with_texture: bool) -> np.dtype[np.void]:
    """Return what is kept of an image: "pixels", uint8 (H, W, C), and perhaps "texture", its `cell_figures`."""
    fields: list[tuple[str, type[np.generic], tuple[int, ...]]] = [("pixels", np.uint8, preprocessing.input_shape)]
    if with_texture:
        fields.append(("texture", np.float32, (CELLS, CELLS, CELL_FIGURES)))
    return np.dtype(fields)


def cache_key(items: Sequence[ImageItem], preprocessing: Preprocessing, record: np.dtype[np.void]) -> str:
    """Return a text that changes when other images, changed files, another preprocessing or record are asked for.

    Files count by name, size and time of change, so that the check does not read them.
    """
    asked_for = [preprocessing.to_dict(), preprocessing.of_detail.to_dict(), str(record)]
    digest = hashlib.sha256(json.dumps(asked_for, sort_keys=True).encode())
    for item in items:
        if isinstance(item.source, np.ndarray):
            state = hashlib.sha256(item.source.tobytes()).hexdigest()
        else:
            try:
                status = item.source.stat()
                state = f"{item.source}\0{status.st_size}\0{status.st_mtime_ns}"
            except OSError:
                state = f"{item.source}\0missing"
        digest.update(f"{item.name}\0{state}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def write_cache(
    path: Path, key: str, record: np.dtype[np.void], images: Iterable[PreparedImage]
) -> tuple[np.ndarray, dict[int, str]]:
    """Write prepared images to a file as they arrive; an existing file is replaced at the end, in one step.

    Args:
        path: The file to write. Its folder must exist.
        key: From `cache_key`.
        record: From `record_type`.
        images: The images in the order of the items; at least one is readable.

    Returns:
        As `read_cache`.

    Raises:
        OutputError: The file cannot be written, for example because the disk is full.
    """
    unreadable: dict[int, str] = {}
    count = 0
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        for index, image in enumerate(images):
            count += 1
            if isinstance(image, str):
                unreadable[index] = image
            else:
                stream.write(image.tobytes())
        description = {
            "key": key,
            "count": count - len(unreadable),
            "unreadable": [[index, reason] for index, reason in unreadable.items()],
        }
        text = json.dumps(description).encode()
        stream.write(text + ENDING.pack(len(text), SIGNATURE))
    return np.memmap(path, dtype=record, mode="r", shape=(count - len(unreadable),)), unreadable


def read_cache(path: Path, key: str, record: np.dtype[np.void]) -> tuple[np.ndarray, dict[int, str]] | None:
    """Open a file that `write_cache` wrote.

    Args:
        path: The file.
        key: From `cache_key`.
        record: From `record_type`.

    Returns:
        The records, a read-only memory map of shape (N,), and the reason for each unreadable image by
        its index. None when there is no such file, or it is damaged or holds other images.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            stream.seek(max(size - ENDING.size, 0))
            text_length, signature = ENDING.unpack(stream.read())
            if signature != SIGNATURE or text_length + ENDING.size > size:
                return None
            stream.seek(size - ENDING.size - text_length)
            description = json.loads(stream.read(text_length))
        count = int(description["count"])
        if description["key"] != key or count * record.itemsize + text_length + ENDING.size != size or not count:
            return None
        unreadable = {int(index): str(reason) for index, reason in description["unreadable"]}
        return np.memmap(path, dtype=record, mode="r", shape=(count,)), unreadable
    except (OSError, struct.error, ValueError, KeyError, TypeError):
        return None
