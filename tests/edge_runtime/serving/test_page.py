"""The live page in a real browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.serving.service import Service
from tests.edge_runtime.serving.chromium import Chromium, find_chromium
from tests.edge_runtime.watching.fakes import ListSource, wait_for
from tests.edge_runtime.watching.test_session import bad, good

TOKEN = "a-token-of-some-length"

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed (Debian: chromium)")


def text(browser: Chromium, selector: str) -> str:
    return str(browser.evaluate(f"document.querySelector({selector!r}).textContent"))


def test_the_page_shows_scores_frames_alarm_and_sets_the_threshold(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    source = ListSource([good() for _ in range(30)] + [bad() for _ in range(4)], ends=False)
    service = start_service(source)
    wait_for(lambda: service.session.loop.alarm == "on")
    with Chromium(tmp_path / "profile") as browser:
        browser.open(service.server.url, 1280, 1000)
        browser.wait_for("document.querySelectorAll('#frames figure').length > 0")
        assert text(browser, "#alarm").startswith("ALARM: 3 of the latest 5 frames are anomalous")
        assert browser.evaluate("document.title") == "ALARM – Inspection"
        assert browser.evaluate("document.querySelectorAll('#chart .anomaly').length") == 4
        assert browser.evaluate("document.querySelectorAll('#chart .threshold').length") == 1
        assert browser.evaluate("document.querySelectorAll('figure.is-anomaly').length") >= 1
        browser.wait_for("document.querySelector('#frames img').naturalWidth > 0")
        heatmap = browser.evaluate("document.querySelector('#frames img').src")
        browser.evaluate("document.querySelector('#show-picture').click()")
        assert browser.evaluate("document.querySelector('#frames img').src") != heatmap
        browser.evaluate("document.querySelector('#clear').click()")
        browser.wait_for("document.querySelector('#alarm').textContent.startsWith('No alarm')")
        browser.evaluate(
            "document.querySelector('#threshold').value = '7,5';"
            "document.querySelector('#threshold-form').requestSubmit()"
        )
        browser.wait_for("document.querySelector('#threshold-note').textContent === 'Set to 7.500 (was 0.2000).'")
        assert service.session.loop.threshold == 7.5
        browser.evaluate(
            "document.querySelector('#threshold').value = 'high';"
            "document.querySelector('#threshold-form').requestSubmit()"
        )
        browser.wait_for("document.querySelector('#threshold-note').textContent.includes('JSON object')")
        assert [entry for entry in browser.console if "400" not in entry] == []  # no violation of the page's policy
        keep_screenshot(browser, "desktop.png")


def test_on_a_phone_the_page_asks_for_the_token_and_fits(start_service: Callable[..., Service], tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    source = ListSource([good() for _ in range(10)] + [bad()], ends=False)
    service = start_service(source, token_file=str(token_file))
    wait_for(lambda: service.session.loop.statistics.judged == 11)
    with Chromium(tmp_path / "profile") as browser:
        browser.open(service.server.url, 390, 844, dark=True, phone=True)
        browser.wait_for("document.querySelector('#ask') && !document.querySelector('#ask').hidden")
        assert browser.evaluate("document.querySelectorAll('#frames figure').length") == 0
        for token, seen in (("wrong", "!document.querySelector('#ask').hidden && "
                             "document.querySelector('#token-note').textContent.includes('not the right one')"),
                            (TOKEN, "document.querySelectorAll('#frames figure').length > 0")):  # fmt: skip
            browser.evaluate(
                f"document.querySelector('#token').value = {token!r};"
                "document.querySelector('#token-form').requestSubmit()"
            )
            browser.wait_for(seen)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 20, 24)"
        too_small = (
            "[...document.querySelectorAll('button, input')].filter(one => one.offsetHeight && one.offsetHeight < 40)"
        )
        assert browser.evaluate(f"{too_small}.length") == 0
        keep_screenshot(browser, "phone.png")


def keep_screenshot(browser: Chromium, name: str) -> None:
    """Writes a picture for people where the environment names a folder."""
    folder = os.environ.get("TFGANOMALY_SCREENSHOTS")
    if folder:
        browser.screenshot(Path(folder) / name)
