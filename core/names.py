"""Names as people give them."""

from __future__ import annotations

from collections.abc import Iterable


def comma_list(texts: str | Iterable[str] | None) -> list[str]:
    """The parts of one comma list or of several, without blanks and empty parts."""
    several = [texts] if isinstance(texts, str) else list(texts or ())
    return [part.strip() for text in several for part in text.split(",") if part.strip()]
