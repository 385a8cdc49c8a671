"""Options of `capture`: declared once, here."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.option_declaration import option
from edge_runtime.sources.options import FrameOptions


@dataclass(frozen=True)
class CaptureOptions(FrameOptions):
    """What decides how many photographs are taken, beside which frames and what of them."""

    count: int = option(
        0, "End after so many photographs; 0: at the end of SOURCE, or when stopped.", minimum=0, maximum=1_000_000_000
    )
