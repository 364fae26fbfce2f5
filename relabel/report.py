"""What a relabelled manifest says: teachers against humans, counted in one pass over the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.schema import LabelSet
from ..manifest import Manifest
from ..training.metrics import confusion_counts, valence_arousal_scores

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Comparison:
    """A teacher's label set against the humans'.

    Attributes:
        teacher: the teacher's set.
        human: the set it is compared with.
        rows: samples that both have labelled.
        counts: K×K, row the human's class, column the teacher's; None for valence and arousal.
        scores: CCC and mean squared error of valence and arousal; empty for classes.
    """

    teacher: str
    human: str
    rows: int
    counts: Array | None
    scores: Mapping[str, float]

    @property
    def agreement(self) -> float:
        """Share of the rows on which they agree; NaN where there is none."""
        return float(np.trace(self.counts) / self.rows) if self.counts is not None and self.rows else float("nan")


def comparisons(manifest: Manifest) -> list[Comparison]:
    """Every set of kind `model` against the set of the same task by `human` or `clean`, where there is one."""
    found = []
    for label_set in manifest.header.label_sets.values():
        human = _human(manifest, label_set.task)
        if label_set.kind == "model" and human is not None:
            found.append(_compared(manifest, label_set, human))
    return found


def _human(manifest: Manifest, task: str) -> LabelSet | None:
    sets = manifest.header.label_sets.values()
    return next((found for found in sets if found.task == task and found.kind == "human"), None)


def _compared(manifest: Manifest, teacher: LabelSet, human: LabelSet) -> Comparison:
    task = manifest.header.tasks[teacher.task]
    theirs, truth = manifest.labels(teacher.name), manifest.labels(human.name)
    both = theirs.present & truth.present
    if task.kind == "categorical":
        classes = len(task.classes)
        counts = confusion_counts(truth.values[both], theirs.values[both], classes)
        return Comparison(teacher.name, human.name, int(both.sum()), counts, {})
    scores = valence_arousal_scores(theirs.values, type(truth)(truth.values, both)) if both.any() else {}
    return Comparison(teacher.name, human.name, int(both.sum()), None, scores)
