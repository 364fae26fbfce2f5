"""Texts in csv files that a spreadsheet cannot take for formulas."""

from __future__ import annotations

GUARDED = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""First characters that make a spreadsheet take a cell for a formula; the last four are the full-width forms that some
take for the others."""


def guard(text: str) -> str:
    """A text that a spreadsheet cannot take for a formula: `=1+1` and the like get an apostrophe in front."""
    return f"'{text}" if text.startswith((*GUARDED, "'")) else text


def unguard(text: str) -> str:
    """The text that `guard` was given."""
    return text[1:] if text[:1] == "'" and text[1:].startswith((*GUARDED, "'")) else text
