"""What the command line's commands share: one-line errors, flags made from options dataclasses, progress bars."""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from edge_runtime.errors import DeviceError, TfganomalyError
from edge_runtime.printable_text import printable

BAD_INPUT_EXIT_CODE = 2
_INTERRUPTED_EXIT_CODE = 128 + signal.SIGINT
Command = Callable[..., None]
Progress = Callable[[int, int], None]
StageProgress = Callable[[str, int, int], None]
Options = TypeVar("Options")


class OneLineErrors(click.Group):
    """A group whose commands end with one line: exit code 2 for the project's errors, 130 for Ctrl-C.

    click's own code for Ctrl-C is 1, which `inspect --fail-on-anomaly` has for an anomaly.
    """

    def invoke(self, context: click.Context) -> Any:
        """Runs the command; with --debug the traceback of an error is shown."""
        try:
            return super().invoke(context)
        except (TfganomalyError, OSError) as error:
            if context.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            click.echo(f"Error: {one_line(error)}", err=True)
            if isinstance(error, DeviceError) and error.details:
                click.echo(error.details, err=True)
            context.exit(BAD_INPUT_EXIT_CODE)
        except KeyboardInterrupt:
            if context.params.get("debug"):
                raise
            click.echo("\nError: The command was stopped by Ctrl-C before it was done.", err=True)
            context.exit(_INTERRUPTED_EXIT_CODE)


class PathName(click.Path):
    """A path; an empty one, as a shell variable that is not set gives it, is not the folder at hand."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns a `Path`."""
        if value == "":
            self.fail("The name is empty; expected that of a file or folder. Is a shell variable not set?", param, ctx)
        return super().convert(value, param, ctx)


class SeveralValues(click.Command):
    """A command whose repeatable options take several values in a row: `--abnormal 0 2` is `--abnormal 0 --abnormal 2`.

    The values end at the next option or at a word that the command's own argument takes.
    """

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """Writes the option out before each value."""
        repeatable = {flag for option in self.params if getattr(option, "multiple", False) for flag in option.opts}
        words = {
            choice
            for argument in self.params
            if isinstance(argument, click.Argument) and isinstance(argument.type, click.Choice)
            for choice in argument.type.choices
        }
        spread: list[str] = []
        current: str | None = None
        has_value = True
        for word in arguments:
            is_number = word.removeprefix("-").isdigit()
            if current and word not in words and (is_number or not word.startswith("-")):
                spread += [current, word]
                has_value = True
                continue
            if not has_value:
                break
            current = word if word in repeatable else None
            has_value = current is None
            spread += [] if current else [word]
        if not has_value:
            raise click.UsageError(f"{current} has no value. Give one or more, or leave it out.")
        return super().parse_args(context, spread)


def one_line(error: Exception) -> str:
    """The text of an error, printable and without line breaks; one of the operating system is put into words first."""
    if isinstance(error, OSError) and error.filename:
        from edge_runtime.atomic_files import output_error

        error = output_error(error.filename, error)
    return printable(" ".join(str(error).split()))


def echo(text: str) -> None:
    """Prints results to standard output.

    A file name can hold what steers a terminal; what the terminal's encoding does not have; and, when it is not UTF-8,
    what no encoding has. Such characters are printed as backslash and number. Line breaks stay: a line with a name in
    it is made `printable` before it is joined with others.
    """
    text = "\n".join(map(printable, text.split("\n")))
    stream = sys.stdout
    if stream is not None and stream.errors == "strict":
        text = text.encode(stream.encoding, "backslashreplace").decode(stream.encoding)
    click.echo(text)


def options_from(
    *groups: str, without: tuple[str, ...] = (), recipes: Mapping[str, Mapping[str, Any]] | None = None
) -> Callable[[Command], Command]:
    """Adds a flag to a command for each field of options dataclasses.

    The dataclass is where an option is declared (`edge_runtime.option_declaration.option`); here it becomes a flag. A
    value that is not given arrives as None, so that the recipe's default can take its place.

    Args:
        groups: Dataclasses as `module:class`; the modules must be cheap to import.
        without: Fields that the command declares itself, or does not have.
        recipes: By name, what each recipe that the command can take sets differently; shown beside the defaults.
    """

    def add_flags(command: Command) -> Command:
        for group in reversed(groups):
            module_name, name = group.split(":")
            module = import_module(module_name)
            for field in reversed(dataclasses.fields(getattr(module, name))):
                if field.name not in without:
                    command = _flag(field, _recipe_defaults(field.name, recipes or {}))(command)
        return command

    return add_flags


def given_options(group: type[Options], given: Mapping[str, Any]) -> Options:
    """Makes one options dataclass of the values that the flags of several gave; None stands for the default."""
    names = {field.name for field in dataclasses.fields(group)}  # type: ignore[arg-type]
    return group(**{name: value for name, value in given.items() if name in names and value is not None})


def _recipe_defaults(name: str, recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What each recipe sets an option to, of those that do."""
    return {recipe: values[name] for recipe, values in recipes.items() if name in values}


def _flag(field: dataclasses.Field[Any], recipe_defaults: Mapping[str, Any]) -> Callable[[Command], Command]:
    declared = field.metadata
    flag = "--" + field.name.replace("_", "-")

    def shown(value: Any) -> str:
        if declared["type"] is bool:
            return flag[2:] if value else f"no-{flag[2:]}"
        return f"{value:g}" if isinstance(value, float) else str(value)

    defaults = [shown(field.default)] if field.default is not None else []
    defaults += [f"{shown(value)} in {recipe}" for recipe, value in recipe_defaults.items()]
    text = declared["help"] + (f"  [default: {', '.join(defaults)}]" if defaults else "")
    if declared["type"] is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", field.name, default=None, help=text)
    kind = click.Choice(declared["choices"]) if declared["choices"] else declared["type"]
    return click.option(flag, field.name, type=kind, default=None, help=text)


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A bar on standard error, for `progress(done, total)`; nothing where that is not a terminal."""
    with stage_progress() as report:
        yield lambda done, total: report(label, done, total)


@contextmanager
def stage_progress() -> Iterator[StageProgress]:
    """Bars on standard error, one a stage, for `progress(stage, done, total)`.

    Where standard error is not a terminal each stage leaves one line when it begins; where it is closed, none.
    """
    if sys.stderr is None:
        yield lambda stage, done, total: None
        return
    bar: Any = None
    current: str | None = None

    def close() -> None:
        if bar is not None:
            bar.render_finish()

    def report(stage: str, done: int, total: int) -> None:
        nonlocal bar, current
        if stage != current:
            close()
            current = stage
            label = f"{stage:32}" if sys.stderr.isatty() else stage
            bar = click.progressbar(length=max(total, 1), label=label, file=sys.stderr)
            bar.render_progress()
        bar.update(done - bar.pos)

    try:
        yield report
    finally:
        close()
