"""Writes values as JSON in UTF-8, also where a file's name in them is no UTF-8."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal


def json_bytes(
    values: Mapping[str, Any],
    *,
    indent: int | None = None,
    not_utf8: Literal["backslashreplace", "replace"] = "backslashreplace",
) -> bytes:
    r"""Return a JSON object, on one line without spaces unless it is indented.

    Args:
        values: What `json.dumps` takes. Bytes of a file's name that are no UTF-8 are the lone surrogates that Python
            makes of them.
        indent: Spaces a level; None: one line.
        not_utf8: How those bytes are written. "backslashreplace": as escapes such as `\udcfc`, from which `json.loads`
            gives the name back. "replace": as question marks, for readers that refuse a text with such an escape.
    """
    separators = (",", ":") if indent is None else None
    return json.dumps(values, ensure_ascii=False, indent=indent, separators=separators).encode("utf-8", not_utf8)
