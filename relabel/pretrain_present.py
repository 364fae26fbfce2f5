"""Progress and result of a pretraining on a terminal; plain lines where the output is no terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from ..core.config import to_dict
from ..core.terminal import Bars, console
from .pretrain_plan import PretrainPlan


class PretrainDisplay:
    """Shows a pretraining as it goes: a bar on a terminal, one line an epoch anywhere."""

    def __init__(self) -> None:
        self.console = console()
        self.bars = Bars(self.console)
        self.epochs = 0

    def __enter__(self) -> PretrainDisplay:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def said(self, text: str) -> None:
        """Print a sentence."""
        self.console.print(escape(text))

    def decoding(self, split: str, done: int, total: int) -> None:
        """Show how far the images of a split are decoded."""
        self.bars.show(f"decoding {split} images", done, total)

    def started(self, plan: PretrainPlan, epochs_done: int) -> None:
        """Say what begins, or goes on."""
        self.bars.clear()
        self.epochs = plan.settings.epochs
        going = f"goes on after epoch {epochs_done}" if epochs_done else "starts"
        self.console.print(escape(f"{plan.out.name} {going}: {plan.folder.path}"))

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Move the bar; it counts steps over all epochs, so that the time left is the run's."""
        if not self.bars.hidden:
            text = f"epoch {epoch}/{self.epochs} loss {loss:.3f}"
            self.bars.show(text, (epoch - 1) * steps + step, self.epochs * steps, key="training")

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Print an epoch's line."""
        losses = " ".join(f"{name} {loss:.3f}" for name, loss in row["losses"].items())
        count = f"{row['epoch']}/{self.epochs}"
        self.console.print(
            escape(f"epoch {count} val {_scores(row['val'])}, training {losses} ({row['seconds']:.1f} s)")
        )


def print_plan(plan: PretrainPlan) -> None:
    """Say on what and with which values the teacher is trained."""
    out = console()
    learned = ", ".join(found.name for found in plan.sets)
    out.print(
        escape(
            f"{plan.description.architecture} learns {learned} of {plan.manifest.path}; device {plan.device}, "
            f"seed {plan.seed}"
        )
    )
    out.print(escape(f"  {', '.join(f'{name} {value}' for name, value in to_dict(plan.settings).items())}"))


def print_result(plan: PretrainPlan, result: Mapping[str, Any]) -> None:
    """The confusion on the validation images, the last epoch's scores, and where everything is."""
    out = console()
    for task, counts in result["confusion"].items():
        classes, matrix = plan.description.tasks[task].classes, np.asarray(counts)
        table = Table("", *map(escape, classes), "images", title_justify="left")
        table.title = f"{escape(task)}: human labels (rows) and the teacher's (columns)"
        for name, row in zip(classes, matrix, strict=True):
            table.add_row(escape(name), *(f"{share:.2f}" for share in row / max(row.sum(), 1)), f"{row.sum():,}")
        out.print(table)
    images = result["images"]
    out.print(
        escape(
            f"After the last epoch, on {result['measured_on']} ({images['val']:,} images): "
            f"{_scores(result['last']['val'])}."
        )
    )
    out.print(
        escape(
            f"Trained on {images['train']:,} images at {result['images_per_second']:.0f} images/s. Curves and "
            f"confusion matrix: {plan.folder.path}"
        )
    )
    before = f"{plan.out} was finished before; nothing was left to do."
    out.print(escape(before if result.get("finished_before") else f"Wrote {plan.out}."))


def _scores(scores: Mapping[str, Mapping[str, float | None]]) -> str:
    shown = {"accuracy": "accuracy", "balanced_accuracy": "mean of the classes", "ccc": "CCC", "mse": "MSE"}
    return ", ".join(
        f"{task} {label} {found[name]:.3f}"
        for task, found in scores.items()
        for name, label in shown.items()
        if found.get(name) is not None
    )
