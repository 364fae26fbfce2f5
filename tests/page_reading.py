"""A page as a browser would take it apart: its elements, its text, its tables."""

from __future__ import annotations

from html.parser import HTMLParser


class Reading(HTMLParser):
    """Elements with their attributes, all text outside of scripts and styles, the content of those, and tables.

    Attributes:
        elements: name and attributes of every start tag.
        text: what is shown.
        raw: by element name, the contents of scripts and styles.
        tables: by caption, the rows of cells, the heading's first.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.tables: dict[str, list[list[str]]] = {}
        self._inside = ""
        self._rows: list[list[str]] = []
        self._caption: str | None = None
        self._cell = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.raw:
            self._inside = tag
        elif tag == "table":
            self._rows = []
        elif tag == "caption":
            self._caption = ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in self.raw:
            self._inside = ""
        elif tag == "caption" and self._caption is not None:
            self.tables[self._caption] = self._rows
            self._caption = None
        elif tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside].append(data)
            return
        self.text += data
        if self._caption is not None:
            self._caption += data
        elif self._cell:
            self._rows[-1][-1] += data.replace("\n", "")


def check_self_contained(html: str) -> Reading:
    """Check that a page asks for nothing, runs nothing but its own script, and takes no attribute for code."""
    found = Reading(html)
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert "url(" not in html
    kinds = [attributes.get("type") for name, attributes in found.elements if name == "script"]
    assert kinds.count(None) == 1
    assert set(kinds) <= {None, "application/json"}
    for name, attributes in found.elements:
        assert name not in ("iframe", "object", "embed", "base", "form", "template")
        for key, value in attributes.items():
            assert not key.startswith("on"), (name, key)
            assert key != "style", (name, value)
            if key in ("src", "href", "data", "poster", "action", "srcset"):
                assert (value or "").startswith(("data:", "#")), (name, key, value)
    return found
