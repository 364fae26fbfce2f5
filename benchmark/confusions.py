"""Confusion matrices of a table's systems, beside those of the labels they learned from (paper, Fig. S3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..training.metrics import confusion_counts
from ..training.pictures import draw_confusions
from .answers import Answers
from .tables import TableRun


def draw_table_confusions(path: Path, runs: Sequence[TableRun], answers: Answers) -> None:
    """Draw a panel for each noisy label set that has labels of the test split, as a teacher's has, and each system.

    Args:
        path: the picture.
        runs: those that answered.
        answers: of these.
    """
    last = runs[-1].plan
    classes = last.manifest.header.tasks[answers.task].classes
    found = _label_sets(runs[-1], answers.task, len(classes))
    found |= {system: confusion_counts(answers.truth, ids, len(classes)) for system, ids in answers.said.items()}
    draw_confusions(path, found, classes)


def _label_sets(run: TableRun, task: str, classes: int) -> dict[str, np.ndarray[Any, Any]]:
    choice = run.plan.choice
    test = run.plan.manifest.select(splits=[run.plan.config.settings.test_split])
    truth = test.labels(choice.truth[task])
    found = {}
    for name in choice.labels:
        if test.label_set(name).task == task:
            labels = test.labels(name)
            both = labels.present & truth.present
            if both.any():
                found[name] = confusion_counts(truth.values[both], labels.values[both], classes)
    return found
