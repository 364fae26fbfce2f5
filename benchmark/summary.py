"""What `noisyfer show` says of a manifest, gathered in one pass in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from ..manifest import Manifest

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class SetSummary:
    """One label set in figures.

    Attributes:
        labelled: samples with a label, by split.
        missing: samples without one, by split.
        counts: by class name, for a categorical set.
        mean: valence and arousal, for a continuous one.
    """

    labelled: Mapping[str, int]
    missing: Mapping[str, int]
    counts: Mapping[str, int]
    mean: tuple[float, float] | None


@dataclass(frozen=True)
class Summary:
    """A manifest in figures.

    Attributes:
        samples: by split, in all and by status.
        sets: by label set.
        agreement: for two sets of one categorical task, the share of samples labelled by both on which they agree, or
            for two continuous sets the CCC (mean of valence and arousal); and the number of those samples.
    """

    samples: Mapping[str, Mapping[str, int]]
    sets: Mapping[str, SetSummary]
    agreement: Mapping[tuple[str, str], tuple[float, int]]


def to_json(manifest: Manifest, summary: Summary) -> dict[str, Any]:
    """A manifest in figures for programs: dataset, tasks, label sets with their provenance, samples, agreement."""
    header = manifest.header
    return {
        "path": str(manifest.path),
        "sha256": manifest.fingerprint,
        "dataset": asdict(header.dataset),
        "created_by": header.created_by,
        "parents": list(header.parents),
        "tasks": {name: asdict(task) for name, task in header.tasks.items()},
        "label_sets": {
            name: {**asdict(found), **asdict(summary.sets[name])} for name, found in header.label_sets.items()
        },
        "samples": {split: dict(statuses) for split, statuses in summary.samples.items()},
        "agreement": [
            {"label_sets": list(pair), "agreement": value, "samples": samples}
            for pair, (value, samples) in summary.agreement.items()
        ],
    }


def summarise(manifest: Manifest) -> Summary:
    """Read the manifest's labels once and count.

    Raises:
        UserError: the manifest is damaged.
    """
    header = manifest.header
    columns = [
        column for found in header.label_sets.values() for role, column in found.columns.items() if role != "probs"
    ]
    samples: dict[str, dict[str, int]] = {}
    counters = {name: _Counter(manifest, name) for name in header.label_sets}
    pairs = {
        pair: _Pair(header.tasks[header.label_sets[pair[0]].task].kind)
        for pair in combinations(header.label_sets, 2)
        if header.label_sets[pair[0]].task == header.label_sets[pair[1]].task
    }
    for batch in manifest.batches(["split", "status", *columns]):
        splits = np.asarray(batch.column("split").cast(pa.string()))
        statuses = np.asarray(batch.column("status").cast(pa.string()))
        for split in np.unique(splits):
            found = samples.setdefault(str(split), {})
            for status, count in zip(*np.unique(statuses[splits == split], return_counts=True), strict=True):
                found[str(status)] = found.get(str(status), 0) + int(count)
        values = {name: counter.add(batch, splits) for name, counter in counters.items()}
        for (first, second), pair in pairs.items():
            pair.add(*values[first], *values[second])
    return Summary(
        samples,
        {name: counter.summary() for name, counter in counters.items()},
        {names: pair.result() for names, pair in pairs.items()},
    )


class _Counter:
    """Counts of one label set, batch by batch."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        self.label_set = manifest.header.label_sets[name]
        self.task = manifest.header.tasks[self.label_set.task]
        self.counts = np.zeros(len(self.task.classes), np.int64)
        self.sums = np.zeros(2)
        self.labelled: dict[str, int] = {}
        self.missing: dict[str, int] = {}

    def add(self, batch: pa.RecordBatch, splits: Array) -> tuple[Array, Array]:
        """Count a batch; returns its values (N or N×2) and which are present."""
        roles = ("label",) if self.task.kind == "categorical" else ("valence", "arousal")
        columns = [batch.column(self.label_set.columns[role]) for role in roles]
        present = np.logical_and.reduce([~np.asarray(column.is_null()) for column in columns])
        values = np.stack([column.fill_null(0).to_numpy(zero_copy_only=False) for column in columns], axis=1)
        for split in np.unique(splits):
            here = int(present[splits == split].sum())
            self.labelled[str(split)] = self.labelled.get(str(split), 0) + here
            self.missing[str(split)] = self.missing.get(str(split), 0) + int((splits == split).sum()) - here
        if self.task.kind == "categorical":
            ids = values[present, 0].astype(np.int64)
            # a label out of range is the business of Manifest.validate; here it is left out of the counts
            self.counts += np.bincount(ids[(ids >= 0) & (ids < len(self.counts))], minlength=len(self.counts))
            return values[:, 0], present
        values = values.astype(np.float64)
        self.sums += values[present].sum(axis=0)
        return values, present

    def summary(self) -> SetSummary:
        counts = dict(zip(self.task.classes, map(int, self.counts), strict=True))
        total = sum(self.labelled.values())
        mean = (float(self.sums[0] / total), float(self.sums[1] / total)) if not counts and total else None
        return SetSummary(self.labelled, self.missing, counts, mean)


class _Pair:
    """Agreement of two label sets, batch by batch, from sums that add up."""

    def __init__(self, kind: str) -> None:
        self.continuous = kind == "continuous"
        self.samples = 0
        self.equal = 0
        self.sums = np.zeros((5, 2))  # Σa, Σb, Σa², Σb², Σab for valence and arousal

    def add(self, first: Array, has_first: Array, second: Array, has_second: Array) -> None:
        both = has_first & has_second
        a, b = first[both], second[both]
        self.samples += len(a)
        if self.continuous:
            self.sums += np.stack([a.sum(0), b.sum(0), (a * a).sum(0), (b * b).sum(0), (a * b).sum(0)])
        else:
            self.equal += int((a == b).sum())

    def result(self) -> tuple[float, int]:
        if not self.samples:
            return float("nan"), 0
        if not self.continuous:
            return self.equal / self.samples, self.samples
        mean_a, mean_b, square_a, square_b, product = self.sums / self.samples
        spread = square_a - mean_a**2 + square_b - mean_b**2 + (mean_a - mean_b) ** 2
        ccc = np.where(spread > 0, 2 * (product - mean_a * mean_b) / np.where(spread > 0, spread, 1), 0)
        return float(ccc.mean()), self.samples
