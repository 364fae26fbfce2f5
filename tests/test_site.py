"""The documents as a site: it builds strictly, has every page and block, and asks no other host for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import noisyfer
import pytest

pytest.importorskip("mkdocs", reason="mkdocs is not installed")
ROOT = Path(__file__).parent.parent
LOADING = {"src", "srcset", "poster", "data"}
"""Attributes whose address a browser fetches by itself."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning of the build is an error."""
    out = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".typing"), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class Loads(HTMLParser):
    """Collects what a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.found += [value for name, value in given.items() if name in LOADING]
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(given.get("href", ""))


def test_no_page_makes_a_browser_ask_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        reader = Loads()
        reader.feed(text)
        assert reader.found, page
        assert [found for found in reader.found if "//" in found and not found.startswith("data:")] == [], page.name
        assert "mermaid" not in text  # the theme would fetch it
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style.name


def test_every_document_is_a_page_and_every_fence_a_block(site: Path) -> None:
    for document in sorted((ROOT / "docs").rglob("*.md")):
        page = site / document.relative_to(ROOT / "docs").with_suffix(".html")
        shown, written = page.read_text(encoding="utf-8"), document.read_text(encoding="utf-8")
        assert "```" not in shown, page.name
        assert shown.count("not run by the tests") >= len(re.findall(r"^```\w+ no-test$", written, re.MULTILINE))


def test_the_reference_has_every_public_name_and_every_command(site: Path) -> None:
    from noisyfer.cli import main

    api = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in noisyfer.__all__:
        assert re.search(rf'id="noisyfer\.[\w.]*\b{name}"', api), name
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for name in main.commands:
        assert f'id="{name}"' in commands, name


def test_nothing_but_documents_goes_to_the_site(site: Path) -> None:
    assert [path.name for path in site.rglob("*") if path.suffix in (".py", ".md")] == []
