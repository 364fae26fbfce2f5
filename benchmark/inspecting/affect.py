"""Valence and arousal of every label set, as points by expression (Fig. 1b of Zhang et al., WACV 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from ...core.charts import Axes, Series, group, scatter
from ...core.streams import rng
from ...core.web import Column, Content, joined, note, table
from .audit import Audit, TaskAudit

Array = np.ndarray[Any, Any]

MOST_POINTS = 2000
"""Of more samples, a random choice of so many is drawn."""

_BOX = Axes("valence", "arousal", (-1.0, 1.0), (-1.0, 1.0))


def affect(audit: Audit) -> Markup | None:
    """A scatter plot a continuous set, coloured by the classes of the same annotator or else of the first set; and how
    far any two sets are apart. None where there is no continuous set.
    """
    header = audit.manifest.header
    sets = {name: each for name, each in header.label_sets.items() if header.tasks[each.task].kind == "continuous"}
    if not sets:
        return None
    coloured = audit.tasks.get("expression") or next(iter(audit.tasks.values()), None)
    values = {name: audit.manifest.labels(name) for name in sets}
    drawn = []
    for name, each in sets.items():
        colours = _colours(coloured, each.annotator)
        rows = np.flatnonzero(values[name].present)
        if coloured is not None and colours is not None:
            rows = rows[coloured.opinions.present[colours][rows]]
        shown = rows if len(rows) <= MOST_POINTS else np.sort(rng(0, "points", name).choice(rows, MOST_POINTS, False))
        part = "" if len(shown) == len(rows) else f", {len(shown):,} of {len(rows):,} samples"
        by = f" by {colours}" if colours is not None else ""
        drawn.append(scatter(f"{name}{by}{part}", _series(values[name].values, shown, coloured, colours), _BOX))
    names = list(coloured.opinions.task.classes) if coloured is not None else ["samples"]
    return joined(note(_MEANING), group(names, drawn), *_apart(values))


def _colours(coloured: TaskAudit | None, annotator: str) -> str | None:
    """The categorical set that colours an annotator's points."""
    if coloured is None:
        return None
    sets = coloured.opinions.sets
    return next((name for name, each in sets.items() if each.annotator == annotator), next(iter(sets)))


def _series(values: Array, rows: Array, coloured: TaskAudit | None, colours: str | None) -> list[Series]:
    if coloured is None or colours is None:
        return [Series("samples", values[rows, 0].tolist(), values[rows, 1].tolist())]
    classes = coloured.opinions.values[colours][rows]
    drawn = []
    for place, name in enumerate(coloured.opinions.task.classes):
        here = values[rows[classes == place]]
        drawn.append(Series(name, here[:, 0].tolist(), here[:, 1].tolist(), place=place))
    return drawn


def _apart(values: dict[str, Any]) -> list[Markup]:
    """A table of root mean squared differences; nothing for a single set."""
    rows: list[list[Content]] = []
    names = list(values)
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            both = values[first].present & values[second].present
            gap = values[first].values[both] - values[second].values[both]
            errors = np.sqrt((gap**2).mean(axis=0)).tolist() if both.any() else [None, None]
            rows.append([f"{first} × {second}", int(both.sum()), *errors])
    columns = [
        Column("label sets"),
        Column("samples", True, "labelled by both"),
        Column("valence, RMSE", True, "root mean squared difference; the axes span 2"),
        Column("arousal, RMSE", True, "root mean squared difference; the axes span 2"),
    ]
    return [table("How far valence and arousal are apart", columns, rows)] if rows else []


_MEANING = (
    "A point a sample, coloured by the class of the same annotator, or of the first set where it gave none. A press on "
    "a class hides it."
)
