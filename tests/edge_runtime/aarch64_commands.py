"""Runs several commands of the real program in one process, for a machine on which a process is slow to start.

Called with a Python that child processes are to use, a folder for the outputs, and files of arguments, one a line.
Writes for each `NAME.out`, `NAME.err` and `NAME.code`.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path


def main() -> None:
    python, folder, *files = sys.argv[1:]
    sys.executable = python  # the emulator's kernel cannot start a program of the emulated machine by itself
    from tfganomaly.__main__ import main as program

    for file in map(Path, files):
        sys.argv = ["tfganomaly", *file.read_text("utf-8").splitlines()]
        base = Path(folder) / file.stem
        with (
            base.with_suffix(".out").open("w") as out,
            base.with_suffix(".err").open("w") as err,
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                program()
                code: object = 0
            except SystemExit as end:
                code = end.code
        base.with_suffix(".code").write_text(str(code or 0))


if __name__ == "__main__":
    main()
