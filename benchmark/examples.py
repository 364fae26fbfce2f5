"""Test images with what the systems of a table say of them (paper, Fig. S4): where the last one is right, and wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ..core.streams import rng
from ..training.data import load_split
from ..training.pictures import literal, new_figure, save_figure
from .grid import Outcome
from .tables import TableRun

SUCCESSES, FAILURES, COLUMNS = 10, 5, 5


def choose_examples(said: Mapping[str, Any], truth: Any) -> tuple[list[int], list[int]]:
    """Places of samples on which the last system is right and most others are wrong, and ones on which it is wrong.

    Args:
        said: class ids N by system, the one that is looked at last.
        truth: true class ids N.

    Returns:
        At most `SUCCESSES` and `FAILURES` places, drawn at random among equals, always the same ones.
    """
    *others, last = said.values()
    wrong = np.sum([other != truth for other in others], axis=0, initial=0) + np.zeros(len(truth), int)
    order = rng(0, "examples").permutation(len(truth))
    order = order[np.argsort(-wrong[order], kind="stable")]
    right = last[order] == truth[order]
    return order[right][:SUCCESSES].tolist(), order[~right][:FAILURES].tolist()


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


def draw_examples(path: Path, runs: Sequence[TableRun]) -> None:
    """Draw examples of the first categorical task that the last system predicts; nothing without one.

    Args:
        path: the picture.
        runs: finished ones of one seed and one manifest.
    """
    last = runs[-1].plan
    kinds = last.manifest.header.tasks
    task = next((name for name in last.choice.truth if kinds[name].kind == "categorical"), None)
    if task is None:
        return
    runs = [run for run in runs if task in run.plan.choice.truth]
    tables = [pq.read_table(run.plan.folder.predictions, columns=[task, f"{task}_true"]) for run in runs]
    known = np.flatnonzero(np.asarray(tables[-1][f"{task}_true"].is_valid()))
    truth = np.asarray(tables[-1][f"{task}_true"].take(known))
    said = {run.row.system: np.asarray(table[task].take(known)) for run, table in zip(runs, tables, strict=True)}
    successes, failures = choose_examples(said, truth)
    settings = last.config.settings
    test = load_split(
        last.manifest,
        settings.test_split,
        [],
        size=settings.image_size,
        limit=settings.test_images,
        root=last.root,
    )
    classes = literal(kinds[task].classes)
    rows = -(-len(successes) // COLUMNS) + -(-len(failures) // COLUMNS)
    figure = new_figure(2.3 * COLUMNS, (1.9 + 0.16 * len(said)) * rows + 0.6)
    figure.suptitle(
        f"{runs[-1].row.system}: right above, wrong in the last row. First line: the true class.", fontsize=9
    )
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    first_failure = -(-len(successes) // COLUMNS) * COLUMNS
    for place, sample in [*enumerate(successes), *enumerate(failures, first_failure)]:
        lines = [classes[truth[sample]], *(f"{system}: {classes[ids[sample]]}" for system, ids in said.items())]
        panels[place].imshow(test.images[known[sample]])
        panels[place].set_title("\n".join(lines), fontsize=6)
    save_figure(figure, path)
