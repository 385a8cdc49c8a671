"""Declares an option once: the flag of the command line, its bounds and its help come from a dataclass field.

Part of tfganomaly. Importing this module costs nothing heavy, so that `--help` stays quick.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from edge_runtime.errors import OptionError


def option(
    default: Any,
    help: str,  # the word click uses
    *,
    choices: tuple[str, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    value_type: type | None = None,
    of_use_with: tuple[str, str] | None = None,
) -> Any:
    """Declares a dataclass field that is also a command-line option.

    Args:
        default: The value when the option is not given. `None` means "decided from the data".
        help: One sentence for `--help`.
        choices: The allowed words of a string option.
        minimum: Smallest allowed number, inclusive.
        maximum: Largest allowed number, inclusive.
        value_type: The option's type where `default` is `None`.
        of_use_with: Another option's field and the value without which this one changes nothing.

    Returns:
        A dataclass field with the declaration in its metadata.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help,
            "choices": choices,
            "minimum": minimum,
            "maximum": maximum,
            "type": value_type or type(default),
            "of_use_with": of_use_with,
        },
    )


def check_options(options: Any) -> None:
    """Checks every field of an options dataclass against its declaration.

    Raises:
        OptionError: A value is of the wrong type or outside its bounds, or would change nothing beside the others;
            names the flag.
    """
    for field in dataclasses.fields(options):
        declared = field.metadata
        value = getattr(options, field.name)
        flag = _flag(field.name)
        if value is None and field.default is None:
            continue
        wanted = declared["type"]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
            raise OptionError(f"{flag} is {value!r}; expected a value of type {wanted.__name__}.")
        if declared["choices"] and value not in declared["choices"]:
            raise OptionError(f"{flag} is {value!r}; expected one of {', '.join(declared['choices'])}.")
        too_small = declared["minimum"] is not None and not value >= declared["minimum"]
        too_large = declared["maximum"] is not None and not value <= declared["maximum"]
        if too_small or too_large:
            raise OptionError(f"{flag} is {value}; expected {_bounds(declared['minimum'], declared['maximum'])}.")
    for field in dataclasses.fields(options):
        needed = field.metadata["of_use_with"]
        if needed is None or getattr(options, field.name) == field.default:
            continue
        name, value = needed
        if getattr(options, name) != value:
            raise OptionError(
                f"{_flag(field.name)} is given with {_flag(name)} {getattr(options, name)}; it is of use with "
                f"{_flag(name)} {value} only."
            )


def _bounds(minimum: float | None, maximum: float | None) -> str:
    if maximum is None:
        return f"a number of {minimum} or more"
    return f"a number of {maximum} or less" if minimum is None else f"a number from {minimum} to {maximum}"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
