from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

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
    features = pytest.importorskip("PIL.features")
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
