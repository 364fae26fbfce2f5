"""Names of expressions: which ones mean the same, and their canonical order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .base import CONTEMPT, EXPRESSIONS

_SPELLINGS = {
    "neutral": ("neutrality",),
    "happy": ("happiness", "joy", "joyful"),
    "sad": ("sadness",),
    "surprise": ("surprised",),
    "fear": ("fearful", "scared", "afraid"),
    "disgust": ("disgusted",),
    "anger": ("angry",),
    CONTEMPT: ("contemptuous",),
}
_CANONICAL = {spelling: name for name, others in _SPELLINGS.items() for spelling in (name, *others)}


def expression_name(name: str) -> str | None:
    """The canonical name of an expression in any spelling (`Happiness` is `happy`), or None where it is none."""
    return _CANONICAL.get(name.strip().casefold())


def same_class(a: str, b: str) -> bool:
    """Whether two class names mean the same: spellings of one expression, or equal but for case and outer blanks."""
    first, second = (expression_name(name) or name.strip().casefold() for name in (a, b))
    return first == second


def order_classes(classes: Iterable[str]) -> tuple[str, ...]:
    """Class names in the order of a new task.

    Args:
        classes: of somebody's network or dataset.

    Returns:
        Canonical names in canonical order, contempt last, where all are different expressions; else as they are.
    """
    given = tuple(classes)
    names = {expression_name(name) for name in given}
    if None in names or len(names) != len(given):
        return given
    return tuple(name for name in vocabulary(contempt=True) if name in names)


def vocabulary(*, contempt: bool) -> tuple[str, ...]:
    """The canonical expressions, seven or with contempt eight."""
    return (*EXPRESSIONS, CONTEMPT) if contempt else EXPRESSIONS


def ids_of(names: Sequence[str], *, contempt: bool) -> dict[str, int | None]:
    """For class names that are all known to a dataset, their ids in `vocabulary`; None for one that is not in it."""
    known: Mapping[str | None, int] = {name: index for index, name in enumerate(vocabulary(contempt=contempt))}
    return {name: known.get(expression_name(name)) for name in names}
