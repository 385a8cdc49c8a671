"""Where the parity report of an artefact lies; costs nothing heavy to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ParityFiles:
    """Where the report of an artefact lies.

    Attributes:
        json: All figures and the score of every image.
        html: The page.
    """

    json: Path
    html: Path

    @classmethod
    def beside(cls, artefact: Path) -> ParityFiles:
        """`tiles.parity.json` and `tiles.parity.html` beside `tiles.tflite`."""
        return cls(artefact.with_suffix(".parity.json"), artefact.with_suffix(".parity.html"))
