"""Turns a picture of any size into the pixels that a model takes. Training and devices use this same code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from edge_runtime.errors import MetadataError
from edge_runtime.image_figures import DETAIL_MULTIPLE_PX
from edge_runtime.image_reading import MAX_IMAGE_PIXELS, ImageSource, image_name, read_image
from edge_runtime.stored_fields import StoredFields

__all__ = [
    "CONTRAST_RULES",
    "FITTED_SHARE",
    "LEAST_SPREAD",
    "MAX_IMAGE_PIXELS",
    "NORMALISED_SPREAD",
    "PIXEL_RANGE",
    "RESIZE_RULES",
    "ImageSource",
    "PicturePart",
    "Preprocessing",
    "adjust_contrast",
    "image_name",
    "prepare_detail",
    "prepare_image",
    "read_image",
    "scale_pixels",
    "unscale_pixels",
]

RESIZE_RULES = ("stretch", "letterbox", "crop")
CONTRAST_RULES = ("as_is", "fitted", "normalised")
PIXEL_RANGE = (-1.0, 1.0)

NORMALISED_SPREAD = 0.4
"""Standard deviation of an image of normalised contrast, in [-1, 1]: two and a half deviations fit on either side."""
LEAST_SPREAD = 8 / 127.5
"""An image whose deviation is less, 8 of 255 grey levels, is stretched no further: it would become noise."""
FITTED_SHARE = 0.97
"""Share of a picture's values that fitted contrast keeps from being clipped: a part that covers 3 % of it shows."""

LEAST_DETAIL_SIDE_PX = 256
"""Along the shorter side of a picture's detail: fine grain is averaged away in what most models see."""

_WHOLE = (slice(None), slice(None))
_UINT8 = np.dtype(np.uint8)  # compared with this, and not with the type, a dtype is equal or not at once

# Of a letterbox's side: over how much the border averages the picture's edge, and how far it fades.
_AVERAGED_SHARE = 8
_FADED_SHARE = 8


PicturePart = tuple[slice, slice]
"""Rows and columns of a model's input."""


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the input of a model.

    Attributes:
        height: Height of the model's input in pixels.
        width: Width of the model's input in pixels.
        channels: 1 for grey, 3 for RGB. Pictures of the other kind are converted.
        resize_rule: How a picture of another shape is brought to height x width.
            "stretch": the whole picture, its aspect ratio is lost.
            "letterbox": the whole picture with its aspect ratio, centred; the rest goes on from the picture's edge
            and fades into the edge's mean, so that neither an artificial line nor a streak appears.
            "crop": the largest centred part with the model's aspect ratio, as the authors of GANomaly do.
        contrast_rule: "as_is"; or "fitted": every picture is brought to the same mean and spread, so that lamp and
            exposure do not count, but stretched no further than its values fit; or "normalised", as in earlier
            artefacts: whether they fit or not, and with a letterbox's border counted in.

    Raises:
        MetadataError: A value is out of its range.
    """

    height: int
    width: int
    channels: int
    resize_rule: str = "stretch"
    contrast_rule: str = "as_is"

    def __post_init__(self) -> None:
        if not (1 <= self.height <= 4096 and 1 <= self.width <= 4096):
            raise MetadataError(
                f"The input size is {self.height} x {self.width}; 1 to 4096 pixels a side were expected."
            )
        if self.channels not in (1, 3):
            raise MetadataError(f"The number of channels is {self.channels}; 1 (grey) or 3 (RGB) was expected.")
        if self.resize_rule not in RESIZE_RULES:
            raise MetadataError(
                f"The resize rule is '{self.resize_rule}'; one of {', '.join(RESIZE_RULES)} was expected."
            )
        if self.contrast_rule not in CONTRAST_RULES:
            raise MetadataError(
                f"The contrast rule is '{self.contrast_rule}'; one of {', '.join(CONTRAST_RULES)} was expected."
            )

    @cached_property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of one prepared picture: (height, width, channels)."""
        return self.height, self.width, self.channels

    @cached_property
    def of_detail(self) -> Preprocessing:
        """How a picture becomes its detail; see `prepare_detail`."""
        enlargement = max(1.0, LEAST_DETAIL_SIDE_PX / min(self.height, self.width))
        height, width = (
            DETAIL_MULTIPLE_PX * max(1, round(side * enlargement / DETAIL_MULTIPLE_PX))
            for side in (self.height, self.width)
        )
        return Preprocessing(height, width, 1, self.resize_rule)

    def source_window(self, image_width: int, image_height: int) -> tuple[float, float, float, float]:
        """Return the part of a picture that the model sees.

        Args:
            image_width: Width of the picture in pixels.
            image_height: Height of the picture in pixels.

        Returns:
            (left, top, right, bottom) in pixels of the picture. With "letterbox" it is larger than the
            picture.
        """
        if self.resize_rule == "stretch":
            return 0.0, 0.0, float(image_width), float(image_height)
        choose = max if self.resize_rule == "letterbox" else min
        pixels_per_input_pixel = choose(image_width / self.width, image_height / self.height)
        half_width = self.width * pixels_per_input_pixel / 2
        half_height = self.height * pixels_per_input_pixel / 2
        centre_x, centre_y = image_width / 2, image_height / 2
        return centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height

    def picture_part(self, image_width: int, image_height: int) -> PicturePart:
        """Return the rows and columns of the model's input that show the picture and not a letterbox's border.

        Args:
            image_width: Width of the picture in pixels.
            image_height: Height of the picture in pixels.

        Returns:
            Two slices with start and stop, at least one row and one column, however thin the picture is.
        """
        rows, columns = self.height, self.width
        if self.resize_rule == "letterbox":
            input_pixels_per_pixel = min(self.width / image_width, self.height / image_height)
            columns = min(columns, max(1, round(image_width * input_pixels_per_pixel)))
            rows = min(rows, max(1, round(image_height * input_pixels_per_pixel)))
        top, left = (self.height - rows) // 2, (self.width - columns) // 2
        return slice(top, top + rows), slice(left, left + columns)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object. It also states the pixel range, for readers that are not this package."""
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "resize_rule": self.resize_rule,
            "contrast_rule": self.contrast_rule,
            "pixel_range": list(PIXEL_RANGE),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preprocessing:
        """Return the preprocessing that `to_dict` described.

        Raises:
            MetadataError: A field is missing, has the wrong type or an impossible value.
        """
        fields = StoredFields(data, "preprocessing")
        if "pixel_range" in fields and fields.numbers("pixel_range") != PIXEL_RANGE:
            raise MetadataError(f"The pixel range is {fields.numbers('pixel_range')}; {PIXEL_RANGE} was expected.")
        return cls(
            height=fields.integer("height"),
            width=fields.integer("width"),
            channels=fields.integer("channels"),
            resize_rule=fields.text("resize_rule"),
            contrast_rule=fields.text("contrast_rule") if "contrast_rule" in fields else "as_is",
        )


def prepare_image(source: ImageSource, preprocessing: Preprocessing) -> np.ndarray:
    """Return the pixels of one picture in the size and colour that the model takes.

    Scaling down averages over all pixels that fall together (Pillow's antialiased bilinear filter), so a thin
    scratch fades but is never skipped.

    Args:
        source: A path, a Pillow image or an array (RGB); see `ImageSource`.
        preprocessing: Size, channels and resize rule.

    Returns:
        uint8 array of shape (height, width, channels), values 0 .. 255. An array that is one already comes back itself:
        who keeps it after its owner may write into it again keeps a copy.

    Raises:
        ImageError: The picture cannot be read; the text names it.
    """
    if isinstance(source, np.ndarray) and source.dtype == _UINT8 and source.shape == preprocessing.input_shape:
        # On a small model the detour through Pillow costs more than the rest.
        return adjust_contrast(source, preprocessing, _WHOLE)
    image = read_image(source)
    if preprocessing.channels == 1 and image.mode != "L":
        image = image.convert("L")
    part = preprocessing.picture_part(*image.size)
    pixels = _resized(image, preprocessing, part)
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.shape[2] != preprocessing.channels:
        pixels = np.repeat(pixels, preprocessing.channels, axis=2)
    return adjust_contrast(pixels, preprocessing, part)


def prepare_detail(source: ImageSource, preprocessing: Preprocessing) -> np.ndarray:
    """Return the picture finer than the model sees it, for the texture of its places (`image_figures.cell_figures`).

    Grey and as bright as it was photographed, at least `LEAST_DETAIL_SIDE_PX` along the shorter side, laid into the
    frame as by `prepare_image`: what is at a place here is at the same share of height and width there.

    Args:
        source: As `prepare_image` takes it.
        preprocessing: The model's.

    Returns:
        uint8 (h, w, 1), both sides multiples of `image_figures.DETAIL_MULTIPLE_PX`.

    Raises:
        ImageError: The picture cannot be read; the text names it.
    """
    return prepare_image(source, preprocessing.of_detail)


def adjust_contrast(pixels: np.ndarray, preprocessing: Preprocessing, part: PicturePart) -> np.ndarray:
    """Apply the contrast rule to a picture of the model's size; the last step of `prepare_image`.

    Args:
        pixels: uint8 (H, W, C).
        preprocessing: The model's.
        part: Where in them the picture is, not a border; see `Preprocessing.picture_part`.

    Returns:
        uint8 (H, W, C).
    """
    if preprocessing.contrast_rule == "as_is":
        return pixels
    if preprocessing.contrast_rule == "normalised":
        return _stretched(pixels, _WHOLE, fits=False)
    return fit_contrast(pixels, part)


def fit_contrast(pixels: np.ndarray, part: PicturePart) -> np.ndarray:
    """Bring a picture to mean 127.5 and a standard deviation of 51 grey levels, all channels alike, or to less.

    Lamp and exposure then do not count, what stands out of the picture does. Colours keep their relation: mean and
    spread are those of all channels together. A picture with a spread below 8 grey levels is stretched as if it had
    8, and none further than `FITTED_SHARE` of its values stay within 0 .. 255: a small part on a plain ground, which
    would else be clipped to one tone, keeps what is on it. What still falls outside is clipped.

    Args:
        pixels: uint8 (H, W, C).
        part: Where in them the picture is: of it alone mean, spread and reach are taken.

    Returns:
        uint8 (H, W, C).
    """
    return _stretched(pixels, part, fits=True)


def scale_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return x / 127.5 - 1: uint8 pixels of any shape as float32 in [-1, 1]."""
    if pixels.dtype != np.uint8:
        raise ValueError(f"The pixels are {pixels.dtype}; uint8 (0 .. 255), as prepare_image returns, was expected.")
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def unscale_pixels(values: np.ndarray) -> np.ndarray:
    """Return the inverse of `scale_pixels`: floats of any shape, clipped to [-1, 1], as uint8 0 .. 255."""
    return np.rint((np.clip(values, -1, 1) + 1) * 127.5).astype(np.uint8)


def _stretched(pixels: np.ndarray, part: PicturePart, *, fits: bool) -> np.ndarray:
    seen = pixels[part].reshape(-1)
    counts = np.bincount(seen, minlength=256)  # of 256 levels: cheaper than floats of every pixel
    levels = np.arange(256) / 127.5 - 1
    mean = counts @ levels / seen.size
    spread = float(np.sqrt(counts @ np.square(levels - mean) / seen.size))
    gain = NORMALISED_SPREAD / max(spread, LEAST_SPREAD)
    if fits:
        distances = np.abs(levels - mean)
        outwards = np.argsort(distances, kind="stable")
        farthest = outwards[np.searchsorted(np.cumsum(counts[outwards]), FITTED_SHARE * seen.size)]
        gain = min(gain, 1 / max(float(distances[farthest]), LEAST_SPREAD))
    return unscale_pixels((levels - mean) * gain)[pixels]


def _resized(image: Image.Image, preprocessing: Preprocessing, part: PicturePart) -> np.ndarray:
    width, height = preprocessing.width, preprocessing.height
    if preprocessing.resize_rule != "letterbox":
        if image.size == (width, height):
            return np.frombuffer(image.tobytes(), np.uint8).reshape(height, width, -1)
        window = preprocessing.source_window(image.width, image.height)
        return np.array(image.resize((width, height), Image.Resampling.BILINEAR, box=window))
    inner_height, inner_width = (shown.stop - shown.start for shown in part)
    inner = np.asarray(image.resize((inner_width, inner_height), Image.Resampling.BILINEAR))
    inner = inner.reshape(inner_height, inner_width, -1)
    if inner_width == width:
        return _with_border(inner, height)
    return np.ascontiguousarray(_with_border(inner.swapaxes(0, 1), width).swapaxes(0, 1))


def _with_border(inner: np.ndarray, height: int) -> np.ndarray:
    """Return uint8 (h, W, C), h <= height, in the middle of (height, W, C).

    What is filled in shall not look like a part: repeated pixels would be streaks, and a plain tone would end in a line
    at the picture's edge. So the edge's pixels are averaged along the edge, and fade into their mean.
    """
    top = (height - inner.shape[0]) // 2
    bottom = height - inner.shape[0] - top
    above = _continued(inner[0], top, max(1, height // _FADED_SHARE))[::-1]
    below = _continued(inner[-1], bottom, max(1, height // _FADED_SHARE))
    return np.concatenate([above, inner, below])


def _continued(edge: np.ndarray, num_rows: int, num_faded: int) -> np.ndarray:
    """Return the rows that follow an edge, uint8 (W, C), from the nearest on: uint8 (num_rows, W, C)."""
    smooth = _averaged(_averaged(edge.astype(np.int32)))
    mean = edge.sum(axis=0, dtype=np.int32) // len(edge)
    share = np.minimum(np.arange(1, num_rows + 1), num_faded).reshape(-1, 1, 1)
    return ((smooth * (num_faded - share) + mean * share) // num_faded).astype(np.uint8)


def _averaged(line: np.ndarray) -> np.ndarray:
    """Return the running mean of int32 (W, C) over an eighth of its length, its ends repeated."""
    size = len(line)
    reach = max(1, size // (2 * _AVERAGED_SHARE))
    sums = np.cumsum(line[np.clip(np.arange(-reach - 1, size + reach), 0, size - 1)], axis=0)
    return (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) // (2 * reach + 1)
