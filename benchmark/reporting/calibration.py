"""How sure runs are and how often they are right, from their `predictions.parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import first_line
from ...manifest import Labels
from ...training.metrics import BINS, reliability
from .find import FoundRun

Array = np.ndarray[Any, Any]


def pooled_reliability(runs: Sequence[FoundRun], task: str, classes: int, notes: list[str]) -> Array:
    """`reliability` of a task's predictions, added up over runs, 3×BINS.

    Args:
        runs: finished, of one system.
        task: categorical.
        classes: how many the task has.
        notes: gets a sentence for every run whose predictions cannot be read.
    """
    total = np.zeros((3, BINS))
    for run in runs:
        if run.folder is None or not run.folder.predictions.exists():
            notes.append(f"{run.name} has no predictions, so it is not in the reliability diagram of {task}.")
            continue
        try:
            total += _reliability(run.folder.predictions, task, classes)
        except Exception as error:  # pyarrow raises nearly anything on a damaged file
            notes.append(
                f"{run.folder.predictions} cannot be read ({first_line(error)}), so the run is not in the reliability "
                f"diagram of {task}."
            )
    return total


def _reliability(file: Path, task: str, classes: int) -> Array:
    import pyarrow.parquet as pq

    table = pq.read_table(file, columns=[f"{task}_true", f"{task}_probs"])
    truth, probs = (table[name].combine_chunks() for name in (f"{task}_true", f"{task}_probs"))
    values = np.asarray(probs.flatten(), np.float32).reshape(len(table), classes)
    if not (values.min(initial=0) >= 0 and np.allclose(values.sum(axis=1), 1, atol=1e-2)):
        raise ValueError(f"{task}_probs holds values that are no probabilities")
    present = ~np.asarray(truth.is_null())
    return reliability(values.clip(0, 1), Labels(np.asarray(truth.fill_null(0), np.int64), present))
