from __future__ import annotations

import base64
import binascii
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ImageError
from edge_runtime.serving.uploads import uploaded_image

CONTENT = bytes(range(256)) * 3 + b"\r\n\r\nends with an empty line\r\n"
PRINTABLE = binascii.b2a_qp(CONTENT, istext=False)
FORM = "multipart/form-data; boundary=XYZ"
FIELD = b'Content-Disposition: form-data; name="note"'
FILE = b'Content-Disposition: form-data; name="image"; filename="part.png"'
END = b"--XYZ--\r\n"
LARGE = 20_000_000


def part(head: bytes, content: bytes = CONTENT) -> bytes:
    return b"--XYZ\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


def test_a_body_that_is_no_form_is_the_file() -> None:
    for content_type in ("", "image/png", "application/octet-stream", "application/x-www-form-urlencoded"):
        assert uploaded_image(CONTENT, content_type) == (CONTENT, "The upload")
    with pytest.raises(ImageError, match=r"no body.*--data-binary"):
        uploaded_image(b"", "")


def test_a_form_with_several_files_is_refused() -> None:
    with pytest.raises(ImageError, match="several files"):
        uploaded_image(part(FILE) + part(FILE, b"the second file") + END, FORM)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (part(FIELD) + part(FILE) + END, FORM),
        (part(FILE) + END, 'Multipart/Form-Data; charset=utf-8; Boundary="XYZ"'),
        (part(FILE).removesuffix(b"\r\n"), FORM),
        (part(FILE) + END.removesuffix(b"\r\n"), FORM),
        (b"a preamble\r\n" + part(FILE) + END, FORM),
        (b"--XYZ\r\n\r\nwithout a head\r\n" + part(FILE) + END, FORM),
        (part(FIELD, b"") + part(FILE) + END, FORM),
        ((part(FIELD) + part(FILE) + END).replace(b"--XYZ\r", b"--XYZ \t\r"), FORM),
        ((part(FILE) + END).replace(b"--XYZ", b"--a b.c+(d)?"), 'multipart/form-data; boundary="a b.c+(d)?"'),
        (part(FILE + b"\r\nContent-Transfer-Encoding: binary") + END, FORM),
        (part(FILE + b"\r\nContent-Transfer-Encoding: Base64", base64.encodebytes(CONTENT)) + END, FORM),
        (part(FILE + b"\r\nContent-Transfer-Encoding: quoted-printable", PRINTABLE) + END, FORM),
    ],
)
def test_the_file_of_a_form_is_taken_to_the_byte(body: bytes, content_type: str) -> None:
    assert uploaded_image(body, content_type) == (CONTENT, "Upload 'part.png'")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'Content-Disposition: form-data; name="image"; filename=""', "without a name"),
        (FIELD + b"\r\nContent-Type: image/png", "without a name"),
        (b'Content-Disposition: form-data;\r\n name="image";\r\n filename="folded.png"', "folded.png"),
        ('Content-Disposition: form-data; name="image"; filename="Prüf ☃.png"'.encode(), "Prüf ☃.png"),
        (b"Content-Disposition: form-data; name=image; filename*=UTF-8''Pr%C3%BCf.png", "Prüf.png"),
        (b"content-disposition: form-data; name=image; filename=plain.png", "plain.png"),
    ],
)
def test_a_file_is_called_as_the_form_calls_it(head: bytes, name: str) -> None:
    assert uploaded_image(part(head) + END, FORM) == (CONTENT, f"Upload '{name}'")


def test_lines_may_end_without_a_carriage_return() -> None:
    body = (part(FIELD, b"a note") + part(FILE, b"content") + END).replace(b"\r\n", b"\n")
    assert uploaded_image(body, FORM)[0] == b"content"


def test_what_only_looks_like_a_delimiter_is_content() -> None:
    content = b"a\r\n--XYZA\r\n--XY\r\nb--XYZ\r\n --XYZ\r\n--XYZ--z\r\n"
    assert uploaded_image(part(FILE, content) + END, FORM)[0] == content
    assert uploaded_image(part(FILE, b"") + END, FORM)[0] == b""


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", FORM),
        (b"--XYZ\r\nbroken", FORM),
        (b"--XYZ", FORM),
        (part(FIELD) + END, FORM),
        (part(FIELD) + END + part(FILE), FORM),
        (part(b"no header\r\n" + FILE) + END, FORM),
        (part(FILE) + END, "multipart/form-data"),
        (part(FILE) + END, "multipart/form-data; boundary="),
        (part(FILE) + END, "multipart/form-data; boundary=ABC"),
        (part(FILE) + END, "multipart/form-data; boundary=X\xe4Z"),
        (part(FILE + b"x" * 5000) + END, FORM),
        (part(FIELD) * 100 + part(FILE) + END, FORM),
        (part(FIELD + b"\r\nContent-Type: multipart/mixed; boundary=Q", b"--Q\r\n" + FILE + b"\r\n\r\nx") + END, FORM),
    ],
)
def test_a_form_without_a_file_says_how_to_send_one(body: bytes, content_type: str) -> None:
    with pytest.raises(ImageError, match=r"^The form has no file\. Send one, for example: curl --form image=@part"):
        uploaded_image(body, content_type)


@pytest.mark.parametrize(
    ("make_body", "boundary"),
    [
        (lambda: part(FILE, b"\n" * LARGE) + END, "XYZ"),
        (lambda: part(FILE, b"a\n" * (LARGE // 2)) + END, "XYZ"),
        (lambda: part(FILE + b"\r\nContent-Transfer-Encoding: base64", b"\n" * LARGE) + END, "XYZ"),
        (lambda: b"\n" * LARGE, "XYZ"),
        (lambda: b"--XYZ\r\n" * (LARGE // 7), "XYZ"),
        (lambda: b"--XYZ" + b" " * LARGE, "XYZ"),
        (lambda: b"-" * LARGE, "-" * 70),
    ],
    ids=["empty lines", "short lines", "base64", "no part", "parts", "spaces", "dashes"],
)
def test_a_hostile_form_costs_little_more_than_its_size(make_body: Callable[[], bytes], boundary: str) -> None:
    body = make_body()
    tracemalloc.start()
    begun_seconds = time.process_time()
    try:
        uploaded_image(body, f"multipart/form-data; boundary={boundary}")
    except ImageError:
        pass
    finally:
        cpu_seconds = time.process_time() - begun_seconds
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak_bytes < 2 * len(body) + 1e6  # a copy of the file, and what base64 makes of it
    assert cpu_seconds < 5  # 0.1 s; as e-mail 15 s and more


def test_hostile_heads_take_no_long_time() -> None:
    begun_seconds = time.process_time()
    with pytest.raises(ImageError):
        uploaded_image(part(b"Content-Disposition: form-data" + b";" * 2000, b"") * 1000, FORM)
    assert time.process_time() - begun_seconds < 5  # 0.4 s


ENCODING = b"Content-Transfer-Encoding: base64"
PIECES = [b"--XYZ", b"--", b"\r\n", b"\n", b"\r", b" ", FIELD, FILE, ENCODING, b"\xff", b"abc"]


@settings(max_examples=100, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=20))
def test_any_body_at_all_is_a_file_or_an_image_error(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    try:
        content, _ = uploaded_image(body, FORM)
    except ImageError:
        return
    assert FILE in body
    assert b"\n--XYZ\r\n" not in content
