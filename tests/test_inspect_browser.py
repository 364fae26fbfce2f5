"""The audit's page in a real Chromium: it asks for nothing, and its gallery is paged and filtered."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from noisyfer.benchmark.inspect import inspect_manifest
from report_runs import HOSTILE, hostile_manifest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
    pytest.mark.usefixtures("no_waiting_for_the_disk"),
]


@pytest.fixture(scope="module")
def page(digits_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("audit")
    out = folder / "audit.html"
    inspect_manifest(hostile_manifest(digits_manifest, folder / "h.parquet"), out=out, suspects=60)
    said: list[str] = []
    asked: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("dialog", lambda dialog: (said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(out.as_uri())
        yield opened
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [out.as_uri()]


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
