"""All figures of an audit, for a page, a terminal or a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...manifest import Manifest
from ...training.metrics import confusion_counts
from ..summary import Summary, summarise
from .agreement import cohen_kappa, fleiss_kappa
from .beliefs import Belief, Beliefs, run_beliefs
from .estimates import (
    NO_CLEANLAB,
    Estimate,
    agreement_rates,
    annotators_em,
    confident_learning,
    has_cleanlab,
    true_noise,
)
from .opinions import Opinions, read_opinions
from .suspects import Quality, judge

Array = np.ndarray[Any, Any]
Pair = tuple[str, str]

WAYS = {"true": "true", "confident": "confident learning", "em": "EM over annotators", "agreement": "by agreement"}
"""The ways to a set's noise, by the key in JSON."""


@dataclass(frozen=True)
class TaskAudit:
    """A categorical task's label sets in figures.

    Attributes:
        opinions: the labels themselves.
        kappa: by pair of sets Cohen's κ, and the samples that both label; None where it is not defined.
        fleiss: Fleiss' κ of all annotators, and the samples that all of them label; None for fewer than three, or
            where it is not defined.
        confusions: by pair K×K counts, row the first set's class.
        noise: by set and way (`WAYS`) an estimate.
        sources: by set, what its labels are judged by; a set that nobody else says anything of is not there.
        judged: by set, the quality of its labels.
        notes: sentences on what is missing and why.
    """

    opinions: Opinions
    kappa: Mapping[Pair, tuple[float | None, int]]
    fleiss: tuple[float, int] | None
    confusions: Mapping[Pair, Array]
    noise: Mapping[str, Mapping[str, Estimate]]
    sources: Mapping[str, str]
    judged: Mapping[str, Quality]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For programs; scores of single samples are left to `--scores`."""
        pairs = [
            {"sets": list(pair), "kappa": kappa, "samples": samples, "confusion": self.confusions[pair].tolist()}
            for pair, (kappa, samples) in self.kappa.items()
        ]
        fleiss = None if self.fleiss is None else {"kappa": self.fleiss[0], "samples": self.fleiss[1]}
        sets = {
            name: {
                "judged_by": self.sources.get(name),
                "suspicious": len(self.judged[name].suspicious) if name in self.judged else None,
                "noise": {way: found.to_json() for way, found in self.noise[name].items()},
            }
            for name in self.opinions.sets
        }
        return {
            "classes": list(self.opinions.task.classes),
            "truth": self.opinions.truth,
            "annotators": list(self.opinions.annotators),
            "estimated_from": len(self.opinions.sample),
            "fleiss": fleiss,
            "pairs": pairs,
            "sets": sets,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Audit:
    """A manifest's labels in figures.

    Attributes:
        manifest: opened.
        summary: counts and agreement of all rows.
        tasks: the categorical ones, by name.
        notes: sentences about the audit as a whole.
    """

    manifest: Manifest
    summary: Summary
    tasks: Mapping[str, TaskAudit]
    notes: tuple[str, ...]

    @property
    def all_notes(self) -> list[str]:
        """Those of the tasks too, each once."""
        return list(dict.fromkeys([*self.notes, *(note for task in self.tasks.values() for note in task.notes)]))

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        summary = self.summary
        return {
            "path": str(self.manifest.path),
            "sha256": self.manifest.fingerprint,
            "samples": {split: dict(found) for split, found in summary.samples.items()},
            "counts": {name: dict(found.counts) for name, found in summary.sets.items() if found.counts},
            "labelled": {name: sum(found.labelled.values()) for name, found in summary.sets.items()},
            "agreement": [
                {"sets": list(pair), "value": value, "samples": samples}
                for pair, (value, samples) in summary.agreement.items()
            ],
            "tasks": {name: task.to_json() for name, task in self.tasks.items()},
            "notes": list(self.notes),
        }


def audit_manifest(manifest: Manifest, *, probs: Path | None = None, truth: str | None = None) -> Audit:
    """Count, compare and judge a manifest's labels.

    Args:
        manifest: opened.
        probs: a run's folder, or a Parquet file of predictions, to judge labels by; None for the other annotators.
        truth: the label set that is true; `none` for none, None to find it.

    Raises:
        UserError: a set or file is not there, a label is out of range, or the manifest has no row.
    """
    if truth not in (None, "none"):
        task = manifest.header.tasks[manifest.label_set(truth).task]
        if task.kind != "categorical":
            raise UserError(
                f"'{truth}' is of the task {task.name}, which has no classes; --truth takes a set that has."
            )
    predicted = run_beliefs(manifest, probs) if probs is not None else {}
    notes: list[str] = [] if has_cleanlab() else [NO_CLEANLAB]
    tasks = {}
    for name, each in manifest.header.tasks.items():
        if each.kind != "categorical":
            continue
        named = truth is not None and truth != "none" and manifest.label_set(truth).task == name
        opinions = read_opinions(manifest, name, truth if named else "" if truth == "none" else None)
        if opinions is not None:
            tasks[name] = _audit_task(manifest, opinions, predicted.get(name))
    if not tasks:
        notes.append("There is no label set with classes: κ, noise and suspicious samples are of classes.")
    return Audit(manifest, summarise(manifest), tasks, tuple(notes))


def _audit_task(manifest: Manifest, opinions: Opinions, predicted: Belief | None) -> TaskAudit:
    notes: list[str] = []
    name = opinions.task.name
    if opinions.sampled:
        notes.append(
            f"{name}: κ, confusions and noise are estimated from {len(opinions.sample):,} of {opinions.rows:,} "
            "samples, chosen at random."
        )
    if predicted is not None:
        notes.append(f"{name}: {predicted.source} cover {int(predicted.known.sum()):,} of {opinions.rows:,} samples.")
    beliefs = Beliefs(manifest, opinions, predicted)
    ways = {"em": annotators_em(opinions), "agreement": agreement_rates(opinions)}
    noise: dict[str, dict[str, Estimate]] = {}
    sources, judged = {}, {}
    for each in opinions.sets:
        found = {"true": true_noise(opinions, each)}
        belief = beliefs.about(each)
        if belief is None:
            notes.append(
                f"{each}: nobody else labels {name}, so no label is judged. Give a run's predictions by --probs."
            )
        else:
            sources[each], judged[each] = belief.source, judge(opinions, each, belief)
            found["confident"] = confident_learning(opinions, each, belief, notes)
        found |= {way: estimates.get(each) for way, estimates in ways.items()}
        noise[each] = {way: estimate for way, estimate in found.items() if estimate is not None}
    kappa, confusions = _pairs(opinions)
    return TaskAudit(opinions, kappa, _fleiss(opinions), confusions, noise, sources, judged, tuple(notes))


def _pairs(opinions: Opinions) -> tuple[dict[Pair, tuple[float | None, int]], dict[Pair, Array]]:
    kappa, confusions = {}, {}
    classes = len(opinions.task.classes)
    for pair in combinations(opinions.sets, 2):
        first, second = opinions.common(*pair)
        confusions[pair] = confusion_counts(first, second, classes)
        kappa[pair] = cohen_kappa(confusions[pair]), len(first)
    return kappa, confusions


def _fleiss(opinions: Opinions) -> tuple[float, int] | None:
    names: Sequence[str] = opinions.annotators
    if len(names) < 3:
        return None
    labels = np.stack(opinions.common(*names)).astype(np.int64)
    classes, samples = len(opinions.task.classes), labels.shape[1]
    cells = np.arange(samples)[None, :] * classes + labels
    counts = np.bincount(cells.ravel(), minlength=samples * classes).reshape(samples, classes)
    value = fleiss_kappa(counts)
    return None if value is None else (value, samples)
