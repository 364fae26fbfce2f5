"""Progress and summary of make-faces on a terminal; plain lines where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from ...core.terminal import console, progress
from .geometry import Array
from .make import Made
from .state import CLASSES
from .worlds import NO_FACE, NONE, UNCERTAIN

PLAIN_SECONDS = 30.0
"""Where there is no terminal for a bar, a line so often."""

_OTHERS = {NONE: "none", UNCERTAIN: "uncertain", NO_FACE: "no face"}


class FacesDisplay:
    """Shows how far the drawing is."""

    def __init__(self) -> None:
        self.console = console()
        self.bars = progress(self.console)
        self.known: dict[str, Any] = {}
        self.told = time.perf_counter()

    def __enter__(self) -> FacesDisplay:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def progress(self, name: str, done: int, total: int) -> None:
        """Move a dataset's bar, or print a line now and then."""
        if name not in self.known:
            self.known[name] = self.bars.add_task(f"drawing {name}", total=total)
        self.bars.update(self.known[name], completed=done)
        now = time.perf_counter()
        if self.bars.disable and now - self.told > PLAIN_SECONDS:
            self.told = now
            self.console.print(f"{name}: {done:,} of {total:,} drawn")


def print_made(made: Sequence[Made]) -> None:
    """For each dataset its class counts, and its annotator against the truth."""
    out = console()
    for dataset in made:
        out.print(f"{dataset.name}: class counts")
        out.print(_counts(dataset))
        counts = np.sum(list(dataset.counts.values()), axis=0)[: len(CLASSES), : len(CLASSES)]
        total = int(counts.sum())
        wrong = 1 - counts.trace() / max(total, 1)
        out.print(
            f"{dataset.name}: its annotator (columns) against the truth (rows); {wrong:.1%} of {total:,} labels differ"
        )
        out.print(_confusion(counts))
        out.print(escape(f"Wrote {dataset.root}, and its truth to {dataset.truth}."), soft_wrap=True)
    out.print("Drawn faces are for trying the tool, not for science.")


def _counts(dataset: Made) -> Table:
    table = Table("class")
    for split in dataset.counts:
        for what in ("truth", "labels"):
            table.add_column(f"{split} {what}", justify="right")
    for label, name in {**dict(enumerate(CLASSES)), **_OTHERS}.items():
        cells = []
        for counts in dataset.counts.values():
            truth = counts[label].sum() if label < len(CLASSES) else counts[-1].sum() if label == NO_FACE else 0
            cells += [int(truth), int(counts[:, label].sum())]
        if any(cells):
            table.add_row(name, *(f"{cell:,}" for cell in cells))
    return table


def _confusion(counts: Array) -> Table:
    """Shares of each true class, of the classes that occur."""
    present = [label for label in range(len(CLASSES)) if counts[label].any() or counts[:, label].any()]
    table = Table("", *(CLASSES[label] for label in present), "rows")
    for label in present:
        row = counts[label]
        shares = (f"{row[other] / max(row.sum(), 1):.2f}" for other in present)
        table.add_row(CLASSES[label], *shares, f"{row.sum():,}")
    return table
