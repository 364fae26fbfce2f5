"""What the pages of the site need beyond Markdown: blocks that the tests do not run say so."""

from __future__ import annotations

import re
from typing import Any

MARK = re.compile(r"^( *)```(sh|python) no-test$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn `no-test` behind a fence's language, which Markdown does not know, into a title that a reader sees."""
    return MARK.sub(r'\1```\2 title="needs data or time: not run by the tests"', markdown)
