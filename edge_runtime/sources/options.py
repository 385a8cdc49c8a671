"""Options of every command that takes frames: declared once, here; the commands' own options go on from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.option_declaration import check_options, option

if TYPE_CHECKING:
    from edge_runtime.sources.view import View


@dataclass(frozen=True)
class FrameOptions:
    """What decides which frames are taken, and what of them."""

    every: str | None = option(
        None,
        "Take at most one frame in so much time (2s, 500ms, 1min; of a video file in its own time), or one of so many "
        "frames (10).  [default: all]",
        value_type=str,
    )
    roi: str | None = option(
        None, "Region of interest X,Y,WIDTH,HEIGHT in pixels of the frame.  [default: the whole frame]", value_type=str
    )
    rotate: str = option(
        "0", "Turn the frame so many degrees clockwise, after --roi.", choices=("0", "90", "180", "270")
    )
    frame_checks: bool = option(
        True,
        "Look for a frozen, black or overexposed camera. Such frames raise no alarm, and are not saved as photographs.",
    )
    frozen_frames: int = option(30, "So many equal frames in a row are a frozen camera.", minimum=2, maximum=1_000_000)

    def __post_init__(self) -> None:
        check_options(self)

    def view(self) -> View:
        """Return what --roi and --rotate say.

        Raises:
            OptionError: They say nothing that is possible.
        """
        from edge_runtime.sources.view import View, parse_region

        return View(None if self.roi is None else parse_region(self.roi), int(self.rotate))
