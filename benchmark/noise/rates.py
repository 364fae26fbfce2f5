"""Noise rates as text, and what the annotators of those rates are called."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from ...core.errors import UserError


def parse_rates(text: str) -> tuple[float, ...]:
    """Read a comma list of noise rates, such as "0.2,0.3,0.4".

    Raises:
        UserError: an item is missing, no number, or outside [0, 1).
    """
    return tuple(_rate(item.strip(), text) for item in text.split(","))


def _rate(item: str, text: str) -> float:
    if not item:
        found = f"'{text}' have an empty item" if text.strip() else "are empty"
        raise UserError(f"The noise rates {found}, expected numbers with commas between them, such as 0.2,0.3,0.4.")
    try:
        rate = float(item)
    except ValueError:
        rate = math.nan
    if not 0 <= rate < 1:
        found = "is no number" if math.isnan(rate) else "is out of range"
        raise UserError(f"The noise rate '{item}' {found}, expected 0 or more and below 1. Write 0.2 for 20 %.")
    return rate + 0.0  # -0 becomes 0


def annotator_names(stem: str, rates: Sequence[float | None]) -> list[str]:
    """Name one annotator a rate: flip20 for 0.2, flip12p5 for 0.125; equal rates get flip20, flip20b, flip20c, …

    A name depends on its rate and the number of equal ones before it only, so that another list of rates keeps the
    names, and with them the random streams, of the rates it shares. A rate of None gives the stem alone.
    """
    joint = "-" if stem[-1:].isdigit() else ""  # or stem "m1" at 2 % would read like "m" at 12 %
    seen: Counter[str] = Counter()
    names = []
    for rate in rates:
        name = stem if rate is None else f"{stem}{joint}{_percent(rate)}"
        names.append(name + _letters(seen[name]))
        seen[name] += 1
    return names


def _percent(rate: float) -> str:
    """0.2 → "20", 0.125 → "12p5"; exact in decimals, where 100 times 0.29 would be 28.999999999999996."""
    digits = format(Decimal(repr(float(rate))) * 100, "f")
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits).replace(".", "p")


def _letters(repeat: int) -> str:
    """0 → nothing, 1 → "b", …, 25 → "z", 26 → "aa", as spreadsheets count."""
    letters, number = "", repeat + 1 if repeat else 0
    while number:
        number, digit = divmod(number - 1, 26)
        letters = chr(ord("a") + digit) + letters
    return letters
