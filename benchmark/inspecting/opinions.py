"""What the annotators of one categorical task say, column by column, and which of them is the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...core.schema import LabelSet, Task
from ...core.streams import rng
from ...manifest import Manifest

Array = np.ndarray[Any, Any]

MOST_ROWS = 1_000_000
"""Samples that κ, confusions and noise are estimated from; of more, a random choice of so many."""

MOST_CELLS = 60_000_000
"""Sets × samples × classes that EM works on at once, eight bytes each: of many classes fewer samples are chosen."""

TRUE_ANNOTATOR = "clean"


@dataclass(frozen=True)
class Opinions:
    """All label sets of a categorical task.

    Attributes:
        task: with its K classes.
        sets: by name, in the manifest's order.
        values: by set, int16 N class ids; 0 where missing.
        present: by set, bool N.
        truth: the name of the true set, None where the manifest knows none.
        sample: ascending rows that estimates are made from; all where there are not too many.
    """

    task: Task
    sets: Mapping[str, LabelSet]
    values: Mapping[str, Array]
    present: Mapping[str, Array]
    truth: str | None
    sample: Array

    @property
    def rows(self) -> int:
        """N."""
        return len(next(iter(self.present.values())))

    @property
    def sampled(self) -> bool:
        """Whether estimates are made from a part of the samples."""
        return len(self.sample) < self.rows

    @property
    def annotators(self) -> tuple[str, ...]:
        """The sets that are somebody's own opinion: neither the truth nor made from the others."""
        return tuple(name for name, found in self.sets.items() if name != self.truth and found.kind != "aggregate")

    def others(self, name: str) -> tuple[str, ...]:
        """The annotators but one."""
        return tuple(each for each in self.annotators if each != name)

    def common(self, *names: str) -> list[Array]:
        """The labels of the sample's rows that all these sets label, a vector a set."""
        both = np.logical_and.reduce([self.present[name][self.sample] for name in names])
        return [self.values[name][self.sample][both] for name in names]


def read_opinions(manifest: Manifest, task: str, truth: str | None = None) -> Opinions | None:
    """Read a task's label sets; None where it has none.

    Args:
        manifest: opened.
        task: a categorical one.
        truth: the set that is true; None to find it, empty for none.

    Raises:
        UserError: a label is out of range, or the manifest has no row.
    """
    sets = {name: found for name, found in manifest.header.label_sets.items() if found.task == task}
    if not sets:
        return None
    values, present = {}, {}
    for name in sets:
        read = manifest.labels(name)
        values[name], present[name] = read.values.astype(np.int16), read.present
    rows = len(next(iter(present.values())))
    if not rows:
        raise UserError(f"{manifest.path} has no row, so there is nothing to inspect.")
    classes = len(manifest.header.tasks[task].classes)
    most = min(MOST_ROWS, max(1000, MOST_CELLS // (classes * len(sets))))
    sample = np.arange(rows) if rows <= most else np.sort(rng(0, "inspect", task).choice(rows, most, replace=False))
    true = find_truth(sets) if truth is None else truth or None
    return Opinions(manifest.header.tasks[task], sets, values, present, true, sample)


def find_truth(sets: Mapping[str, LabelSet]) -> str | None:
    """The set that the others' noise was put on, or one by the annotator `clean`; None where the truth is not known.

    A human's labels are an opinion like others: AffectNet's are as wrong as a network's.
    """
    for found in sets.values():
        if found.kind == "synthetic" and len(found.parents) == 1 and found.parents[0] in sets:
            return found.parents[0]
    return next((name for name, found in sets.items() if found.annotator == TRUE_ANNOTATOR), None)
