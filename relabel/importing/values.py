"""Labels as a file has them, turned into the class ids, probabilities and numbers of a manifest's task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...core.schema import Task
from ..sources.vocabulary import same_class
from ..tables import Texts
from .orders import mapped

OVERSHOOT = 1.5
"""Valence and arousal up to here are what a regression overshoots by; they are clipped to [-1, 1]."""

AFFECTNET_NONE = -2.0
"""AffectNet's mark for no valence and arousal."""

SUM_TOLERANCE = 0.02
"""How far from 1 printed probabilities may sum."""

MISSING = -1
UNUSABLE = -2


@dataclass(frozen=True)
class Classes:
    """The class ids of one task for the names and ids that files spell them with.

    Attributes:
        task: a categorical task.
    """

    task: Task

    def ids(self, texts: Texts) -> npt.NDArray[np.int16]:
        """A class id for each text, `MISSING` or `UNUSABLE`: by name in any known spelling, else by number."""
        return np.array(mapped(texts, lambda text: self._find(text) if text else MISSING), np.int16)

    def probabilities(
        self, scores: npt.NDArray[np.float64], names: Sequence[str]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
        """Probabilities in the order of the task, and the class of the highest score.

        Scores of classes that the task does not have are dropped and the others rescaled to a sum of 1. Of equal
        scores the first in the task's order counts.

        Args:
            scores: n×K, NaN in a row without.
            names: the K classes of the columns; empty for one that means no label, such as votes for `unknown`.

        Returns:
            n×K' probabilities (NaN where a row has none that can be used), and n class ids: `MISSING` for a row without
            scores, or with the highest one for no label; `UNUSABLE` where the highest is of a class that the task does
            not have, or one is negative or no number.
        """
        places = [MISSING if not name else self._find(name) for name in names]
        own = np.zeros((len(scores), len(self.task.classes)))
        for place, column in zip(places, scores.T, strict=True):
            if place >= 0:
                own[:, place] += column
        absent = np.isnan(scores).any(axis=1)
        broken = ~absent & ~((scores >= 0) & np.isfinite(scores)).all(axis=1)
        usable = ~absent & ~broken
        top = own.argmax(axis=1).astype(np.int16)
        highest = own.max(axis=1)
        top[usable & (highest == 0)] = MISSING
        for code in (UNUSABLE, MISSING):
            others = [column for place, column in zip(places, scores.T, strict=True) if place == code]
            top[usable & np.any([column > highest for column in others], axis=0)] = code
        top[absent], top[broken] = MISSING, UNUSABLE
        with np.errstate(invalid="ignore", divide="ignore"):
            probs = own / own.sum(axis=1, keepdims=True)
        probs[~usable | ~np.isfinite(probs).all(axis=1)] = np.nan
        return probs.astype(np.float32), top

    def _find(self, text: str) -> int:
        for number, name in enumerate(self.task.classes):
            if same_class(name, text):
                return number
        whole = text.removesuffix(".0")
        if whole.isascii() and whole.isdecimal() and len(whole) < 6 and int(whole) < len(self.task.classes):
            return int(whole)
        return UNUSABLE


@dataclass(frozen=True)
class Pairs:
    """Valence and arousal of some rows, usable or not.

    Attributes:
        values: n×2 in [-1, 1]; 0 where there is none.
        present: whether there is a label.
        broken: whether there is something that cannot be used: no number, NaN, infinite, out of range, half a pair.
        clipped: whether a number a little out of range was clipped.
    """

    values: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]
    broken: npt.NDArray[np.bool_]
    clipped: npt.NDArray[np.bool_]


def as_probabilities(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores of a network (n×K, NaN in a row without) as probabilities.

    They are taken as they are where all of them are probabilities, else for logits: softmax.
    """
    rows = ~np.isnan(scores).any(axis=1)
    some = scores[rows]
    if not len(some) or not np.isfinite(some).all():
        return scores
    if (some >= 0).all() and (np.abs(some.sum(axis=1) - 1) < SUM_TOLERANCE).all():
        return scores
    powers = np.exp(some - some.max(axis=1, keepdims=True))
    result = scores.copy()
    result[rows] = powers / powers.sum(axis=1, keepdims=True)
    return result


def pairs(va: npt.NDArray[np.float64]) -> Pairs:
    """Sort out valence and arousal (n×2, NaN for none): -2 is AffectNet's none, up to ±1.5 is clipped, more broken."""
    missing = np.isnan(va) | (va == AFFECTNET_NONE)
    wild = ~missing & ~(np.abs(va) <= OVERSHOOT)
    broken = wild.any(axis=1) | (missing.any(axis=1) & ~missing.all(axis=1))
    present = ~missing.any(axis=1) & ~broken
    clipped = present & (np.abs(va) > 1).any(axis=1)
    values = np.where(present[:, None], np.clip(va, -1, 1), 0).astype(np.float32)
    return Pairs(values, present, broken, clipped)
