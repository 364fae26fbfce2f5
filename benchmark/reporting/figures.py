"""The sections of a report that are seen: curves, classes, calibration, confusion matrices, synthesised images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from markupsafe import Markup

from ...core.charts import MOST_CLASSES, Axes, Series, bar_chart, group, heat_map, line_chart
from ...core.web import Cell, Column, Content, folded, heading, joined, note, number_cell, table
from ...training.metrics import BINS
from ..curve_names import agreement_titles
from ..evidence import SHOWN, spread
from .calibration import pooled_reliability
from .find import FoundRun
from .group import Group, SystemRuns, class_names

POINTS = 100
"""Values of a curve that are drawn; of a longer one, so many at equal distances."""

MOST_BARS = 8
"""Systems that are drawn side by side as bars; more are shown as a matrix."""

FREQUENT = 25
"""Confusions that are listed of a larger matrix."""

Known = Mapping[str, Mapping[str, Sequence[str]]]
"""By a manifest's SHA-256 and task, the classes, as far as manifests were found."""


def by_manifest(groups: Sequence[Group], parts: Iterable[Markup]) -> Markup:
    """The parts of a section, one of each manifest, under its name where there are several."""
    pieces = []
    for each, part in zip(groups, parts, strict=True):
        pieces += [heading(each.name)] if len(groups) > 1 else []
        pieces.append(part)
    return joined(*pieces)


def curves(found: Group) -> Markup:
    """Scores, agreement and losses over epochs: the mean over seeds, and from the lowest to the highest as a band."""
    figures: list[Markup] = []
    single: list[Markup] = []
    epochs = [epoch for system in found.systems for run in system.runs for epoch in run.curves.get("epoch", ())]
    if not epochs:
        return note("None of these runs has curves.")
    axes = Axes("epoch", x_range=(min(epochs), max(epochs)))
    for name, title in _curve_names(found).items():
        series = [line for place, system in enumerate(found.systems) if (line := _mean_curve(system, name, place))]
        several = len(series) > 1 or len(found.systems) == 1
        (figures if several else single).append(line_chart(title, series, axes))
    parts = [group(found.names, figures)] if figures else []
    if single:
        parts.append(folded("What single systems have besides", group(found.names, single)))
    if len(set(epochs)) > POINTS:
        parts.insert(0, note(f"Of longer curves {POINTS} epochs at equal distances are drawn."))
    return joined(*parts)


def _curve_names(found: Group) -> dict[str, str]:
    """The curves that some run has, scores first, and their titles."""
    there = dict.fromkeys(name for system in found.systems for run in system.runs for name in run.curves)
    scores = [name for name in there if name.endswith(tuple(f" {metric}" for metric in SHOWN))]
    agreement = agreement_titles(there)
    losses = [name for name in there if name not in (*scores, *agreement, "epoch")]
    return {
        **{name: f"Test {name}" for name in scores},
        **agreement,
        **{name: f"Training: {name.replace('_', ' ')}" for name in losses},
    }


def _mean_curve(system: SystemRuns, name: str, place: int) -> Series | None:
    """A system's curve over its seeds; None where none has it."""
    values: dict[int, list[float]] = {}
    for run in system.runs:
        for epoch, value in zip(run.curves.get("epoch", ()), run.curves.get(name, ()), strict=False):
            if value is not None and np.isfinite(value):
                values.setdefault(int(epoch), []).append(float(value))
    epochs = sorted(values)
    if not epochs:
        return None
    if len(epochs) > POINTS:
        epochs = [epochs[at] for at in np.linspace(0, len(epochs) - 1, POINTS).round().astype(int)]
    several = len(system.runs) > 1
    low, high = ([edge(values[epoch]) for epoch in epochs] if several else [] for edge in (min, max))
    return Series(system.name, epochs, [fmean(values[epoch]) for epoch in epochs], low, high, place)


def classes(found: Group, known: Known) -> Markup:
    """F1 and recall of each class, the mean over seeds, for every categorical task."""
    pieces = []
    for task, systems in _with_matrices(found).items():
        names = class_names(systems[0][1].runs[0], task, known.get(found.sha256, {}))
        scores = {
            f"F1 by class, {task}": [(place, system, _mean_f1(system, task)) for place, system in systems],
            f"Recall by class, {task}": [(place, system, _mean_recall(system, task)) for place, system in systems],
        }
        scores = {title: [each for each in values if len(each[2]) == len(names)] for title, values in scores.items()}
        if len(systems) > MOST_BARS:
            pieces += [
                heat_map(
                    title,
                    [each[2] for each in values],
                    [each[1].name for each in values],
                    names,
                    down="systems",
                    across="classes",
                )
                for title, values in scores.items()
            ]
            continue
        axes = Axes("class", y_range=(0.0, 1.0))
        figures = [
            bar_chart(
                title, names, [Series(system.name, (), values, place=place) for place, system, values in each], axes
            )
            for title, each in scores.items()
        ]
        pieces.append(group(found.names, figures))
    return joined(*pieces) if pieces else note("No task with classes was scored.")


def _with_matrices(found: Group) -> dict[str, list[tuple[int, SystemRuns]]]:
    """By categorical task, the systems that were scored on it, with their places."""
    tasks: dict[str, list[tuple[int, SystemRuns]]] = {}
    for place, system in enumerate(found.systems):
        for task in _result(system.runs[0])["confusion"]:
            tasks.setdefault(task, []).append((place, system))
    return tasks


def _mean_f1(system: SystemRuns, task: str) -> list[float | None]:
    return _mean_over([_result(run)["class_f1"].get(task, []) for run in system.runs])


def _mean_recall(system: SystemRuns, task: str) -> list[float | None]:
    matrices = [_shares(np.asarray(_result(run)["confusion"].get(task, []), float)) for run in system.runs]
    return _mean_over([[matrix[place][place] for place in range(len(matrix))] for matrix in matrices])


def _mean_over(values: Sequence[Sequence[float | None]]) -> list[float | None]:
    """The mean over seeds place by place; None where no seed has a value."""
    found: list[float | None] = []
    for column in zip(*values, strict=False):
        present = [value for value in column if value is not None]
        found.append(fmean(present) if present else None)
    return found


def _shares(counts: np.ndarray[Any, Any]) -> list[list[float | None]]:
    """Each row as shares of its sum; None throughout a row without samples."""
    totals = counts.sum(axis=1) if counts.size else counts
    return [
        [float(value / total) if total else None for value in row] for row, total in zip(counts, totals, strict=True)
    ]


def calibration(found: Group, notes: list[str]) -> Markup:
    """For every categorical task the reliability diagram, seeds pooled, and the expected calibration errors."""
    pieces = []
    centres = [round((place + 0.5) / BINS, 3) for place in range(BINS)]
    for task, systems in _with_matrices(found).items():
        series: list[Series] = []
        rows: list[list[Content]] = []
        for place, system in systems:
            number = len(_result(system.runs[0])["confusion"][task])
            samples, hits, confidence = pooled_reliability(system.runs, task, number, notes)
            errors = [_result(run)["last"]["test"].get(task, {}).get("calibration_error") for run in system.runs]
            total = samples.sum()
            if total:
                shares = [float(hit / n) if n else None for hit, n in zip(hits, samples, strict=True)]
                series.append(Series(system.name, centres, shares, place=place))
            sure = [float(part.sum() / total) if total else None for part in (confidence, hits)]
            rows.append([system.name, number_cell(spread(errors, 4)), *(_share(value) for value in sure)])
        columns = [
            Column("system"),
            Column("ECE", True, "expected calibration error, 15 bins, mean ± deviation over seeds"),
            Column("mean confidence", True),
            Column("accuracy", True),
        ]
        axes = Axes("confidence", "share that is right", (0.0, 1.0), (0.0, 1.0))
        if series:
            title = f"Reliability, {task}"
            pieces.append(group(found.names, [line_chart(title, series, axes, dots=True, diagonal=True)]))
        pieces.append(table(f"Calibration on test images, {task}", columns, rows))
    return joined(*pieces) if pieces else note("No task with classes was scored.")


def _share(value: float | None) -> Cell:
    return Cell("–") if value is None else Cell(f"{value:.4f}", value)


def confusions(found: Group, known: Known, *, opened: bool) -> Markup:
    """Every run's confusion matrices, folded: counts and shares of the true class.

    Args:
        found: runs on one manifest.
        known: classes of manifests.
        opened: whether the first one is open.
    """
    pieces: list[Markup] = []
    for system in found.systems:
        for run in system.runs:
            for task, counts in _result(run)["confusion"].items():
                names = class_names(run, task, known.get(found.sha256, {}))
                summary = f"{system.name}, seed {run.config['seed']}, {task}"
                pieces.append(folded(summary, _matrix(summary, counts, names), opened=opened and not pieces))
    return joined(*pieces) if pieces else note("No task with classes was scored.")


def _matrix(title: str, counts: Sequence[Sequence[int]], names: Sequence[str]) -> Markup:
    if len(names) <= MOST_CLASSES:
        written = [[f"{count:,}" for count in row] for row in counts]
        return heat_map(
            f"{title}: share of the true class, and count",
            _shares(np.asarray(counts, float)),
            names,
            names,
            notes=written,
        )
    matrix = np.asarray(counts)
    wrong = matrix * (1 - np.eye(len(matrix), dtype=int))
    order = np.argsort(wrong, axis=None)[::-1][:FREQUENT]
    rows = [
        [names[row], names[column], int(wrong[row, column]), float(wrong[row, column] / matrix[row].sum())]
        for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[row, column]
    ]
    columns = [Column("true"), Column("predicted"), Column("count", True), Column("share", True)]
    return table(f"{title}: the {len(rows)} most frequent confusions of {len(names)} classes", columns, rows)


def _result(run: FoundRun) -> Mapping[str, Any]:
    return run.result or {}
