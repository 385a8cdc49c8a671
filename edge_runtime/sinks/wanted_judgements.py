"""Decides which judgements a sink takes, beside all other events."""

from __future__ import annotations

from edge_runtime.watching.events import Event, Judgement


def is_wanted(event: Event, judgements: str) -> bool:
    """Return whether a sink takes an event.

    Args:
        event: Any event.
        judgements: One of `options.JUDGEMENT_CHOICES`.
    """
    if judgements == "all" or not isinstance(event, Judgement):
        return True
    return judgements == "anomalous" and event.shows_defect
