"""Matrices of classes on a page: shares with counts, or of very many classes the largest entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ...core.charts import MOST_CLASSES, heat_map
from ...core.web import Column, Content, table
from .estimates import shares

Array = np.ndarray[Any, Any]

LARGEST_ENTRIES = 25
"""Off the diagonal, that are listed instead of a matrix of very many classes."""


def counts_matrix(title: str, counts: Array, classes: Sequence[str], down: str, across: str) -> Markup:
    """Counts K×K as shares of their rows, with the counts below.

    Args:
        title: plain text.
        counts: K×K.
        classes: K names.
        down: what the rows are.
        across: what the columns are.
    """
    if len(classes) > MOST_CLASSES:
        return _listed(title, counts.astype(np.float64), classes, down, across, "count")
    written = [[f"{count:,}" for count in row] for row in counts.tolist()]
    return heat_map(title, known(shares(counts)), classes, classes, notes=written, down=down, across=across)


def share_matrix(title: str, values: Array, classes: Sequence[str], down: str, across: str) -> Markup:
    """Shares K×K; NaN is shown as a dash."""
    if len(classes) > MOST_CLASSES:
        return _listed(title, values, classes, down, across, "share")
    return heat_map(title, known(values), classes, classes, down=down, across=across)


def known(values: Array) -> list[list[float | None]]:
    """The same numbers for a chart, None for NaN."""
    return [[None if value != value else float(value) for value in row] for row in values.tolist()]


def _listed(title: str, values: Array, classes: Sequence[str], down: str, across: str, what: str) -> Markup:
    wrong = np.nan_to_num(values * (1 - np.eye(len(values))))
    order = np.argsort(wrong, axis=None)[::-1][:LARGEST_ENTRIES]
    rows: list[list[Content]] = [
        [classes[row], classes[column], float(wrong[row, column])]
        for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[row, column]
    ]
    columns = [Column(down), Column(across), Column(what, True)]
    return table(f"{title}: the {len(rows)} largest entries off the diagonal of {len(classes)} classes", columns, rows)
