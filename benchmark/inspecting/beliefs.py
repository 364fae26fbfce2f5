"""What is believed of each sample's class without the label that is judged: probabilities, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from ...core.errors import UserError, first_line
from ...core.label_values import check_probs, to_probs
from ...core.schema import Task
from ...manifest import Manifest
from ...models.aggregation import Consensus, dawid_skene, posterior_of
from .opinions import Opinions

Array = np.ndarray[Any, Any]

ITERATIONS = 100
"""Of EM, at most; it ends earlier when it has converged."""

_CHUNK = 65_536
_PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Belief:
    """Class probabilities that do not come from the label set they judge.

    Attributes:
        source: where they come from, as a noun phrase.
        probs: float32 N×K.
        known: bool N, false where nothing is believed.
    """

    source: str
    probs: Array
    known: Array


class Beliefs:
    """Beliefs about each label set of a task, best source first.

    A run's predictions where they are given; else the mean of the other annotators' own probabilities; else the
    posterior that Dawid and Skene's model has from the other annotators' labels.

    Args:
        manifest: where the columns are.
        opinions: of the task.
        run: a run's predictions for the task, or None.
    """

    def __init__(self, manifest: Manifest, opinions: Opinions, run: Belief | None = None) -> None:
        self.manifest, self.opinions, self.run = manifest, opinions, run

    def about(self, name: str) -> Belief | None:
        """What is believed without a label set; None where nobody else says anything.

        Raises:
            UserError: a column of probabilities is damaged.
        """
        if self.run is not None and bool(self.run.known.any()):
            return self.run
        others = self.opinions.others(name)
        if not others:
            return None
        telling = [each for each in others if "probs" in self.opinions.sets[each].columns]
        found = self._told(telling) if telling else None
        return found if found is not None and bool(found.known.any()) else self._inferred(others)

    def _told(self, names: Sequence[str]) -> Belief:
        task, rows = self.opinions.task, self.opinions.rows
        total, count = np.zeros((rows, len(task.classes)), np.float32), np.zeros(rows, np.int16)
        for name in names:
            start = 0
            for batch in self.manifest.batches([self.opinions.sets[name].columns["probs"]]):
                column = batch.column(0)
                check_probs(f"{self.manifest.path}: label set '{name}'", task, column)
                probs, there = to_probs(column, len(task.classes))
                here = slice(start, start + len(column))
                total[here][there] += probs[there]
                count[here][there] += 1
                start += len(column)
        each = "the probabilities" if len(names) == 1 else "the mean of the probabilities"
        return Belief(f"{each} of {', '.join(names)}", total / np.maximum(count, 1)[:, None], count > 0)

    def _inferred(self, names: Sequence[str]) -> Belief:
        model = consensus(self.opinions, names)
        rows, classes = self.opinions.rows, len(self.opinions.task.classes)
        probs = np.empty((rows, classes), np.float32)
        for start in range(0, rows, _CHUNK):
            part = slice(start, start + _CHUNK)
            probs[part] = posterior_of(model, *_tensors(self.opinions, names, part)).numpy()
        known = np.logical_or.reduce([self.opinions.present[name] for name in names])
        said = f"the labels of {names[0]}" if len(names) == 1 else f"the Dawid-Skene posterior of {', '.join(names)}"
        return Belief(said, probs, known)


def consensus(opinions: Opinions, names: Sequence[str]) -> Consensus:
    """Dawid and Skene's model of these sets, from the sample's rows.

    Args:
        opinions: of a task.
        names: at least one.
    """
    labels, masks = _tensors(opinions, names, opinions.sample)
    return dawid_skene(labels, masks, len(opinions.task.classes), ITERATIONS)


def run_beliefs(manifest: Manifest, place: Path) -> Mapping[str, Belief]:
    """By categorical task, what a run predicted for the manifest's samples, matched by their ids.

    Args:
        manifest: whose rows are judged.
        place: a run's folder, or a Parquet file with `id` and `<task>_probs` as in a run's `predictions.parquet`.

    Raises:
        UserError: there is none, it is damaged, or it says nothing of any of the samples.
    """
    file = place / _PREDICTIONS if place.is_dir() else place
    if not file.is_file():
        raise UserError(
            f"There is no {file}. --probs takes the folder of a finished run that had test images, or a Parquet file "
            "with 'id' and '<task>_probs'."
        )
    tasks = {name: task for name, task in manifest.header.tasks.items() if task.kind == "categorical"}
    try:
        stored = pq.read_schema(file).names
        there = [task for task in tasks if f"{task}_probs" in stored]
        if "id" not in stored or not there:
            wanted = " or ".join(f"'{task}_probs'" for task in tasks)
            raise UserError(f"{file} has no columns 'id' and {wanted}, so it says nothing of {manifest.path}.")
        table = pq.read_table(file, columns=["id", *(f"{task}_probs" for task in there)])
        places = pc.index_in(manifest.read(["id"])["id"], table["id"].cast(pa.string()).combine_chunks())
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{file} is damaged: {first_line(error)}. Let the run finish again.") from error
    found = np.asarray(places.combine_chunks().fill_null(-1))
    if not (found >= 0).any():
        raise UserError(f"{file} predicts none of the samples of {manifest.path}: no id is in both.")
    return {task: _matched(file, place, tasks[task], table[f"{task}_probs"], found) for task in there}


def _matched(file: Path, place: Path, task: Task, column: pa.ChunkedArray, found: Array) -> Belief:
    merged = column.combine_chunks()
    check_probs(f"{file}: '{task.name}_probs'", task, merged)
    probs, there = to_probs(merged, len(task.classes))
    # the last row is for samples without a prediction
    told = np.append(np.where(there[:, None], probs, 0), np.zeros((1, len(task.classes)), np.float32), axis=0)
    known = np.append(there, False)[found]
    return Belief(f"the predictions of the run {place.resolve().name}", told[found], known)


def _tensors(opinions: Opinions, names: Sequence[str], rows: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    labels = [torch.from_numpy(opinions.values[name][rows].astype(np.int64)) for name in names]
    return labels, [torch.from_numpy(opinions.present[name][rows]) for name in names]
