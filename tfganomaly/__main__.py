"""The program's entry point, for the console script and for `python -m tfganomaly`.

`cli`, `export` and `edge_runtime` are names that another package, or a file in the working directory, may bear too. The
program must run its own, so it looks these names up beside this package first; docs/decisions/0001-top-level-names.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OWN_NAMES = ("cli", "export", "edge_runtime")
DISTRIBUTION = "tfganomaly"
BLAS_THREADS_VARIABLE = "OPENBLAS_NUM_THREADS"


class OwnModules(MetaPathFinder):
    """Finds the distribution's top-level modules beside this package, whatever else is on `sys.path`.

    Args:
        root: The folder that holds the `tfganomaly` package.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answers for the own names alone.

        Raises:
            SystemExit: Another distribution has written its own file over ours; one line says which.
        """
        if fullname not in OWN_NAMES:
            return None
        spec = PathFinder.find_spec(fullname, [str(self.root)])
        if spec is not None and spec.origin and not _mentions_distribution(Path(spec.origin)):
            raise SystemExit(
                f"Error: '{spec.origin}' belongs to another package that is installed in the same environment and also "
                f"has a module '{fullname}'. Install {DISTRIBUTION} into a virtual environment of its own."
            )
        return spec


def _mentions_distribution(file: Path) -> bool:
    return file.suffix != ".py" or DISTRIBUTION in file.read_text("utf-8", errors="replace").lower()


def main() -> None:
    """Runs the command line.

    numpy's products are small here. Its library would spread them over all cores and, where these have other work, wait
    longer than it computes; it reads the variable when numpy is imported. A user's own value stays.
    """
    os.environ.setdefault(BLAS_THREADS_VARIABLE, "1")
    sys.meta_path.insert(0, OwnModules(Path(__file__).resolve().parents[1]))
    from cli import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
