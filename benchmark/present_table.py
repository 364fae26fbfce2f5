"""A table's runs on a terminal: a line for each epoch and end, and the table of means and spreads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from ..core.terminal import Bars, console
from .evaluate import score_text
from .evidence import HEADINGS, System, cells, shown_columns
from .present import duration
from .search import Trial, ranked
from .tables import TableRun


class GridDisplay:
    """Shows a grid as it goes: a bar of epochs on a terminal, and one line an epoch and a run's end anywhere.

    Args:
        runs: of the grid.
        silent: show nothing, as where JSON is printed.
    """

    def __init__(self, runs: Sequence[TableRun], *, silent: bool = False) -> None:
        self.console = console()
        self.console.quiet |= silent
        self.bars = Bars(self.console)
        self.runs = runs
        self.epochs = [0] * len(runs)
        self.total = sum(run.plan.config.settings.epochs for run in runs)

    def __enter__(self) -> GridDisplay:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def heed(self, place: int, message: tuple[Any, ...]) -> None:
        """Show what a run says; see `grid.Heed`."""
        kind, *values = message
        run = self.runs[place]
        name = f"{run.row.system}, seed {run.plan.config.seed}"
        epochs = run.plan.config.settings.epochs
        if kind == "started":
            self.epochs[place] = values[0]
            going = f"goes on after epoch {values[0]}" if values[0] else "starts"
            self._say(f"{name} {going}: {run.plan.folder.path}")
        elif kind == "epoch":
            row = values[0]
            self.epochs[place] = row["epoch"]
            score = score_text(row["test"], 3)
            losses = " ".join(f"{key} {loss:.3f}" for key, loss in row["losses"].items())
            seconds = sum(row["seconds"].values())
            self._say(f"{name} epoch {row['epoch']}/{epochs} {score} {losses} ({seconds:.1f} s)")
        elif kind == "finished":
            self.epochs[place] = epochs
            took = duration(sum(values[0]["seconds"].values()))
            self._say(f"{name} finished: {score_text(values[0]['last']['test'], 4)} ({took})")
        elif kind == "failed":
            self._say(f"{name} failed: {values[0]}")
        if not self.bars.hidden:
            self.bars.show(f"{len(self.runs)} runs, epochs", sum(self.epochs), self.total, key="epochs")

    def _say(self, text: str) -> None:
        self.console.print(escape(text))


def print_systems(title: str, found: Sequence[System], folder: Path) -> None:
    """The table, what failed, and where its files are."""
    out = console()
    table = Table(title=escape(title), title_justify="left")
    rows = cells(found)
    shown = shown_columns(rows)
    for place in shown:
        table.add_column(HEADINGS[place], justify="left" if place < 3 else "right")
    for row in rows:
        table.add_row(*(escape(row[place]) for place in shown))
    out.print(table)
    out.print("Accuracies in %, mean ± standard deviation over seeds.")
    out.print("oracle: the best epoch by test labels, for reading only. agrees: predictions on training images.")
    out.print("memorised: the share of their wrong labels that is predicted.")
    for system in found:
        for failure in system.failures:
            out.print(escape(f"{system.name}, {failure}"))
    out.print(escape(f"Files: {folder}"))


def print_queue(entries: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """The runs of a sweep and how far they are."""
    out = console()
    table = Table("run", "seed", "state", "epochs", "score", "folder")
    for entry in entries:
        score = "" if entry["score"] is None else f"{entry['score']:.4f}"
        cells_ = [entry["system"], entry["seed"], entry["state"], entry["epochs"], score, entry["folder"]]
        table.add_row(*(escape(str(cell)) for cell in cells_))
    out.print(table)
    finished = sum(entry["state"] == "finished" for entry in entries)
    out.print(escape(f"{finished} of {len(entries)} runs are finished. Files: {folder}"))


def print_trials(trials: Sequence[Trial], suggestion: str) -> None:
    """The trials of a search, the best one first, and the command that its values are for."""
    out = console()
    table = Table(title="Trials, by their scores on noisy validation labels", title_justify="left")
    for heading in ("trial", "score", "values"):
        table.add_column(heading)
    for trial in ranked(trials):
        values = ", ".join(f"{name} {value}" for name, value in trial.values.items())
        score = trial.failure if trial.score is None else f"{trial.score:.4f}"
        table.add_row(str(trial.number), escape(score), escape(values))
    out.print(table)
    out.print("Noisy labels bound these scores: they rank values, and say nothing of the accuracy on clean labels.")
    if suggestion:
        out.print(escape(f"To train with the best on all training images:\n  {suggestion}"), soft_wrap=True)
