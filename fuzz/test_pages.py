"""Hostile texts on the pages that are drawn, in a real Chromium: they stay texts, and nothing is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from browsers import CHROMIUM, chromium
from hostile_manifests import HOSTILE_TEXTS
from inspect_builders import labelled
from noisyfer.benchmark.inspect import inspect_manifest
from noisyfer.benchmark.reviewing.decisions import fits_a_line
from noisyfer.manifest import Manifest
from review_server import served_review

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

TEXTS = tuple(dict.fromkeys(text for text in HOSTILE_TEXTS if text and "\0" not in text and len(text) < 2000))
MARKUP = [text for text in TEXTS if "hacked" in text]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as launched:
        yield launched


def hostile(path: Path, texts: Sequence[str] = TEXTS) -> Manifest:
    """Hostile ids, classes and references; two annotators who differ, so that every text comes to be drawn."""
    count = len(texts)
    sets: dict[str, list[int | None]] = {
        "a": list(range(count)),
        "b": [(row * 7 + 1) % count for row in range(count)],
        "c": [(row + 1) % count for row in range(count)],
    }
    images = [f"digits#{row}" if row % 2 else f"{row}{text[:40]}.png" for row, text in enumerate(texts)]
    images = [image if ".." not in image and "\\" not in image and ":" not in image else "x.png" for image in images]
    return labelled(path, sets, classes=texts, ids=list(texts), images=images)


def visit(browser: Any, address: str) -> tuple[str, list[str]]:
    """The text of a page that ran nothing foreign, and what it asked for."""
    said: list[str] = []
    asked: list[str] = []
    page = browser.new_page()
    page.on("dialog", lambda dialog: (said.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.hacked") is None
    assert page.locator("[onerror], iframe, object, embed, a[href^='javascript:']").count() == 0
    assert said == []
    text = page.evaluate("document.body.textContent")
    page.close()
    return text, [url for url in asked if not url.startswith("data:")]


def test_an_audit_draws_hostile_texts_as_texts(browser: Any, tmp_path: Path) -> None:
    manifest, out = hostile(tmp_path / "m.parquet"), tmp_path / "audit.html"
    inspect_manifest(manifest, out=out)
    text, asked = visit(browser, out.as_uri())
    assert asked == [out.as_uri()]
    assert [each for each in MARKUP if each not in text] == []


def test_a_review_draws_hostile_texts_as_texts(browser: Any, tmp_path: Path) -> None:
    # a class name with a line break cannot be reviewed, which is told in a sentence
    manifest = hostile(tmp_path / "m.parquet", [text for text in TEXTS if fits_a_line(text)])
    with served_review(manifest, tmp_path / "d.csv") as server:
        text, asked = visit(browser, server.url)
    assert all(url.startswith(f"http://{server.hosts[0]}/") for url in asked)
    assert [each for each in MARKUP if each not in text] == []
