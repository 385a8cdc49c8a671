"""The file that a benchmark's figures go to: looked at before hours of measuring."""

from __future__ import annotations

import argparse
from pathlib import Path


def figures_file(text: str) -> Path:
    """A file to write, as argparse's `type`.

    Raises:
        ArgumentTypeError: It is a folder, or there is none to write it to.
    """
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"'{path}' is a folder; name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder '{path.parent}' to write '{path.name}' to")
    return path
