from __future__ import annotations

import os

import pytest

from edge_runtime.printable_text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\r\x00", "a\\nb\\tc\\r\\x00"),
        ("\x1b[31mred\x9b0m\x7f", "\\x1b[31mred\\x9b0m\\x7f"),
        ("one\u2028two\x85three", "one\\u2028two\\x85three"),
        ("gnp.\u202etxt", "gnp.\\u202etxt"),
    ],
)
def test_what_breaks_lines_or_steers_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


@pytest.mark.parametrize(
    "text",
    ["größe 7.png", "部品\u3000一.png", "می\u200cخواهم", "C:\\parts\\new.png", os.fsdecode(b"gro\xdf.png")],
    ids=["Latin", "Japanese, wide space", "Persian, joiner", "backslashes", "not UTF-8"],
)
def test_letters_of_all_scripts_and_what_the_stream_sees_to_stay(text: str) -> None:
    assert printable(text) == text
