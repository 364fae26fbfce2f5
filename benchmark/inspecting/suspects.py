"""How good each label is under what is believed without it, and the labels to look at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .beliefs import Belief
from .opinions import Opinions

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Quality:
    """A label set's labels, judged one by one.

    Attributes:
        score: float32 N, the believed probability of the label that was given, in [0, 1]: cleanlab's self-confidence.
            NaN where there is no label or no belief.
        suggested: int16 N, the most probable class; means nothing where `score` is NaN.
        confidence: float32 N, that class's probability.
    """

    score: Array
    suggested: Array
    confidence: Array

    @property
    def order(self) -> Array:
        """Rows with a score, the worst first; equal ones by the confidence of what is suggested, then by row."""
        rows = np.flatnonzero(~np.isnan(self.score))
        return rows[np.lexsort((rows, -self.confidence[rows], self.score[rows]))]

    @property
    def suspicious(self) -> Array:
        """Rows in that order whose label is not the most probable class."""
        order = self.order
        return order[self.score[order] < self.confidence[order]]


@dataclass(frozen=True)
class Suspect:
    """One label to look at.

    Attributes:
        row: of the manifest's view, counted from 0.
        name: its label set.
        rank: among the set's, from 1.
        label: the class id that was given.
        suggested: the class id that is believed.
        score: the believed probability of the given one.
        confidence: that of the suggested one.
    """

    row: int
    name: str
    rank: int
    label: int
    suggested: int
    score: float
    confidence: float


def judge(opinions: Opinions, name: str, belief: Belief) -> Quality:
    """Score each label of a set.

    Args:
        opinions: of the task.
        name: the set.
        belief: class probabilities that do not come from it.
    """
    given = opinions.values[name].astype(np.int64)
    score = np.take_along_axis(belief.probs, given[:, None], axis=1)[:, 0].astype(np.float32)
    suggested = belief.probs.argmax(axis=1)
    confidence = np.take_along_axis(belief.probs, suggested[:, None], axis=1)[:, 0]
    score[~(opinions.present[name] & belief.known)] = np.nan
    return Quality(score, suggested.astype(np.int16), confidence)


def most_suspicious(opinions: Opinions, judged: Mapping[str, Quality], most: int) -> list[Suspect]:
    """The most suspicious labels of all annotators: each one's worst, then each one's second, and so on.

    Scores of different annotators rest on different beliefs and are not compared.

    Args:
        opinions: of the task.
        judged: by set.
        most: so many at most.
    """
    ranked = {name: judged[name].suspicious[:most] for name in opinions.annotators if name in judged}
    found: list[Suspect] = []
    for place in range(max(map(len, ranked.values()), default=0)):
        for name, rows in ranked.items():
            if place < len(rows) and len(found) < most:
                found.append(_suspect(opinions, judged[name], name, int(rows[place]), place + 1))
    return found


def _suspect(opinions: Opinions, quality: Quality, name: str, row: int, rank: int) -> Suspect:
    label, suggested = int(opinions.values[name][row]), int(quality.suggested[row])
    return Suspect(row, name, rank, label, suggested, float(quality.score[row]), float(quality.confidence[row]))


def opinions_of(opinions: Opinions, row: int) -> Sequence[tuple[str, int | None]]:
    """Every set's label of a sample, None where it gave none."""
    return [(name, int(opinions.values[name][row]) if opinions.present[name][row] else None) for name in opinions.sets]
