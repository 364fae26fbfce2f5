"""The names of curves that stand for agreement with a label set, and their titles in figures."""

from __future__ import annotations

from collections.abc import Iterable

AGREES = "agrees "
"""First word of an agreement with a label set: `agrees t20` is with the set `t20`."""


def agreement_titles(names: Iterable[str]) -> dict[str, str]:
    """Of a run's curves those that are agreement with a label set, in their order, and the title of each."""
    sets = {name: name.removeprefix(AGREES) for name in names if name.startswith(AGREES)}
    return {name: f"Agreement with {label_set}, training images" for name, label_set in sets.items()}
