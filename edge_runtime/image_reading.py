"""Reads a picture from a file, from bytes, a Pillow image or an array into 8-bit grey or RGB."""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from edge_runtime.errors import ImageError

ImageSource = str | Path | bytes | Image.Image | np.ndarray
"""What the runtime accepts as a picture.

- A path of a PNG, JPEG, BMP, TIFF, WebP, GIF or PNM file. Of several pages or frames the first is read.
- The content of such a file as bytes.
- A Pillow image of any mode that `read_image` lists.
- An array of shape (H, W), (H, W, 1), (H, W, 3) in **RGB** order or (H, W, 4) in RGBA order, with dtype
  uint8, uint16 (full range, 65535 is white), bool, or float in [0, 1].

OpenCV's frames are BGR. Turn them round first: `frame[..., ::-1]`,
or `cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)`.
"""

MAX_IMAGE_PIXELS = 80_000_000
"""Largest picture that is decoded, checked before decoding.

At its peak, decoding takes so many bytes a pixel (measured with 8 megapixels, Pillow 13):

- 1 for 8-bit grey, 4 for RGB;
- 4 for 16-bit grey, 6 for 32-bit grey and for transparent grey or palettes;
- 8 to 9 for RGB with transparency and for a JPEG that is turned upright, 8 for CMYK;
- 10 for a progressive JPEG, 12 for a progressive one in CMYK;
- 16 to 22 for WebP.

So 80 megapixels take 0.3 GB as RGB, 0.7 GB with transparency and up to 1.8 GB as WebP. A device that takes pictures
from others sets a lower bound: `decode_image(..., max_pixels=...)`.
"""

_STRIP_PIXELS = 1 << 18  # as many are converted at a time, which takes a few MB however large the picture is

_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG", "PngImagePlugin"),
    (b"\xff\xd8\xff", "JPEG", "JpegImagePlugin"),
    (b"BM", "BMP", "BmpImagePlugin"),
    (b"II*\x00", "TIFF", "TiffImagePlugin"),
    (b"MM\x00*", "TIFF", "TiffImagePlugin"),
    (b"RIFF", "WEBP", "WebPImagePlugin"),
    (b"GIF8", "GIF", "GifImagePlugin"),
    *((b"P%d" % kind, "PPM", "PpmImagePlugin") for kind in range(1, 7)),
)
_FORMATS = "PNG, JPEG, BMP, TIFF, WebP, GIF or PNM"
_ORIENTATION_TAG = 0x0112
_ORIENTATION_CARRIERS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")


def read_image(source: ImageSource) -> Image.Image:
    """Return the picture upright, in 8 bits, as grey (mode "L") or colour (mode "RGB").

    - The orientation that a camera wrote into EXIF is applied.
    - Transparent parts are laid on **black**: a cut-out part then stands on the same ground whatever colour
      its editor hid under the transparency.
    - 16-bit grey (also 32-bit integers within 0 .. 65535, as older Pillow reads 16-bit PNG) is divided by 257
      with rounding, so the full range stays the full range and no picture is stretched by its own minimum and
      maximum.
    - Palette, CMYK, YCbCr and 1-bit images are converted by Pillow. Float images must lie in [0, 1].
    - A picture of 1 x 1 pixel is as good as any other; `prepare_image` makes it a plain surface.

    Args:
        source: A path, the bytes of an image file, a Pillow image or an array; see `ImageSource`.

    Returns:
        An image of mode "L" or "RGB". It may be `source` itself when that needs no change, so do not draw on
        it.

    Raises:
        ImageError: The file is missing, empty, truncated, no image or larger than `MAX_IMAGE_PIXELS`; or the
            array's shape, dtype or range is none of those listed. The text names the file.
    """
    name = image_name(source)
    if isinstance(source, np.ndarray):
        return _image_from_array(source, name)
    if isinstance(source, Image.Image):
        return _normalised(source, name, MAX_IMAGE_PIXELS, is_ours=False)
    if isinstance(source, bytes):
        return decode_image(source, name)
    if isinstance(source, (str, os.PathLike)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow only warns of is either harmless or an error below
            with _open(Path(source), name) as image:
                return _normalised(image, name, MAX_IMAGE_PIXELS, is_ours=True)
    raise ImageError(
        f"{name} is a {type(source).__name__}; a path, the bytes of an image file, a Pillow image or a numpy array was "
        "expected."
    )


def decode_image(content: bytes, name: str = "The image", *, max_pixels: int = MAX_IMAGE_PIXELS) -> Image.Image:
    """Return the picture in the bytes of an image file; see `read_image`.

    Args:
        content: A whole file: an upload, or one that was read already.
        name: How an error text calls it, such as "Image 'a.png'".
        max_pixels: Largest picture that is decoded, checked before decoding; at most `MAX_IMAGE_PIXELS`.

    Raises:
        ImageError: As `read_image`, or the picture is larger than `max_pixels`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in `read_image`
        with _opened(io.BytesIO(content), content[:16], name, max_pixels) as image:
            return _normalised(image, name, max_pixels, is_ours=True)


def load_upright(image: Image.Image, *, is_ours: bool = False) -> Image.Image:
    """Return an opened picture, decoded and turned as EXIF says, with the values that are stored.

    Args:
        image: Any Pillow image. Of a caller's picture that was not decoded yet the pixels are loaded, as Pillow does it
            at the first look at them.
        is_ours: Whether it is turned in its own memory, and not in a copy.
    """
    _decode(image)
    if orientation(image) == 1:
        return image
    from PIL import ImageOps

    if not is_ours:
        return ImageOps.exif_transpose(image)
    ImageOps.exif_transpose(image, in_place=True)
    return image


def orientation(image: Image.Image) -> int:
    """Return how EXIF says that an opened picture lies: 1 as it should, 5 to 8 on its side; see the EXIF standard."""
    if hasattr(image, "tag_v2") or any(key in image.info for key in _ORIENTATION_CARRIERS):
        return image.getexif().get(_ORIENTATION_TAG, 1)
    return 1


def image_name(source: object) -> str:
    """Return how an error text calls `source`: its path in quotes where it has one."""
    if isinstance(source, (str, os.PathLike)):
        return f"Image '{os.fspath(source)}'"
    filename = getattr(source, "filename", "")
    return f"Image '{filename}'" if filename and isinstance(filename, str) else "The image"


def _open(path: Path, name: str) -> Image.Image:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"{name} is a folder; the path of one image file was expected.")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{name} is not a regular file; the path of an image file was expected.")
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise ImageError(f"{name} does not exist. Check the path.") from None
    except OSError as error:
        raise ImageError(f"{name} cannot be opened: {error.strerror or error}.") from None
    except ValueError as error:  # a NUL character in the path
        raise ImageError(f"{name} is not a usable path: {error}.") from None
    return _opened(path, head, name, MAX_IMAGE_PIXELS)


def _opened(file: Path | io.BytesIO, head: bytes, name: str, max_pixels: int) -> Image.Image:
    """Open with the one Pillow plugin that fits the first bytes; nothing is decoded yet."""
    if not head:
        raise ImageError(f"{name} is empty (0 bytes). Copy or record it again.")
    matches = [entry for entry in _SIGNATURES if head.startswith(entry[0])]
    if not matches:
        raise ImageError(f"{name} is not an image: its content is not {_FORMATS}.")
    _, image_format, plugin = matches[0]
    # Pillow loads all its forty plugins, some of which start other programs, unless the right one is there.
    import_module(f"PIL.{plugin}")
    try:
        image = Image.open(file, formats=(image_format,))
    except Image.DecompressionBombError:
        raise ImageError(f"{name} has more pixels than the {_megapixels(max_pixels)} that are accepted.") from None
    except Exception as error:  # Pillow's plugins raise a dozen kinds for a damaged header
        raise _damaged(name, error) from error
    return image


def _normalised(image: Image.Image, name: str, max_pixels: int, *, is_ours: bool) -> Image.Image:
    """Return the picture as `read_image` does; what is ours, not the caller's, is turned upright in its own memory."""
    if 0 in image.size:
        raise ImageError(f"{name} has {image.width} x {image.height} pixels; at least one was expected.")
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"{name} has {image.width} x {image.height} pixels; at most {_megapixels(max_pixels)} are accepted."
        )
    try:
        image = load_upright(image, is_ours=is_ours)
        if not (image.mode.startswith("I") or image.mode == "F"):
            return _to_grey_or_rgb(image)
        lowest, highest = _extremes(image)
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, EOFError, struct.error and more
        raise _damaged(name, error) from error
    if image.mode == "F":
        _check_unit_range(lowest, highest, name)
    elif lowest < 0 or highest > 65535:
        raise ImageError(
            f"{name} has grey values from {lowest:.0f} to {highest:.0f}; 16 bits (0 to 65535) were expected. Save "
            "it as 8 or 16 bit."
        )
    return _deep_to_grey(image)


def _decode(image: Image.Image) -> None:
    if not (isinstance(image, ImageFile.ImageFile) and hasattr(image, "tag_v2")):
        image.load()
        return
    # Pillow maps an uncompressed TIFF into memory by its file name, and lays the rows of one that lies on its side as
    # if it stood upright. Without a name it reads the file.
    name, image.filename = image.filename, ""
    try:
        image.load()
    finally:
        image.filename = name


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if not image.has_transparency_data:
        return image.convert("L" if image.mode in ("1", "L") else "RGB")
    flat = Image.new("L" if image.mode in ("L", "LA", "La") else "RGB", image.size)
    for top, strip in _strips(image):
        opaque = Image.new("RGBA", strip.size, (0, 0, 0, 255))
        opaque.alpha_composite(strip.convert("RGBA"))
        flat.paste(opaque.convert(flat.mode), (0, top))
    return flat


def _deep_to_grey(image: Image.Image) -> Image.Image:
    """Return a picture of mode "F" within [0, 1], or "I" or "I;16" within 0 .. 65535, as grey."""
    grey = Image.new("L", image.size)
    for top, strip in _strips(image):
        values = np.asarray(strip)
        pixels = _unit_to_uint8(values) if image.mode == "F" else _uint16_to_uint8(values)
        grey.paste(Image.fromarray(pixels), (0, top))
    return grey


def _extremes(image: Image.Image) -> tuple[float, float]:
    """Return the smallest and the largest value of a picture of one channel; NaN if one of them is NaN."""
    values = (np.asarray(strip) for _, strip in _strips(image))
    extremes = np.array([(part.min(), part.max()) for part in values])
    return float(extremes[:, 0].min()), float(extremes[:, 1].max())


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield the picture from top to bottom in copies of some rows each, with the row at which each begins."""
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _image_from_array(array: np.ndarray, name: str) -> Image.Image:
    shape = " x ".join(str(size) for size in array.shape)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"{name} is an array of shape {shape or '()'}; (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) "
            "RGBA was expected."
        )
    if array.size == 0:
        raise ImageError(f"{name} is an array of shape {shape} without a pixel.")
    image = Image.fromarray(np.ascontiguousarray(_array_to_uint8(array, name)))
    return _to_grey_or_rgb(image)


def _array_to_uint8(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return _uint16_to_uint8(array)
    if array.dtype.kind == "f":
        _check_unit_range(float(array.min()), float(array.max()), name)
        return _unit_to_uint8(array)
    raise ImageError(f"{name} is an array of {array.dtype}; uint8, uint16, bool or float in [0, 1] was expected.")


def _check_unit_range(lowest: float, highest: float, name: str) -> None:
    if not (lowest >= 0.0 and highest <= 1.0):  # written so that NaN is refused too
        raise ImageError(
            f"{name} is a float array with values from {lowest:g} to {highest:g}; [0, 1] was expected. "
            "Scale it, or pass uint8."
        )


def _uint16_to_uint8(values: np.ndarray) -> np.ndarray:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _unit_to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(values.astype(np.float32) * np.float32(255)).astype(np.uint8)


def _damaged(name: str, error: Exception) -> ImageError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"{name} is damaged or cut short and cannot be read: {reason}. Copy or record it again.")


def _megapixels(max_pixels: int) -> str:
    return f"{max_pixels / 1_000_000:g} megapixels"
