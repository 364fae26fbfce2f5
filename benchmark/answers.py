"""What the finished systems of a table say of the same test samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from .grid import Outcome
from .tables import TableRun

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Answers:
    """Answers to a categorical task.

    Attributes:
        task: its name.
        places: of the N test samples with a true label, in the order of the predictions.
        truth: their true class ids N.
        said: class ids N by system, in the order of the table.
    """

    task: str
    places: Array
    truth: Array
    said: Mapping[str, Array]


def comparable_runs(runs: Sequence[TableRun], outcomes: Sequence[Outcome]) -> list[TableRun]:
    """The finished runs of the table's first seed on its first manifest that left their predictions."""
    first = runs[0].plan
    return [
        run
        for run, outcome in zip(runs, outcomes, strict=True)
        if outcome.result is not None
        and run.plan.folder.predictions.exists()
        and run.plan.config.seed == first.config.seed
        and run.plan.manifest.path == first.manifest.path
    ]


def read_answers(runs: Sequence[TableRun]) -> Answers | None:
    """Those to the first categorical task that the last run predicts, of all runs that do; None without one.

    Args:
        runs: comparable ones.
    """
    last = runs[-1].plan
    kinds = last.manifest.header.tasks
    task = next((name for name in last.choice.truth if kinds[name].kind == "categorical"), None)
    if task is None:
        return None
    runs = [run for run in runs if task in run.plan.choice.truth]
    tables = [pq.read_table(run.plan.folder.predictions, columns=[task, f"{task}_true"]) for run in runs]
    places = np.flatnonzero(np.asarray(tables[-1][f"{task}_true"].is_valid()))
    truth = np.asarray(tables[-1][f"{task}_true"].take(places))
    said = {run.row.system: np.asarray(table[task].take(places)) for run, table in zip(runs, tables, strict=True)}
    return Answers(task, places, truth, said)
