"""An aggregate beside its parents, on a terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from ..core.terminal import console, say
from .aggregate import Aggregated, Judged

_SCORES = {
    "accuracy": ("accuracy", "{:.2%}"),
    "ccc_valence": ("CCC valence", "{:.3f}"),
    "ccc_arousal": ("CCC arousal", "{:.3f}"),
    "rmse_valence": ("RMSE valence", "{:.3f}"),
    "rmse_arousal": ("RMSE arousal", "{:.3f}"),
}


def print_aggregated(found: Aggregated) -> None:
    """Print each parent with its reliability and scores, then the new set, and what the user should know."""
    shown = [key for key in _SCORES if any(key in entry.scores for entry in (*found.parents, found.result))]
    against = f", scored against {found.truth}" if shown else ""
    say(f"{found.method}, {found.samples:,} samples{against}")
    table = Table()
    table.add_column("label set")
    for heading in ("labels", found.measure, *(_SCORES[key][0] for key in shown)):
        table.add_column(heading, justify="right")
    for entry in found.parents:
        table.add_row(*_cells(entry, shown))
    table.add_section()
    table.add_row(*_cells(found.result, shown), style="bold")
    console().print(table)
    for note in found.notes:
        say(note)


def _cells(entry: Judged, shown: list[str]) -> list[str]:
    worth = entry.reliability
    several = worth if isinstance(worth, tuple) else () if worth is None else (worth,)
    scores = [_SCORES[key][1].format(entry.scores[key]) if key in entry.scores else "–" for key in shown]
    return [escape(entry.name), f"{entry.labels:,}", ", ".join(f"{value:.3f}" for value in several), *scores]
