"""Options of the sinks: declared once, here; `watch` and `serve` make their flags from them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.option_declaration import check_options


@dataclass(frozen=True)
class SinkOptions:
    """What decides how events are delivered."""

    def __post_init__(self) -> None:
        check_options(self)
