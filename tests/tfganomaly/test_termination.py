from __future__ import annotations

import os
import signal

import pytest

from tfganomaly.termination import orderly_termination


def test_sigterm_unwinds_the_block_past_handlers_of_errors_and_gives_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    former, steps = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("went on")
        except Exception:
            steps.append("took it for an error")
        finally:
            steps.append("cleaned up")

    with pytest.raises(SystemExit) as ended, orderly_termination():
        work()
    assert steps == ["cleaned up"]
    assert ended.value.code == 143
    assert capsys.readouterr().err == "Error: The command was stopped by SIGTERM before it was done.\n"
    assert signal.getsignal(signal.SIGTERM) == former
