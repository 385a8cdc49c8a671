"""Checkpoints: weights, optimizers and epoch of a training, each in one file that is there whole or not at all."""

from __future__ import annotations

import re
from pathlib import Path

from edge_runtime.atomic_files import atomic_path, require_free_space
from tfganomaly.errors import RunError
from tfganomaly.models.contract import AnomalyModel
from tfganomaly.training.run import HDF5_OVERHEAD_BYTES
from tfganomaly.training.run_folder import remove_leftovers

SUFFIX = ".weights.h5"
BEST = f"best{SUFFIX}"
BYTES_A_VALUE = 4


class Checkpoints:
    """The checkpoints in a folder.

    The file's name carries the epoch, so weights and epoch cannot disagree after a kill. Keras writes everything that
    hangs on the model: networks, batch-norm statistics, both optimizers with their moments and step counts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, model: AnomalyModel, finished_epochs: int) -> None:
        """Writes the state after an epoch and removes the older ones.

        Raises:
            OutputError: The disk is full or the folder not writable; the older checkpoint stays.
        """
        older = self._by_epoch()
        self._write(model, self.folder / f"epoch-{finished_epochs:05d}{SUFFIX}")
        for epoch, path in older.items():
            if epoch != finished_epochs:
                path.unlink(missing_ok=True)

    def save_best(self, model: AnomalyModel) -> None:
        """Writes the state as the best so far."""
        self._write(model, self.folder / BEST)

    def restore_latest(self, model: AnomalyModel) -> int:
        """Loads the newest checkpoint into a compiled model and returns its number of finished epochs."""
        remove_leftovers(self.folder)
        epochs = self._by_epoch()
        if not epochs:
            return 0
        latest = max(epochs)
        self._read(model, epochs[latest])
        return latest

    def restore_best(self, model: AnomalyModel) -> None:
        """Loads the best state into a compiled model."""
        self._read(model, self.folder / BEST)

    def _by_epoch(self) -> dict[int, Path]:
        matches = {path: re.fullmatch(r"epoch-(\d+)\.weights\.h5", path.name) for path in self.folder.glob("epoch-*")}
        return {int(match.group(1)): path for path, match in matches.items() if match}

    def _write(self, model: AnomalyModel, path: Path) -> None:
        # Weights and the two moments that Adam keeps of each, and HDF5's own tables.
        values = sum(variable.value.shape.num_elements() for variable in model.variables)
        require_free_space(path, 3 * BYTES_A_VALUE * values + HDF5_OVERHEAD_BYTES)
        with atomic_path(path) as temporary:
            keras_path = temporary.with_name(temporary.stem + SUFFIX)  # Keras insists on this ending
            try:
                model.save_weights(keras_path)
                keras_path.replace(temporary)
            finally:
                keras_path.unlink(missing_ok=True)

    def _read(self, model: AnomalyModel, path: Path) -> None:
        try:
            model.load_weights(path)
        except (OSError, KeyError, ValueError) as error:
            raise RunError(
                f"the checkpoint '{path}' cannot be read ({str(error).splitlines()[0]}); train again into a new folder."
            ) from error
