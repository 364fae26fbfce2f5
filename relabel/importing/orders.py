"""In which order datasets and tools number the expressions; ids become names here, and names become ids elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from ...core.errors import unknown_name
from ..tables import Texts

T = TypeVar("T")

MANIFEST = "manifest"

_RAF = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")
_AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
_FER2013 = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_FERPLUS = ("neutral", "happy", "surprise", "sad", "anger", "disgust", "fear", "contempt")

AFFECTNET_MISSING = ("8", "9", "10", "-2")
"""AffectNet's None, Uncertain and No-Face, and its mark for no label at all."""

ORDERS: dict[str, dict[str, str]] = {
    "raf": {str(place + 1): name for place, name in enumerate(_RAF)},
    "zero": {str(place): name for place, name in enumerate(_RAF)},
    "affectnet": {
        **{str(place): name for place, name in enumerate(_AFFECTNET)},
        **dict.fromkeys(AFFECTNET_MISSING, ""),
    },
    "fer2013": {str(place): name for place, name in enumerate(_FER2013)},
    "ferplus": {str(place): name for place, name in enumerate(_FERPLUS)},
    MANIFEST: {},
}
"""By name, the class that each id in a file means; empty for no label. RAF-DB's ids are 1 to 7; `zero` counts the same
order from 0; the manifest's own ids stay as they are."""


def named(texts: Texts, order: str) -> Texts:
    """Class names for a column of ids or names.

    An id that the order does not have becomes a text that is no class and no id, such as `id 9`.

    Raises:
        UserError: there is no such order.
    """
    if order not in ORDERS:
        raise unknown_name("order of class ids", order, ORDERS)
    return texts if order == MANIFEST else mapped(texts, lambda text: _name(text, ORDERS[order]))


def mapped(texts: Texts, meaning: Callable[[str], T]) -> list[T]:
    """What each text means, worked out once for each text that there is."""
    import pandas as pd

    codes, known = pd.factorize(np.asarray(texts, dtype=object))
    meanings = np.empty(len(known), dtype=object)
    meanings[:] = [meaning(text) for text in known]
    found: list[T] = meanings[codes].tolist()
    return found


def _name(text: str, names: Mapping[str, str]) -> str:
    whole = text.removesuffix(".0")  # which pandas adds to whole numbers beside missing ones
    is_id = whole.isascii() and whole.removeprefix("-").isdecimal() and len(whole) < 20
    if not is_id:
        return names.get(text, text)
    return names.get(str(int(whole)), f"id {text}")
