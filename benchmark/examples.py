"""Test images with what the systems of a table say of them (paper, Fig. S4): where the last one is right, and wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.streams import rng
from ..training.pictures import literal, new_figure, save_figure
from .answers import Answers
from .run import load_images
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


def draw_examples(path: Path, runs: Sequence[TableRun], answers: Answers) -> None:
    """Draw examples of what systems answered.

    Args:
        path: the picture.
        runs: those that answered.
        answers: of these.
    """
    last, truth, said = runs[-1].plan, answers.truth, answers.said
    successes, failures = choose_examples(said, truth)
    test = load_images(last, last.config.settings.test_split, [])
    classes = literal(last.manifest.header.tasks[answers.task].classes)
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
        panels[place].imshow(test.images[answers.places[sample]])
        panels[place].set_title("\n".join(lines), fontsize=6)
    save_figure(figure, path)
