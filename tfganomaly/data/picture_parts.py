"""Where within the model's square each image of a data set shows its picture and not a letterbox border."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.preprocessing import PicturePart, Preprocessing
from tfganomaly.data.items import ImageItem
from tfganomaly.data.masks import upright_size


def picture_parts(items: Sequence[ImageItem], preprocessing: Preprocessing) -> tuple[PicturePart, ...]:
    """Returns the part of each image's pixels that shows the picture.

    Only "letterbox" leaves anything round the picture; for it the sizes come from the files' headers.

    Args:
        items: The images, as `load_images` could read them; a file that has gone since counts as square.
        preprocessing: The model's.
    """
    whole = (slice(0, preprocessing.height), slice(0, preprocessing.width))
    if preprocessing.resize_rule != "letterbox":
        return (whole,) * len(items)
    sizes = (upright_size(item.source) for item in items)
    return tuple(preprocessing.picture_part(*size) if size else whole for size in sizes)
