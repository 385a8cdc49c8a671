"""Reads typed values out of a JSON object, with errors that name the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edge_runtime.errors import MetadataError


class StoredFields:
    """A JSON object whose fields are checked as they are read. Fields that nobody asks for are ignored.

    Args:
        data: The object as `json.loads` gives it.
        what: What the object describes, for the error text, such as "preprocessing".

    Raises:
        MetadataError: `data` is not a JSON object; and from every method, when the field is missing or not of
            the type.
    """

    def __init__(self, data: object, what: str) -> None:
        if not isinstance(data, Mapping):
            raise MetadataError(f"The stored {what} is {_kind(data)}; a JSON object was expected.")
        self._data = data
        self._what = what

    def integer(self, name: str) -> int:
        """Return a whole number."""
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(name, value, "a whole number")
        return value

    def number(self, name: str) -> float:
        """Return a finite number."""
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(name, value, "a finite number")
        try:
            number = float(value)
        except OverflowError:  # a whole number of hundreds of digits
            number = math.inf
        if not math.isfinite(number):
            raise self._wrong(name, value, "a finite number")
        return number

    def optional_integer(self, name: str) -> int | None:
        """Return a whole number, or None where the field is null."""
        return None if self.is_null(name) else self.integer(name)

    def optional_number(self, name: str) -> float | None:
        """Return a finite number, or None where the field is null."""
        return None if self.is_null(name) else self.number(name)

    def is_null(self, name: str) -> bool:
        """Return whether the field, which must be there, is null."""
        return self._get(name) is None

    def text(self, name: str) -> str:
        """Return a string."""
        value = self._get(name)
        if not isinstance(value, str):
            raise self._wrong(name, value, "a text")
        return value

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return a list of finite numbers as a tuple."""
        values = self._get(name)
        if not isinstance(values, (list, tuple)):
            raise self._wrong(name, values, "a list of numbers")
        items = StoredFields({str(index): value for index, value in enumerate(values)}, f"{self._what}.{name}")
        return tuple(items.number(str(index)) for index in range(len(values)))

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a JSON object."""
        value = self._get(name)
        if not isinstance(value, Mapping):
            raise self._wrong(name, value, "a JSON object")
        return dict(value)

    def __contains__(self, name: str) -> bool:
        return name in self._data

    def _get(self, name: str) -> object:
        if name not in self._data:
            raise MetadataError(f"The stored {self._what} has no field '{name}'.")
        return self._data[name]

    def _wrong(self, name: str, value: object, expected: str) -> MetadataError:
        return MetadataError(
            f"The field '{name}' of the stored {self._what} is {_kind(value)}; {expected} was expected."
        )


def _kind(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"
