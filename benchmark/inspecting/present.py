"""An audit on a terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from ...core.terminal import console
from ..present import print_manifest
from .audit import WAYS, Audit, TaskAudit
from .sections import transition_error


def print_audit(audit: Audit) -> None:
    """Samples, counts and agreement as `noisyfer show` prints them; κ, noise, and how many labels are suspicious."""
    out = console()
    print_manifest(audit.manifest, audit.summary)
    for task, found in audit.tasks.items():
        if found.kappa:
            out.print(_kappas(task, found))
        if found.fleiss is not None:
            value, samples = found.fleiss
            names = ", ".join(map(escape, found.opinions.annotators))
            out.print(f"Fleiss' κ, {escape(task)}: {value:.4f} ({names}; {samples:,} samples)")
        out.print(_noise(task, found))


def _kappas(task: str, found: TaskAudit) -> Table:
    names = list(found.opinions.sets)
    table = Table("", *map(escape, names), title=f"Cohen's κ, {escape(task)}", title_justify="left")
    for row in names:
        cells = []
        for column in names:
            pair = found.kappa.get((row, column)) or found.kappa.get((column, row))
            cells.append("·" if row == column else _number(pair[0] if pair else None))
        table.add_row(escape(row), *cells)
    return table


def _noise(task: str, found: TaskAudit) -> Table:
    ways = [way for way in WAYS if any(way in each for each in found.noise.values())]
    table = Table("label set", title=f"Share of wrong labels, {escape(task)}", title_justify="left")
    errors = {way: {name: transition_error(found, name, way) for name in found.noise} for way in ("confident", "em")}
    errors = {way: each for way, each in errors.items() if any(value is not None for value in each.values())}
    for heading in (
        *(WAYS[way] for way in ways),
        *(f"error of T, {way}" for way in errors),
        "named wrong",
        "suspicious",
    ):
        table.add_column(heading, justify="right")
    table.add_column("judged by")
    for name, each in found.noise.items():
        rates = [_number(each[way].rate) if way in each else "" for way in ways]
        confident = each.get("confident")
        wrong = "" if confident is None or confident.wrong is None else f"{confident.wrong:,}"
        suspicious = f"{len(found.judged[name].suspicious):,}" if name in found.judged else ""
        told = [_number(values[name]) for values in errors.values()]
        table.add_row(escape(name), *rates, *told, wrong, suspicious, escape(found.sources.get(name, "nobody")))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
