"""What figures of all stages share: their look, curves' axes, confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.charts import MOST_CLASSES
from ..core.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMES = 100
"""Names that have room beside the largest matrix; of more classes every second one, or third, … is named."""


def draw_confusion(path: Path, counts: np.ndarray[Any, Any], classes: Sequence[str]) -> None:
    """A confusion matrix: rows true, columns predicted, coloured by the share of the row; shares are written in where
    there are at most `MOST_CLASSES`.
    """
    draw_confusions(path, {"": counts}, classes)


def draw_confusions(path: Path, matrices: Mapping[str, np.ndarray[Any, Any]], classes: Sequence[str]) -> None:
    """Confusion matrices of the same classes by title, at most three beside each other."""
    columns = min(3, len(matrices))
    rows = -(-len(matrices) // columns)
    side = min(len(classes), MOST_CLASSES)
    figure = new_figure((1.5 + 0.62 * side) * columns, (1.2 + 0.58 * side) * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(matrices) :]:
        axes.set_axis_off()
    for axes, (title, counts) in zip(panels, matrices.items(), strict=False):
        _paint_confusion(axes, counts, literal(classes))
        axes.set_title(*literal([title]), fontsize=10)
    save_figure(figure, path)


def _paint_confusion(axes: Axes, counts: np.ndarray[Any, Any], names: Sequence[str]) -> None:
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape) if len(names) <= MOST_CLASSES else ():
        shade = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{shares[row, column]:.2f}", ha="center", va="center", color=shade, fontsize=7)
    named = range(0, len(names), -(-len(names) // MOST_NAMES))
    axes.set_xticks(named, [names[place] for place in named], rotation=45, ha="right", fontsize=8)
    axes.set_yticks(named, [f"{names[place]} ({totals[place, 0]})" for place in named], fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (number)")


def literal(names: Sequence[str]) -> list[str]:
    """Names as a figure shows them; a bare dollar sign would start mathematical text."""
    return [name.replace("$", r"\$") for name in names]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    # the object interface: no global state, and no window system is looked for
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def label_axes(axes: Axes, title: str, quantity: str, legend: bool = True) -> None:
    """Title, axis names, whole epochs, markers where a line would have no length, and a legend where one is needed and
    the figure has none of its own. A panel without any line, whose quantity nobody measured, is left blank.
    """
    from matplotlib.ticker import MaxNLocator

    if not axes.get_lines():
        axes.set_axis_off()
        return
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for line in axes.get_lines():
        bare = line.get_marker() in ("", "None")
        if bare and np.isfinite(np.asarray(line.get_ydata(), float)).sum() < 2:
            line.set_marker("o")  # one point makes no line
    axes.set_ylabel(quantity)
    axes.grid(alpha=0.3)
    if legend and axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
