"""What an experiment tells while it runs, and the table that grows on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tfganomaly.evaluation.wording import words
from tfganomaly.reproduction.records import LAST, Record, score_names
from tfganomaly.training.observer import BarsOnConsole, TrainingObserver

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from tfganomaly.training.callbacks import TrainingProgress

# Lines of a terminal that the table leaves to its own frame, the progress bar and messages.
LINES_AROUND_TABLE = 9


class ReproductionObserver(TrainingObserver):
    """Hears of an experiment's progress; this one keeps silent."""

    def begin(self, finished: Sequence[Record], num_pairs: int) -> None:
        """The experiment begins, or goes on with these records."""

    def begin_pair(self, number: int, class_name: str, seed: int) -> None:
        """The training of a class and seed begins, the `number`th of all, counted from 1."""

    def finish_pair(self, records: Sequence[Record]) -> None:
        """A training is done; one record a score."""


class ReproductionConsole(ReproductionObserver, BarsOnConsole):
    """Shows a growing table over a progress bar on standard error; where that is no terminal, plain lines."""

    def __init__(self) -> None:
        from rich.progress import Progress

        self._records: list[Record] = []
        self._pair, self._num_pairs = "", 0
        table_of = self._table

        class TableOverBars(Progress):
            def get_renderables(self) -> Iterable[RenderableType]:
                yield table_of()
                yield self.make_tasks_table(self.tasks)

        super().__init__(TableOverBars, transient=True)
        self._task = self._progress.add_task("training", total=None, details="")

    def begin(self, finished: Sequence[Record], num_pairs: int) -> None:
        """Shows what is there already."""
        self._records, self._num_pairs = list(finished), num_pairs
        pairs = {(record["abnormal"], record["seed"]) for record in finished}
        if pairs:
            self.message(f"{len(pairs)} class/seed pairs are finished already and are kept")

    def begin_pair(self, number: int, class_name: str, seed: int) -> None:
        """Names the training that the bar is about."""
        self._pair = f"{number}/{self._num_pairs}  {class_name} anomalous, seed {seed}"
        self._progress.reset(self._task, description=self._pair, total=None, details="")

    def training(self, progress: TrainingProgress) -> None:
        """Moves the bar; each finished epoch leaves a line."""
        self._progress.update(
            self._task,
            completed=(progress.epoch - 1) * progress.steps + progress.step,
            total=progress.epochs * progress.steps,
            details=f"epoch {progress.epoch}/{progress.epochs}  {progress.images_per_second:.0f} images/s",
        )
        if progress.epoch_done:
            self.message(_epoch_line(self._pair, progress))

    def finish_pair(self, records: Sequence[Record]) -> None:
        """Adds a row; without a terminal prints it."""
        self._records += records
        if not self._console.is_terminal:
            figures = "  ".join(f"{record['score']} {record[LAST]:.3f}" for record in records)
            self.message(f"finished {self._pair}: AUROC {figures}")

    def _table(self) -> Table:
        from rich.table import Table

        table = Table(title="image AUROC, last epoch", title_justify="left")
        table.add_column("anomalous")
        table.add_column("seed", justify="right")
        names = score_names(self._records)
        for name in names:
            table.add_column(words(name), justify="right")
        rows: dict[tuple[str, int], dict[str, float]] = {}
        for record in self._records:
            rows.setdefault((record["abnormal_name"], record["seed"]), {})[record["score"]] = record[LAST]
        room = max(self._console.height - LINES_AROUND_TABLE, 3)
        for (class_name, seed), aurocs in list(rows.items())[-room:]:
            table.add_row(class_name, str(seed), *(f"{aurocs[name]:.3f}" if name in aurocs else "" for name in names))
        return table


def _epoch_line(pair: str, progress: TrainingProgress) -> str:
    from tfganomaly.reproduction.epoch_scores import AUROC_PREFIX

    aurocs = "  ".join(
        f"{name.removeprefix(AUROC_PREFIX)} {value:.3f}"
        for name, value in progress.losses.items()
        if name.startswith(AUROC_PREFIX)
    )
    return (
        f"{pair}  epoch {progress.epoch}/{progress.epochs}  AUROC {aurocs}  | {progress.images_per_second:.0f} images/s"
    )
