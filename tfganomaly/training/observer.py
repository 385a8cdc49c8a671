"""What a training tells while it runs, and how a terminal shows it."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

    from tfganomaly.training.callbacks import TrainingProgress

Observer = TypeVar("Observer", bound="BarsOnConsole")


class TrainingObserver:
    """Hears of a training's progress; this one keeps silent."""

    def message(self, text: str) -> None:
        """One line that a person should read."""

    def reading_images(self, done: int, total: int) -> None:
        """So many of the images are read."""

    def training(self, progress: TrainingProgress) -> None:
        """A step or an epoch is done."""


class BarsOnConsole(TrainingObserver):
    """Progress bars on standard error, and plain lines above them; a context manager.

    Args:
        bars_type: The class of the bars, a `rich.progress.Progress`; None: that one itself.
        transient: Whether the bars are taken away at the end.
    """

    def __init__(self, bars_type: type[Progress] | None = None, transient: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(file=sys.stderr, highlight=False)
        self._progress = (bars_type or Progress)(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[details]}"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=transient,
        )

    def __enter__(self: Observer) -> Observer:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def message(self, text: str) -> None:
        """Prints the line above the bars."""
        self._console.print(text, markup=False, soft_wrap=True)


class ConsoleObserver(BarsOnConsole):
    """Shows progress bars on standard error, and plain lines, one an epoch, where that is not a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._reading = self._progress.add_task("reading images", total=None, details="", visible=False)
        self._training = self._progress.add_task("training", total=None, details="", visible=False)

    def reading_images(self, done: int, total: int) -> None:
        """Moves the first bar."""
        self._progress.update(self._reading, completed=done, total=total, visible=done < total)

    def training(self, progress: TrainingProgress) -> None:
        """Moves the second bar; each finished epoch leaves a line."""
        done = (progress.epoch - 1) * progress.steps + progress.step
        details = f"epoch {progress.epoch}/{progress.epochs}  {progress.images_per_second:.0f} images/s"
        if "generator_loss" in progress.losses:
            details += f"  loss {progress.losses['generator_loss']:.3f}"
        self._progress.update(
            self._training,
            completed=done,
            total=progress.epochs * progress.steps,
            details=details,
            visible=done < progress.epochs * progress.steps,
        )
        if progress.epoch_done:
            self.message(epoch_line(progress))


def epoch_line(progress: TrainingProgress) -> str:
    """One line about a finished epoch.

    Of the paper's model its losses in the paper's order. Of one that is taught by painted defects, what they say of it;
    its losses are in the run's history.
    """
    losses = progress.losses
    held_back, missed = losses.get("val_generator_loss"), losses.get("val_missed_ranking")
    if missed is None:
        names = ("adversarial", "contextual", "latent", "discriminator")
        shown = "  ".join(f"{name} {losses[f'{name}_loss']:.4f}" for name in names if f"{name}_loss" in losses)
        told = f"  | held-back good images {held_back:.4f}" if held_back is not None else ""
    else:
        shown = f"loss {losses['generator_loss']:.3f}"
        told = f", held back {held_back:.3f}" if held_back is not None else ""
        told += f"  | painted defects told from good parts {1 - missed:.0%} (50% is chance)"
    return f"epoch {progress.epoch:3d}/{progress.epochs}  {shown}{told}  | {progress.images_per_second:.0f} images/s"
