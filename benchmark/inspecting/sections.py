"""The sections of an audit's page that are read: label sets, counts, agreement, noise, valence and arousal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ...core.charts import MOST_CLASSES, Axes, Series, bar_chart, group, heat_map
from ...core.web import Cell, Column, Content, folded, heading, joined, note, table
from ...training import metrics
from ..reporting.audit import class_counts_table, samples_table
from .audit import WAYS, Audit, TaskAudit
from .matrices import counts_matrix, share_matrix

Array = np.ndarray[Any, Any]

MOST_CELLS = 60_000
"""Cells of confusion matrices on a page; of further pairs there are κ and agreement only."""


def label_sets(audit: Audit) -> Markup:
    """Samples, and a row a label set."""
    rows: list[list[Content]] = []
    for name, each in audit.manifest.header.label_sets.items():
        found = audit.summary.sets[name]
        judged = audit.tasks[each.task].judged.get(name) if each.task in audit.tasks else None
        source = audit.tasks[each.task].sources.get(name, "") if each.task in audit.tasks else ""
        counts = [sum(found.labelled.values()), sum(found.missing.values())]
        rows.append([name, each.task, each.kind, *counts, None if judged is None else len(judged.suspicious), source])
    columns = [
        *(Column("label set"), Column("task"), Column("kind")),
        *(Column("labelled", True), Column("missing", True)),
        Column("suspicious", True, "labels that are not the most probable class under what they are judged by"),
        Column("judged by"),
    ]
    return joined(samples_table(audit.summary), table("Label sets", columns, rows))


def counts(audit: Audit) -> Markup:
    """How often each set gives each class: bars and a table a task."""
    parts = []
    for task, found in audit.tasks.items():
        classes, names = found.opinions.task.classes, list(found.opinions.sets)
        each = {name: audit.summary.sets[name].counts for name in names}
        totals = {name: max(1, sum(counted.values())) for name, counted in each.items()}
        if len(classes) <= MOST_CLASSES:
            series = [
                Series(name, (), [each[name][label] / totals[name] for label in classes], place=place)
                for place, name in enumerate(names)
            ]
            drawn = bar_chart(
                f"Share of each class, {task}", classes, series, Axes("class", "share of the set's labels")
            )
            parts.append(group(names, [drawn]))
        filterable = len(classes) > MOST_CLASSES
        parts.append(class_counts_table(audit.summary, task, classes, names, filterable=filterable))
    return joined(*parts)


def agreement(audit: Audit) -> Markup:
    """Agreement and κ of any two sets of a task, Fleiss' κ of all, and every pair's confusion matrix."""
    parts: list[Markup] = [note(_KAPPA)]
    left = MOST_CELLS
    for task, described in audit.manifest.header.tasks.items():
        names = [name for name, each in audit.manifest.header.label_sets.items() if each.task == task]
        if len(names) < 2:
            continue
        what = "share of samples" if described.kind == "categorical" else "CCC, mean of valence and arousal"
        pairs = audit.summary.agreement
        maps = [_pair_map(f"Agreement, {task} ({what})", names, {pair: value for pair, (value, _) in pairs.items()})]
        found = audit.tasks.get(task)
        if found is not None:
            kappas = {pair: value for pair, (value, _) in found.kappa.items()}
            maps.append(_pair_map(f"Cohen's κ, {task}", names, kappas))
        parts.append(Markup('<div class="wide">{}</div>').format(joined(*maps)))
        if found is None:
            continue
        if found.fleiss is not None:
            told = f"Fleiss' κ of {', '.join(found.opinions.annotators)}: {found.fleiss[0]:.3f}"
            parts.append(note(f"{told}, on {found.fleiss[1]:,} samples that all of them label."))
        shown, left = _confusions(task, found, left)
        parts.append(shown)
    return joined(*parts) if len(parts) > 1 else note("No task has two label sets to be compared.")


def _pair_map(title: str, names: Sequence[str], values: dict[tuple[str, str], float | None]) -> Markup:
    def of(row: str, column: str) -> float | None:
        if row == column:
            return 1.0
        value = values.get((row, column), values.get((column, row)))
        return None if value is None or value != value else value

    cells = [[of(row, column) for column in names] for row in names]
    return heat_map(title, cells, names, names, down="label sets", across="label sets", digits=3)


def _confusions(task: str, found: TaskAudit, left: int) -> tuple[Markup, int]:
    parts, skipped = [heading(f"Confusions, {task}")], 0
    classes = found.opinions.task.classes
    for pair, counted in found.confusions.items():
        left -= counted.size if len(classes) <= MOST_CLASSES else 0
        if left < 0 or not counted.any():
            skipped += left < 0
            continue
        kappa = found.kappa[pair][0]
        told = "" if kappa is None else f", κ {kappa:.3f}"
        title = "Share of the row, and count"
        summary = f"{pair[0]} × {pair[1]}{told}"
        parts.append(folded(summary, counts_matrix(title, counted, classes, pair[0], pair[1])))
    if skipped:
        parts.append(note(f"Matrices of {skipped} further pairs are left out; --json has them."))
    return joined(*parts), left


def noise(audit: Audit) -> Markup | None:
    """Rates and transition matrices of every set, estimated and true; None where there is neither."""
    parts: list[Markup] = []
    for task, found in audit.tasks.items():
        if not any(found.noise.values()):
            continue
        ways = [way for way in WAYS if any(way in each for each in found.noise.values())]
        columns = [Column("label set"), *(Column(WAYS[way], True, _MEANINGS[way]) for way in ways)]
        named = any("confident" in each for each in found.noise.values())
        columns += [Column("named wrong", True, "labels that confident learning would remove")] if named else []
        true = "true" in ways
        matrices = [way for way in ways if way in ("confident", "em")] if true else []
        columns += [Column(f"error of T, {WAYS[way]}", True, "‖T̂ − T‖₁ / ‖T‖₁") for way in matrices]
        rows: list[list[Content]] = []
        for name, each in found.noise.items():
            if each:
                wrong = [each["confident"].wrong if "confident" in each else None] if named else []
                rates = [_rate(each[way].rate) if way in each else None for way in ways]
                rows.append([name, *rates, *wrong, *(transition_error(found, name, way) for way in matrices)])
        parts.append(table(f"Share of wrong labels, {task}", columns, rows))
        parts += filter(None, (_transitions(found, name) for name in found.noise))
    return joined(note(_NOISE), *parts) if parts else None


def transition_error(found: TaskAudit, name: str, way: str) -> float | None:
    """‖T̂ − T‖₁ / ‖T‖₁ of an estimate, over classes that both matrices have; None where there is no truth.

    Args:
        found: a task.
        name: a label set of it.
        way: `confident` or `em`.
    """
    each = found.noise[name]
    if "true" not in each or way not in each:
        return None
    true, estimate = each["true"].transition, each[way].transition
    if true is None or estimate is None:
        return None
    both = ~(np.isnan(true) | np.isnan(estimate)).any(axis=1)
    return metrics.transition_error(estimate[both], true[both]) if both.any() else None


def _rate(value: float) -> Cell:
    return Cell(f"{value:.1%}", value)


def _transitions(found: TaskAudit, name: str) -> Markup | None:
    classes = found.opinions.task.classes
    drawn = [
        share_matrix(f"{name}, {WAYS[way]}", each.transition, classes, "true class", "label")
        for way, each in found.noise[name].items()
        if each.transition is not None
    ]
    if not drawn:
        return None
    return folded(f"Transition matrices of {name}", Markup('<div class="wide">{}</div>').format(joined(*drawn)))


_MEANINGS = {
    "true": "counted against the true set",
    "confident": "confident learning (cleanlab)",
    "em": "Dawid and Skene's model of all annotators",
    "agreement": "pairwise agreement under symmetric, independent noise",
}
_KAPPA = (
    "Cohen's κ is agreement beyond chance of two sets on the samples that both label: 1 is full agreement, 0 that of "
    "chance. Fleiss' κ is of all annotators at once; the true set and sets made from others are no annotators."
)
_NOISE = (
    "Estimates use no true label. A transition matrix has in row i the shares of the labels that samples of the true "
    "class i get; a dash stands for a class that was seen nowhere. EM and agreement need three annotators who err "
    "independently; confident learning is as good as the probabilities it is given."
)
