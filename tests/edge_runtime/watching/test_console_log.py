"""Log lines stay one line each, whatever the frames are called."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

import pytest

from edge_runtime.watching.console_log import log_line
from edge_runtime.watching.events import Event, FrameUnreadable, WatchStarted

NOW = datetime(2026, 11, 26, tzinfo=timezone.utc)
NAME = "new\n2026-11-26 12:00:00 WARNING ALARM\x1b[2J 部品.png"


@pytest.mark.parametrize(
    "event",
    [
        FrameUnreadable(NOW, "folder", NAME, f"'{NAME}' is empty."),
        WatchStarted(NOW, NAME, "parts.tflite", "0123456789ab", 0.5, "1.0"),
    ],
    ids=["unreadable", "started"],
)
def test_a_name_forges_no_line_and_other_scripts_stay_readable(event: Event) -> None:
    line = log_line(event)
    assert line is not None
    level, text = line
    assert level in (logging.INFO, logging.WARNING)
    assert "new\\n2026-11-26 12:00:00 WARNING ALARM\\x1b[2J 部品.png" in text
    assert text.isprintable()
