"""Names as people give them."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import UserError


def comma_list(texts: str | Iterable[str] | None) -> list[str]:
    """The parts of one comma list or of several, without blanks and empty parts."""
    several = [texts] if isinstance(texts, str) else list(texts or ())
    return [part.strip() for text in several for part in text.split(",") if part.strip()]


def number_ranges(text: str) -> list[int]:
    """Whole numbers from a comma list of numbers and ranges, both ends included: `0-2,5` is 0, 1, 2, 5.

    Raises:
        UserError: a part is neither, a range runs backwards, or there is none.
    """
    found: list[int] = []
    for part in comma_list(text):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UserError(f"'{part}' is no whole number of at least 0 and no range such as 0-2.")
        if dash and int(last) < int(first):
            raise UserError(f"The range {part} runs backwards; write {last}-{first}.")
        found += range(int(first), int(last or first) + 1)
    if not found:
        raise UserError(f"'{text}' names no number; give one or several, such as 0,1,2 or 0-2.")
    return list(dict.fromkeys(found))
