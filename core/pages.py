"""Blocks of a Markdown page that a command fills: between `<!-- begin NAME -->` and `<!-- end NAME -->`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .errors import UserError
from .files import whole_file

_MARKER = re.compile(r"^<!-- (begin|end) (\S+) -->$", re.MULTILINE)


def blocks(page: str) -> dict[str, tuple[int, int]]:
    """Where the content of each marked block begins and ends in the text of a page.

    Raises:
        UserError: a marker has no partner, comes twice, or two blocks overlap.
    """
    found: dict[str, tuple[int, int]] = {}
    opened: re.Match[str] | None = None
    for marker in _MARKER.finditer(page):
        kind, name = marker.groups()
        if kind == "begin" and opened is None and name not in found:
            opened = marker
        elif kind == "end" and opened is not None and opened[2] == name:
            found[name] = (opened.end(), marker.start())
            opened = None
        else:
            raise UserError(
                f"The marker '{marker[0]}' has no partner or comes twice. Pair it with one of the same name."
            )
    if opened is not None:
        raise UserError(f"The marker '{opened[0]}' has no end. Add '<!-- end {opened[2]} -->'.")
    return found


def with_blocks(page: str, texts: Mapping[str, str]) -> str:
    """The page with texts in their blocks; blocks without a text stay as they are.

    Raises:
        UserError: the page has no block for a text, or its markers do not pair.
    """
    places = blocks(page)
    unknown = sorted(texts.keys() - places.keys())
    if unknown:
        raise UserError(
            f"The page has no block '{unknown[0]}'; it has {', '.join(places) or 'none'}. "
            f"Add '<!-- begin {unknown[0]} -->' and '<!-- end {unknown[0]} -->', or rename the result."
        )
    for name, (begin, end) in sorted(places.items(), key=lambda item: item[1], reverse=True):
        if name in texts:
            page = f"{page[:begin]}\n\n{texts[name]}\n\n{page[end:]}"
    return page


def fill_page(path: Path, texts: Mapping[str, str]) -> None:
    """Replace the page by itself with texts in their blocks, whole or not at all."""
    filled = with_blocks(path.read_text(encoding="utf-8"), texts)
    with whole_file(path) as temporary:
        temporary.write_text(filled, encoding="utf-8")
