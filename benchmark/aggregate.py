"""A manifest's label sets of one task into one more, with probabilities, parents and what each annotator is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.errors import UserError, unknown_name
from ..core.files import finite, refuse_existing
from ..core.label_values import to_probs
from ..core.schema import TRUTH_ANNOTATORS, LabelSet, Task
from ..manifest import Labels, Manifest
from . import crowd_libraries  # noqa: F401 (registers its aggregators)
from .aggregators import AGGREGATORS, Aggregate, Aggregator, Array, Given, agreement
from .protocols import noisy_label_sets

MAX_CONFUSION = 100
"""Confusion matrices of more classes than that are not written into the provenance."""


@dataclass(frozen=True)
class Judged:
    """One label set beside the others.

    Attributes:
        name: the set's.
        labels: how many samples it labels.
        reliability: as the method estimates it, valence and arousal apart; None for the result itself.
        scores: against the truth, over samples that both label: `accuracy`, or what `valence_arousal_scores` gives;
            empty without a truth.
    """

    name: str
    labels: int
    reliability: float | tuple[float, float] | None
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Aggregated:
    """What was made.

    Attributes:
        manifest: the new one, open.
        label_set: the new set.
        method: the aggregator's name.
        measure: what its reliabilities are.
        samples: the manifest's samples.
        truth: the label set that was scored against, or None.
        parents: the sets it was made of.
        result: the new set, judged as they are.
        notes: sentences the user should see.
    """

    manifest: Manifest
    label_set: LabelSet
    method: str
    measure: str
    samples: int
    truth: str | None
    parents: tuple[Judged, ...]
    result: Judged
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""

        def judged(entry: Judged) -> dict[str, Any]:
            return {"labels": entry.labels, "reliability": entry.reliability, "scores": dict(entry.scores)}

        return {
            "manifest": str(self.manifest.path),
            "label_set": self.label_set.name,
            "method": self.method,
            "reliability": self.measure,
            "samples": self.samples,
            "truth": self.truth,
            "parents": {entry.name: judged(entry) for entry in self.parents},
            "result": {"labels": self.result.labels, "scores": dict(self.result.scores)},
            "notes": list(self.notes),
        }


def aggregate(
    manifest: Manifest | str | Path,
    method: str,
    *,
    task: str | None = None,
    labels: Sequence[str] = (),
    name: str | None = None,
    probs: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Aggregated:
    """Make one label set of several annotators', as one more set in a new manifest; no image is read.

    Args:
        manifest: the manifest, or its path.
        method: a name in `AGGREGATORS`.
        task: the task; None for the chosen sets', or the only one of the method's kind with two noisy sets or more.
        labels: the label sets; empty for all of the task whose kind is synthetic, model or imported, but those by
            `clean` or `human`.
        name: the new annotator; None for the method's name.
        probs: the label set whose class probabilities `crowdlab` takes for the model's.
        seed: of ties.
        out: the new manifest; None for `<stem>_with_<name>` beside the old one.
        overwrite: replace a manifest that is there.

    Raises:
        UserError: an unknown name, sets that do not fit together or the method, a package that is missing, a set that
            is there already, an output that exists or cannot be written.
    """
    opened = manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
    found = AGGREGATORS[method]
    name = method if name is None else name
    _check_probs(opened, found, probs)
    parents = _parents(opened, found, task, labels, probs)
    about = opened.header.tasks[parents[0].task]
    # a name that is taken, or none for a label set, before any work
    opened.header.with_label_sets([_label_set(about, name, {})], ())
    path = opened.path.with_name(f"{opened.path.stem}_with_{name}{opened.path.suffix}") if out is None else Path(out)
    refuse_existing(path, "--out", overwrite=overwrite)
    given = _given(opened, parents, about, probs, seed)
    made = found.run(given)
    truth = _truth(opened, about.name, [parent.name for parent in parents])
    result, judged = _judge(opened, parents, given, made, truth)
    provenance = _provenance(found, parents, judged, given, made, probs)
    if "accuracy" in result.scores:
        provenance |= {"measured_rate": 1 - result.scores["accuracy"], "measured_against": truth}
    label_set = _label_set(about, name, finite(provenance))
    written = opened.with_label_set(label_set, _columns(about, made), path)
    result = replace(result, name=label_set.name)
    return Aggregated(
        written, label_set, method, found.measure, given.present.shape[1], truth, judged, result, tuple(made.notes)
    )


def _check_probs(manifest: Manifest, found: Aggregator, probs: str | None) -> None:
    if not found.needs_probs:
        if probs is not None:
            raise UserError(f"{found.name} takes no probabilities of a model. Leave --probs out.")
        return
    having = [each.name for each in manifest.header.label_sets.values() if "probs" in each.columns]
    if probs is None:
        raise UserError(
            f"{found.name} needs a model's class probabilities: --probs SET. {manifest.path} has "
            f"{'them in ' + ', '.join(having) if having else 'none'}; 'noisyfer predict' adds such a set."
        )
    if "probs" not in manifest.label_set(probs).columns:
        raise UserError(f"'{probs}' has no probabilities. Those that have: {', '.join(having) or 'none'}.")


def _parents(
    manifest: Manifest, found: Aggregator, task: str | None, labels: Sequence[str], probs: str | None
) -> list[LabelSet]:
    """The sets to be aggregated: two or more of one task."""
    if task is not None and task not in manifest.header.tasks:
        raise unknown_name(f"task in {manifest.path}", task, manifest.header.tasks)
    if labels:
        chosen = [manifest.label_set(name) for name in dict.fromkeys(labels)]
        if probs in labels:
            raise UserError(f"'{probs}' is given with --probs and cannot be one of the annotators too.")
    else:
        noisy = [each for each in noisy_label_sets(manifest) if each.name != probs]
        chosen = _of_one_task(manifest, found, task, noisy)
    tasks = list(dict.fromkeys(each.task for each in chosen))
    if task is not None and tasks not in ([], [task]):
        raise UserError(f"The chosen label sets are for {' and '.join(tasks)}, and --task says {task}.")
    if len(tasks) > 1:
        raise UserError(f"Label sets of one task can be aggregated; the chosen ones are for {' and '.join(tasks)}.")
    if tasks and (kind := manifest.header.tasks[tasks[0]].kind) != found.kind:
        fitting = ", ".join(each for each in AGGREGATORS if AGGREGATORS[each].kind == kind)
        raise UserError(f"{found.name} is for {found.kind} tasks, and '{tasks[0]}' is {kind}. For it: {fitting}.")
    if probs is not None and tasks != [manifest.label_set(probs).task]:
        raise UserError(f"'{probs}' is for another task than the chosen label sets.")
    if len(chosen) < 2:
        there = ", ".join(each.name for each in manifest.header.label_sets.values())
        what = f"only '{chosen[0].name}'" if chosen else "no noisy label set"
        raise UserError(
            f"There is {what} to aggregate by {found.name} in {manifest.path}; two or more were expected. Name "
            f"them with --labels. There are: {there or 'none'}."
        )
    return chosen


def _of_one_task(manifest: Manifest, found: Aggregator, task: str | None, noisy: Sequence[LabelSet]) -> list[LabelSet]:
    """The noisy sets of the task, or of the only one that has several."""
    if task is not None:
        return [each for each in noisy if each.task == task]
    fitting = [each for each in noisy if manifest.header.tasks[each.task].kind == found.kind]
    by_task = {each.task: [other for other in fitting if other.task == each.task] for each in fitting}
    several = [name for name, sets in by_task.items() if len(sets) > 1]
    if len(several) > 1:
        raise UserError(f"{' and '.join(several)} have several noisy label sets each. Choose one with --task.")
    return by_task[several[0]] if several else fitting[:1]


def _given(manifest: Manifest, parents: Sequence[LabelSet], task: Task, probs: str | None, seed: int) -> Given:
    """The sets' labels column by column, and the model's probabilities."""
    told = [manifest.labels(parent.name) for parent in parents]
    for parent, labels in zip(parents, told, strict=True):
        if not labels.present.any():
            raise UserError(f"'{parent.name}' in {manifest.path} has no label at all. Leave it out with --labels.")
    model = None if probs is None else _model(manifest, probs, len(task.classes))
    values, present = np.stack([labels.values for labels in told]), np.stack([labels.present for labels in told])
    return Given(values, present, len(task.classes), seed, model)


def _model(manifest: Manifest, name: str, classes: int) -> Array:
    """N×K of a set's probabilities; NaN where they are missing."""
    batches = manifest.batches([manifest.label_set(name).columns["probs"]])
    blocks = [to_probs(batch.column(0), classes)[0] for batch in batches]
    return np.concatenate([np.zeros((0, classes), np.float32), *blocks])


def _label_set(task: Task, annotator: str, provenance: Mapping[str, Any]) -> LabelSet:
    if task.kind == "categorical":
        return LabelSet.categorical(task.name, annotator, "aggregate", provenance, probs=True)
    return LabelSet.valence_arousal(annotator, "aggregate", provenance, task.name)


def _columns(task: Task, made: Aggregate) -> dict[str, pa.Array]:
    """The new set's columns by their roles."""
    missing = ~made.present
    if made.probs is None:
        values = made.values.astype(np.float32)
        return {role: pa.array(values[:, place], mask=missing) for place, role in enumerate(task.roles)}
    flat = pa.array(np.ascontiguousarray(made.probs, np.float32).ravel())
    return {
        "label": pa.array(made.values.astype(np.int16), mask=missing),
        "probs": pa.FixedSizeListArray.from_arrays(flat, len(task.classes), mask=pa.array(missing)),
    }


def _truth(manifest: Manifest, task: str, parents: Sequence[str]) -> str | None:
    sets = {each.annotator: each.name for each in manifest.header.label_sets.values() if each.task == task}
    found = (sets[annotator] for annotator in TRUTH_ANNOTATORS if annotator in sets)
    return next((name for name in found if name not in parents), None)


def _judge(
    manifest: Manifest, parents: Sequence[LabelSet], given: Given, made: Aggregate, truth: str | None
) -> tuple[Judged, tuple[Judged, ...]]:
    """The result and its parents against the truth."""
    right = manifest.labels(truth) if truth is not None else None

    def scores(values: Array, present: Array) -> dict[str, float]:
        if right is None or not (both := present & right.present).any():
            return {}
        if made.probs is not None:
            return {"accuracy": float((values == right.values)[both].mean())}
        from ..training.metrics import valence_arousal_scores

        return valence_arousal_scores(values, Labels(right.values, both))

    judged = []
    for place, parent in enumerate(parents):
        values, present, worth = given.values[place], given.present[place], made.reliability[place].tolist()
        reliability = tuple(worth) if isinstance(worth, list) else worth
        judged.append(Judged(parent.name, int(present.sum()), reliability, scores(values, present)))
    return Judged("", int(made.present.sum()), None, scores(made.values, made.present)), tuple(judged)


def _provenance(
    found: Aggregator,
    parents: Sequence[LabelSet],
    judged: Sequence[Judged],
    given: Given,
    made: Aggregate,
    probs: str | None,
) -> dict[str, Any]:
    """Where the new set comes from, as JSON values."""
    annotators: dict[str, dict[str, Any]] = {
        entry.name: {"labels": entry.labels, "reliability": entry.reliability} for entry in judged
    }
    if made.probs is not None:
        for name, share in zip(annotators, agreement(given, made.values, made.present).tolist(), strict=True):
            annotators[name]["agreement"] = share
    if made.confusion is not None and given.classes <= MAX_CONFUSION:
        for name, matrix in zip(annotators, made.confusion, strict=True):
            annotators[name]["confusion"] = matrix.round(6).tolist()
    provenance = {
        "method": found.name,
        "parents": [parent.name for parent in parents],
        "reliability": found.measure,
        "annotators": annotators,
        **made.details,
    }
    if found.kind == "categorical":
        provenance |= {"ties": "broken uniformly at random", "seed": given.seed}
    if probs is not None:
        provenance["model"] = probs
    return provenance
