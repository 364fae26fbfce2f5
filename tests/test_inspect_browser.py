"""The audit's page in a real Chromium: it asks for nothing, and its gallery is paged and filtered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import browsers
import pytest
from browsers import watched
from noisyfer.benchmark.inspect import inspect_manifest
from noisyfer.benchmark.reviewing.decisions import DecisionFile, read_decisions
from noisyfer.benchmark.reviewing.server import ReviewServer
from noisyfer.benchmark.reviewing.session import Session, make_queue
from report_runs import CLASSES as HOSTILE_CLASSES
from report_runs import HOSTILE, hostile_manifest

pytestmark = browsers.NEEDED


@pytest.fixture(scope="module")
def page(browser: Any, digits_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("audit")
    out = folder / "audit.html"
    inspect_manifest(hostile_manifest(digits_manifest, folder / "h.parquet"), out=out, suspects=60)
    with watched(browser, out.as_uri()) as opened:
        yield opened


def seen(page: Any) -> list[str]:
    """The verdicts of the tiles that are seen."""
    return list(page.locator(".tiles > li:visible .by").all_inner_texts())


def test_pages_turn_and_end(page: Any) -> None:
    assert len(seen(page)) == 24
    first = seen(page)
    page.get_by_role("button", name="Next").click()
    second = seen(page)
    assert len(second) == 24
    assert not set(first) & set(second)
    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    assert len(seen(page)) == 12
    assert page.get_by_role("button", name="Next").is_disabled()
    assert page.locator(".turn [role=status]").inner_text() == "Page 3 of 3"
    page.get_by_role("button", name="Previous").click()
    page.get_by_role("button", name="Previous").click()
    assert seen(page) == first


def test_filters_keep_a_set_and_a_pair_of_classes(page: Any) -> None:
    by_set, by_pair = page.locator(".gallery select").all()
    by_set.select_option(label="class_flip30")
    assert len(seen(page)) == 20
    assert all(text.startswith("class_flip30,") for text in seen(page))
    by_set.select_option("")
    pair = page.locator(".tiles > li").nth(30).get_attribute("data-pair")
    label = page.locator(f".gallery option[value='{pair}']").inner_text()
    by_pair.select_option(pair)
    verdicts = page.locator(".tiles > li:visible .verdict").all_inner_texts()
    assert verdicts
    assert {f"{text} ({len(verdicts)})" for text in verdicts} == {label}
    by_pair.select_option("")
    assert page.locator(".gallery .filter [role=status]").inner_text() == "60 labels"


def test_hostile_names_are_text_and_pictures_are_loaded(page: Any) -> None:
    assert HOSTILE in page.locator("#counts").inner_text()
    assert page.locator("script:not([type])").count() == 1
    shown = "[...document.querySelectorAll('.tiles > li:not([hidden]) img')]"
    assert set(page.evaluate(f"{shown}.map((image) => image.complete && image.naturalWidth > 0)")) == {True}


def test_a_phone_never_scrolls_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_review_by_keyboard(browser: Any, digits_manifest: Path, tmp_path: Path) -> None:
    """Hostile class names, keys, undo and the end, under the server's own policy; nothing foreign is asked for."""
    file = tmp_path / "d.csv"
    manifest = hostile_manifest(digits_manifest, tmp_path / "h.parquet")
    queue = make_queue(manifest, "class_flip20")
    said: list[str] = []
    asked: list[str] = []
    with (
        DecisionFile(file) as opened,
        Session(manifest, queue, opened, most=4) as session,
        ReviewServer(session) as server,
    ):
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        shown = browser.new_page(viewport={"width": 390, "height": 800})
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(server.url)

        def press(key: str, left: int) -> None:
            shown.keyboard.press(key)
            shown.get_by_text(f"{left} left in this session").wait_for()

        shown.get_by_text("4 left in this session").wait_for()
        shown.locator("#picture").wait_for(state="visible")
        given = HOSTILE_CLASSES.index(shown.locator("#label").inner_text())
        assert HOSTILE in shown.locator(".classes").inner_text()
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
        other = (given + 1) % 10
        press(str(other), 3)
        press("u", 4)
        assert shown.locator("#label").inner_text() == HOSTILE_CLASSES[given]
        press("Enter", 3)
        press("s", 2)
        shown.locator(".classes button").nth(7).click()
        shown.get_by_text("1 left in this session").wait_for()
        press("Enter", 0)
        shown.locator("#end").wait_for(state="visible")
        shown.close()
        server.shutdown()
    decisions, torn = read_decisions(file)
    kinds = [each.decision for each in decisions]
    assert kinds[:4] == ["change", "undo", "accept", "skip"]
    assert (decisions[0].given, len(kinds), torn) == (HOSTILE_CLASSES[other], 6, False)
    assert said == []
    assert all(url.startswith((server.url, "data:")) for url in asked)
