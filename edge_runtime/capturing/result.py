"""What a capture has done: counts, and one line for people."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class CaptureResult:
    """Figures since the start.

    Attributes:
        folder: Where the photographs are.
        photographs: How many were saved.
        blind: Frames left out because they were black, overexposed or frozen.
        unreadable: Frames left out because they were no pictures, or --roi did not lie in them.
        shapes: Each shape of a photograph once: (H, W), grey, or (H, W, 3).
        reason: Why the capture ended; empty until then.
    """

    folder: Path
    photographs: int = 0
    blind: int = 0
    unreadable: int = 0
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    reason: str = ""

    def text(self) -> str:
        """One line such as "120 photographs in good/, 640 x 480 grey, 3 blind frames left out"."""
        folder = os.path.join(self.folder, "")  # noqa: PTH118 - with the separator at its end
        return f"{_counted(self.photographs, 'photograph')} in {folder}{self._kind()}{self.left_out()}"

    def left_out(self) -> str:
        """What was not saved, after a comma; empty if all was."""
        parts = [f"{_counted(self.blind, 'blind frame')} left out"] if self.blind else []
        parts += [f"{_counted(self.unreadable, 'unreadable frame')} left out"] if self.unreadable else []
        return "".join(f", {part}" for part in parts)

    def _kind(self) -> str:
        if len(self.shapes) > 1:
            return f", of {len(self.shapes)} different sizes or colours"
        return "".join(f", {shape[1]} x {shape[0]} {'grey' if len(shape) == 2 else 'RGB'}" for shape in self.shapes)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
