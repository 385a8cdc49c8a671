from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from edge_runtime import image_reading
from edge_runtime.errors import ImageError
from edge_runtime.image_reading import MAX_IMAGE_PIXELS, decode_image, read_image

SLOPE = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (16, 1))  # (16, 24) grey, dark to bright
COLOURS = np.stack([SLOPE, SLOPE[:, ::-1], np.full_like(SLOPE, 77)], axis=2)


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def assert_refused(source: object, *words: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(source)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def assert_image_or_one_line(path: Path) -> None:
    message = ""
    try:
        image = read_image(path)
    except ImageError as error:
        message = str(error)
    if message:
        assert path.name in message
        assert "\n" not in message
    else:
        assert image.mode in ("L", "RGB")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm", ".gif"])
def test_lossless_grey_files_are_read_to_the_value(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(SLOPE).save(path)
    np.testing.assert_array_equal(np.asarray(read_image(path).convert("L")), SLOPE)
    np.testing.assert_array_equal(np.asarray(read_image(str(path)).convert("L")), SLOPE)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_lossless_colour_files_are_read_to_the_value(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(COLOURS).save(path)
    image = read_image(path)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), COLOURS)


def test_a_jpeg_under_the_name_of_a_png_is_read(tmp_path: Path) -> None:
    path = tmp_path / "camera.png"
    path.write_bytes(encoded(Image.fromarray(COLOURS), "JPEG", quality=95))
    assert read_image(path).size == (24, 16)


def test_webp_is_read_where_pillow_can(tmp_path: Path) -> None:
    from PIL import features

    if not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    path = tmp_path / "a.webp"
    Image.fromarray(COLOURS).save(path, lossless=True)
    np.testing.assert_array_equal(np.asarray(read_image(path)), COLOURS)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    path = tmp_path / "phone.png"
    Image.fromarray(SLOPE).save(path, exif=exif)
    image = read_image(path)
    assert image.size == (16, 24)
    np.testing.assert_array_equal(np.asarray(image), np.rot90(SLOPE, -1))
    opened = Image.open(path)
    np.testing.assert_array_equal(np.asarray(read_image(opened)), np.rot90(SLOPE, -1))
    np.testing.assert_array_equal(np.asarray(opened), SLOPE)  # the caller's image stays as it is


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_once(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    try:
        content = encoded(Image.fromarray(COLOURS), image_format, exif=exif)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow has no {image_format}")
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    image = read_image(content)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    np.testing.assert_array_equal(np.asarray(read_image(image)), np.asarray(expected))


TURNS = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
    5: np.transpose, 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).T, 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_tiff_is_the_same_by_path_by_bytes_and_opened(
    tmp_path: Path, dtype: type[np.generic], orientation: int
) -> None:
    random = np.random.default_rng(3)
    values = random.integers(0, np.iinfo(dtype).max, (16, 24), dtype, endpoint=True)
    path = tmp_path / "lying.tif"
    Image.fromarray(values).save(path, tiffinfo={0x0112: orientation})
    expected = np.asarray(read_image(TURNS[orientation](values)))
    opened, loaded = Image.open(path), Image.open(io.BytesIO(path.read_bytes()))
    loaded.load()
    for source in (path, path.read_bytes(), opened, loaded):
        np.testing.assert_array_equal(np.asarray(read_image(source)), expected)
    assert opened.filename == str(path)  # the caller's image stays as it is


def test_sixteen_bits_keep_their_full_range(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535, 128, 129]], np.uint16)
    expected = np.array([[0, 1, 128, 255, 0, 1]], np.uint8)
    path = tmp_path / "deep.png"
    Image.fromarray(values).save(path)
    for source in (path, values, values.astype(">u2"), Image.fromarray(values.astype(np.int32))):
        image = read_image(source)
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), expected)


def test_integers_beyond_sixteen_bits_are_refused() -> None:
    assert_refused(Image.fromarray(np.array([[0, 70000]], np.int32)), "from 0 to 70000", "16 bits")


def test_cmyk_palette_and_one_bit_images_are_converted(tmp_path: Path) -> None:
    colours = Image.new("RGB", (8, 8), (255, 0, 0))
    colours.convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    red, green, blue = np.asarray(read_image(tmp_path / "print.jpg")).reshape(-1, 3).mean(axis=0)
    assert red > 240
    assert green < 20
    assert blue < 20
    colours.convert("P").save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").getpixel((0, 0)) == (255, 0, 0)
    Image.fromarray(SLOPE > 100).save(tmp_path / "bits.png")
    bits = read_image(tmp_path / "bits.png")
    assert bits.mode == "L"
    np.testing.assert_array_equal(np.asarray(bits), np.where(SLOPE > 100, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_become_black_whatever_lies_under_them(mode: str) -> None:
    image = Image.fromarray(COLOURS).convert(mode)
    image.putalpha(Image.new("L", image.size, 0))
    flat = read_image(image)
    assert flat.mode == ("RGB" if mode == "RGBA" else "L")
    assert not np.asarray(flat).any()
    image.putalpha(255)
    np.testing.assert_array_equal(np.asarray(read_image(image)), np.asarray(image.convert(flat.mode)))


def test_a_palette_with_a_transparent_colour_is_laid_on_black(tmp_path: Path) -> None:
    Image.new("P", (4, 4), 0).save(tmp_path / "a.gif", transparency=0)
    image = Image.new("P", (4, 4), 0)
    image.putpalette([200, 10, 10] + [0] * 765)
    image.save(tmp_path / "b.png", transparency=0)
    assert read_image(tmp_path / "b.png").getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("array", "mode"),
    [
        (SLOPE, "L"),
        (SLOPE[:, :, np.newaxis], "L"),
        (COLOURS, "RGB"),
        (np.dstack([COLOURS, np.full_like(SLOPE, 255)]), "RGB"),
        (SLOPE / 255.0, "L"),
        ((COLOURS / 255.0).astype(np.float16), "RGB"),
        (COLOURS[..., ::-1][:, ::2], "RGB"),
    ],
)
def test_arrays_of_all_described_kinds_are_read(array: np.ndarray, mode: str) -> None:
    image = read_image(array)
    assert image.mode == mode
    assert image.size == (array.shape[1], array.shape[0])
    expected = array.reshape(array.shape[:2]) if mode == "L" else array[..., :3]
    scale = 255 if array.dtype.kind == "f" else 1
    np.testing.assert_array_equal(np.asarray(image), np.rint(expected.astype(np.float32) * scale))


def test_booleans_are_black_and_white() -> None:
    np.testing.assert_array_equal(np.asarray(read_image(SLOPE > 100)), np.where(SLOPE > 100, 255, 0))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4,), np.uint8), ("shape 4",)),
        (np.zeros((), np.uint8), ("shape ()",)),
        (np.zeros((4, 4, 2), np.uint8), ("4 x 4 x 2", "(H, W, 3) RGB")),
        (np.zeros((2, 4, 4, 3), np.uint8), ("2 x 4 x 4 x 3",)),
        (np.zeros((0, 4), np.uint8), ("without a pixel",)),
        (np.zeros((4, 4), np.int64), ("int64", "uint8")),
        (np.zeros((4, 4), complex), ("complex128",)),
        (np.full((4, 4), None), ("object",)),
        (np.full((4, 4), 200.0), ("from 200 to 200", "[0, 1]")),
        (np.full((4, 4), np.nan), ("nan", "[0, 1]")),
        (np.full((4, 4), -0.5, np.float32), ("from -0.5", "[0, 1]")),
    ],
)
def test_arrays_of_other_kinds_are_refused_with_what_came(array: np.ndarray, words: tuple[str, ...]) -> None:
    assert_refused(array, *words)


def images_to_convert() -> dict[str, Image.Image]:
    """Pictures of 61 x 97 pixels in every mode that is converted strip by strip."""
    random = np.random.default_rng(5)
    rgba = Image.fromarray(random.integers(0, 256, (97, 61, 4), np.uint8))
    grey, alpha = rgba.getchannel(0), rgba.getchannel(3)
    values = random.integers(0, 65_536, (97, 61))
    images = {
        "RGBA": rgba,
        "RGBa": rgba.convert("RGBa"),
        "LA": Image.merge("LA", (grey, alpha)),
        "PA": rgba.convert("PA"),
        "L with a transparent grey": grey.copy(),
        "RGB with a transparent colour": rgba.convert("RGB"),
        "1 with a transparent value": grey.convert("1"),
        "P with a transparent colour": rgba.convert("RGB").quantize(16),
        "P with transparent colours": rgba.convert("RGB").quantize(16),
        "I;16": Image.fromarray(values.astype(np.uint16)),
        "I;16B": Image.fromarray(values.astype(">u2")),
        "I": Image.fromarray(values.astype(np.int32)),
        "F": Image.fromarray(random.random((97, 61), np.float32)),
    }
    images["L with a transparent grey"].info["transparency"] = grey.getpixel((0, 0))
    images["RGB with a transparent colour"].info["transparency"] = rgba.getpixel((0, 0))[:3]
    images["1 with a transparent value"].info["transparency"] = 255
    images["P with a transparent colour"].info["transparency"] = 3
    images["P with transparent colours"].info["transparency"] = bytes(range(0, 256, 16))
    return images


def converted_at_once(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        return Image.fromarray(np.rint(np.asarray(image) * np.float32(255)).astype(np.uint8))
    if image.mode.startswith("I"):
        return Image.fromarray(((np.asarray(image).astype(np.int64) + 128) // 257).astype(np.uint8))
    opaque = Image.new("RGBA", image.size, (0, 0, 0, 255))
    opaque.alpha_composite(image.convert("RGBA"))
    return opaque.convert("L" if image.mode in ("L", "LA") else "RGB")


@pytest.mark.parametrize("kind", sorted(images_to_convert()))
@pytest.mark.parametrize("strip_pixels", [1, 1000, 1 << 18])
def test_strips_give_the_pixels_of_the_whole(kind: str, strip_pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_reading, "_STRIP_PIXELS", strip_pixels)
    image = images_to_convert()[kind]
    expected = converted_at_once(image.copy())
    before = image.tobytes()
    read = read_image(image)
    assert (read.mode, read.size) == (expected.mode, expected.size)
    assert read.tobytes() == expected.tobytes()
    assert image.tobytes() == before


def test_the_range_is_that_of_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_reading, "_STRIP_PIXELS", 1)
    values = np.array([[500, 300], [65_536, 400], [-1, 7]])
    assert_refused(Image.fromarray(values.astype(np.int32)), "from -1 to 65536", "16 bits")
    assert_refused(Image.fromarray(values.astype(np.float32)), "from -1 to 65536", "[0, 1]")
    assert_refused(Image.fromarray(np.array([[0.5], [np.nan], [0.5]], np.float32)), "nan", "[0, 1]")


def test_premultiplied_grey_which_pillow_does_not_convert_is_refused() -> None:
    image = Image.merge("LA", (Image.fromarray(SLOPE), Image.fromarray(SLOPE))).convert("La")
    assert_refused(image, "cannot be read")


DECODE_WITHIN = """
import resource, sys
from edge_runtime.image_reading import decode_image

name, most_bytes = sys.argv[1], int(sys.argv[2])
with open(name, "rb") as file:
    content = file.read()
decode_image(open(sys.argv[3], "rb").read())  # what is imported for the first picture of its kind
with open("/proc/self/statm") as file:
    now_bytes = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now_bytes + most_bytes,) * 2)
print(decode_image(content).size)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells how much memory a process has")
@pytest.mark.parametrize(
    ("kind", "bytes_per_pixel"), [("RGBA", 10), ("LA", 8), ("P with transparent colours", 8), ("I;16", 6), ("I", 8)]
)
def test_a_large_picture_is_converted_in_little_memory(tmp_path: Path, kind: str, bytes_per_pixel: int) -> None:
    image = images_to_convert()[kind]
    suffix = ".tif" if kind == "I" else ".png"
    small, large = tmp_path / f"small{suffix}", tmp_path / f"large{suffix}"
    image.save(small)
    image.resize((4000, 2000), Image.Resampling.NEAREST).save(large)
    most_bytes = 4000 * 2000 * bytes_per_pixel  # without strips 13 to 22 a pixel are needed
    done = subprocess.run(
        [sys.executable, "-c", DECODE_WITHIN, str(large), str(most_bytes), str(small)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == "(4000, 2000)", done.stderr


def test_things_that_are_no_images_are_refused() -> None:
    assert_refused(None, "NoneType", "numpy array was expected")
    assert_refused(bytearray(b"bytes"), "bytearray")


def test_the_bytes_of_a_file_are_read_as_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(Image.fromarray(COLOURS), "JPEG"))
    assert read_image(path.read_bytes()) == read_image(path)
    assert decode_image(path.read_bytes(), "Image 'a.jpg'").mode == "RGB"


def test_bytes_that_are_no_image_are_refused_by_the_name_given() -> None:
    assert_refused(b"bytes", "The image is not an image", "PNG, JPEG")
    assert_refused(b"", "is empty (0 bytes)")
    with pytest.raises(ImageError, match=r"^Upload 'b\.png' .*80 megapixels"):
        decode_image(png_header(20_000, 20_000), "Upload 'b.png'")


def test_a_caller_can_set_a_lower_limit() -> None:
    content = encoded(Image.fromarray(SLOPE), "PNG")
    assert decode_image(content, max_pixels=SLOPE.size).size == (24, 16)
    with pytest.raises(ImageError, match=r"has 24 x 16 pixels; at most 0\.000383 megapixels are accepted"):
        decode_image(content, max_pixels=SLOPE.size - 1)
    with pytest.raises(ImageError, match=r"more pixels than the 20 megapixels that are accepted"):
        decode_image(png_header(20_000, 20_000), max_pixels=20_000_000)


def test_bad_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("these are notes, not a picture")
    (tmp_path / "eps.png").write_text("%!PS-Adobe-3.0 EPSF-3.0")
    assert_refused(tmp_path / "none.png", "none.png", "does not exist")
    assert_refused(tmp_path / "empty.png", "empty.png", "is empty (0 bytes)")
    assert_refused(tmp_path / "text.png", "text.png", "is not an image", "PNG, JPEG")
    assert_refused(tmp_path / "eps.png", "is not an image")
    assert_refused(tmp_path, "is a folder")
    assert_refused(tmp_path / "text.png" / "below.png", "cannot be opened")
    assert_refused("a\0b.png", "not a usable path")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        assert_refused(tmp_path / "pipe.png", "not a regular file")


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [9_000, 10_000, 20_000, 60_000])
def test_a_decompression_bomb_is_refused_before_decoding(
    tmp_path: Path, side: int, recwarn: pytest.WarningsRecorder
) -> None:
    assert side * side > MAX_IMAGE_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    assert_refused(path, "bomb.png", "80 megapixels")
    assert not recwarn.list


@pytest.mark.parametrize("mode", ["L", "RGBA", "F"])
def test_an_image_without_a_pixel_is_refused(mode: str) -> None:
    assert_refused(Image.new(mode, (4, 0)), "4 x 0 pixels", "at least one")
    assert_refused(Image.new(mode, (0, 4)), "0 x 4 pixels", "at least one")


def test_one_pixel_is_an_image(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    Image.new("L", (1, 1), 99).save(path)
    assert read_image(path).getpixel((0, 0)) == 99


SAMPLES = {
    "png": encoded(Image.fromarray(COLOURS), "PNG"),
    "jpg": encoded(Image.fromarray(COLOURS), "JPEG"),
    "bmp": encoded(Image.fromarray(COLOURS), "BMP"),
    "tif": encoded(Image.fromarray(COLOURS), "TIFF"),
    "gif": encoded(Image.fromarray(SLOPE), "GIF"),
    "ppm": encoded(Image.fromarray(COLOURS), "PPM"),
}


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tif", "ppm"])
def test_a_file_cut_in_its_middle_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(SAMPLES[kind][: len(SAMPLES[kind]) // 2])
    assert_refused(path, f"cut.{kind}", "damaged or cut short")


def test_a_truncated_image_that_the_caller_opened_is_refused_by_its_file_name(tmp_path: Path) -> None:
    path = tmp_path / "opened.bmp"
    path.write_bytes(SAMPLES["bmp"][:200])
    assert_refused(Image.open(path), "opened.bmp", "damaged or cut short")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(sorted(SAMPLES)))
def test_a_damaged_file_is_an_image_or_an_image_error_and_nothing_else(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    content = bytearray(SAMPLES[kind])
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged.{kind}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    assert_image_or_one_line(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_any_bytes_at_all_are_an_image_or_an_image_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.png"
    path.write_bytes(content)
    assert_image_or_one_line(path)
