"""The live page in a real browser."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.heatmap import _COLOUR_STOPS
from edge_runtime.serving.service import Service
from edge_runtime.sources.source import SOURCE_COMPONENT, Frame
from edge_runtime.watching.events import ComponentHealth
from tests.edge_runtime.serving.chromium import Chromium, find_chromium
from tests.edge_runtime.serving.test_service import ask, png
from tests.edge_runtime.watching.conftest import bad, good
from tests.edge_runtime.watching.fakes import ListSink, ListSource, wait_for

TOKEN = "a-token-of-some-length"

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="chromium is not installed (Debian: chromium)")


def text(browser: Chromium, selector: str) -> str:
    return str(browser.evaluate(f"document.querySelector({selector!r}).textContent"))


def test_the_page_shows_scores_frames_alarm_and_sets_the_threshold(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0)
    source = ListSource([good(noise) for _ in range(30)] + [bad() for _ in range(4)], ends=False)
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
        ramp = browser.evaluate("getComputedStyle(document.querySelector('#heatmap-key .ramp')).backgroundImage")
        assert ramp == f"linear-gradient(to right, {', '.join(f'rgb{colour}' for _, colour in _COLOUR_STOPS)})"
        assert browser.evaluate("document.querySelector('#heatmap-key').offsetHeight") > 0
        browser.evaluate("document.querySelector('#show-picture').click()")
        assert browser.evaluate("document.querySelector('#frames img').src") != heatmap
        assert browser.evaluate("document.querySelector('#heatmap-key').hidden")
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
    noise = np.random.default_rng(0)
    source = ListSource([good(noise) for _ in range(10)] + [bad()], ends=False)
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


def test_after_a_restart_that_it_slept_through_the_page_shows_the_new_frames_only(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    captions = "document.querySelector('#frames')?.textContent"
    with Chromium(tmp_path / "profile") as browser:
        former = start_service(ListSource([Frame(f"former {number}", bad()) for number in (1, 2)], ends=False))
        port = former.server.port
        browser.open(former.server.url, 800, 800)
        browser.wait_for(f"{captions}.includes('former')")
        browser.evaluate("clearTimeout(timer)")  # it sleeps
        slept_at_seconds = ask(former, "GET", "/health")[1]["uptime_seconds"]
        former.session.loop.stop("a restart")
        wait_for(lambda: not is_listening(port))
        service = start_service(
            ListSource([Frame("latter 1", good()), Frame("latter 2", bad())], ends=False), port=port
        )
        wait_for(lambda: ask(service, "GET", "/health")[1]["uptime_seconds"] > slept_at_seconds)
        browser.evaluate("refresh()")
        browser.wait_for(f"{captions}.includes('latter')")
        assert not browser.evaluate(f"{captions}.includes('former')")


def test_the_banner_names_all_failed_parts_and_says_when_defects_cannot_be_found(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    source, disk, broker = ListSource([good()], ends=False), ListSink("a disk"), ListSink("mqtt broker")
    service = start_service(source)
    service.session.hub.add(disk)
    service.session.hub.add(broker)
    disk.state = ComponentHealth(disk.name, "failed", "full")
    broker.state = ComponentHealth(broker.name, "degraded", "away")
    with Chromium(tmp_path / "profile") as browser:
        browser.open(service.server.url, 390, 844)
        banner = "[...document.querySelector('#alarm')?.childNodes ?? []].map(part => part.textContent).join('|')"
        browser.wait_for(f"{banner} === 'No alarm, but not all is well|a disk: full'")
        source.state = ComponentHealth(SOURCE_COMPONENT, "failed", "unplugged")
        browser.wait_for(f"{banner} === 'Defects cannot be found now|source: unplugged|a disk: full'")
        gap_px = browser.evaluate(
            "(() => { const state = document.querySelector('#health .degraded'), name = document.createRange();"
            "name.selectNodeContents(state.nextSibling);"
            "return name.getBoundingClientRect().left - state.getBoundingClientRect().right; })()"
        )
        assert gap_px >= 6
        keep_screenshot(browser, "failed.png")


def test_without_a_source_the_page_counts_uploads_and_says_that_it_does_not_show_them(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    service = start_service()
    assert ask(service, "POST", "/v1/inspect", png(bad()))[0] == 200
    assert ask(service, "POST", "/v1/inspect", b"no picture")[0] == 422
    with Chromium(tmp_path / "profile") as browser:
        browser.open(service.server.url, 390, 844)
        browser.wait_for("document.querySelector('#figures')?.textContent.includes('1 judged, 1 refused')")
        assert "not shown here" in text(browser, "#uploads")
        assert browser.evaluate("document.querySelector('#uploads').offsetHeight") > 0
        keep_screenshot(browser, "uploads.png")


def test_one_frame_is_a_dot_and_the_threshold_ends_where_it_is_now(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    service = start_service(ListSource([good()], ends=False))
    with Chromium(tmp_path / "profile") as browser:
        browser.open(service.server.url, 800, 800)
        browser.wait_for("document.querySelectorAll('#chart circle.score').length === 1")
        heights = (
            "(() => { const line = document.querySelector('#chart .threshold'), count = line.points.numberOfItems;"
            "return [line.points.getItem(0), line.points.getItem(count - 1)].map(point => point.y); })()"
        )
        first, last = browser.evaluate(heights)
        assert first == last
        service.session.loop.set_threshold(0.1, "test")
        browser.wait_for(f"{heights}[1] > {heights}[0]")  # down is more
        keep_screenshot(browser, "one.png")


def test_what_has_not_changed_is_not_written_again(start_service: Callable[..., Service], tmp_path: Path) -> None:
    source = ListSource([good(), bad(), bad(), bad()], ends=False)
    service = start_service(source)
    wait_for(lambda: service.session.loop.alarm == "on")
    with Chromium(tmp_path / "profile") as browser:
        browser.open(service.server.url, 800, 800)
        browser.wait_for("document.querySelectorAll('#frames figure').length > 0")
        written = browser.evaluate(
            "(async () => { await refresh(); let written = 0;"
            "const observer = new MutationObserver(records => { written += records.length; });"
            "observer.observe(document.querySelector('main'), { childList: true, characterData: true, subtree: true });"
            "await refresh(); await refresh(); return written + observer.takeRecords().length; })()"
        )
        assert written == 0


def test_a_time_of_another_day_has_its_date(start_service: Callable[..., Service], tmp_path: Path) -> None:
    service = start_service()
    with Chromium(tmp_path / "profile") as browser:
        browser.open(service.server.url, 800, 800)
        browser.wait_for("document.querySelector('#figures')?.children.length > 0")
        assert "2020" in browser.evaluate("clock('2020-01-02T03:04:05.678Z')")
        assert browser.evaluate("clock(new Date().toISOString()) === new Date().toLocaleTimeString()")


def is_listening(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def keep_screenshot(browser: Chromium, name: str) -> None:
    """Writes a picture for people where the environment names a folder."""
    folder = os.environ.get("TFGANOMALY_SCREENSHOTS")
    if folder:
        browser.screenshot(Path(folder) / name)
