"""The manifest that runs learned from, where it can still be found, in a few tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from ...core.charts import heat_map
from ...core.errors import UserError
from ...core.web import Column, Content, joined, note, table
from ...manifest import Manifest
from ..summary import Summary, summarise
from .group import Group


@dataclass(frozen=True)
class Source:
    """A group's manifest.

    Attributes:
        manifest: None where it was not found as the runs had it.
        remark: a sentence on where it is, or why it is not shown.
    """

    manifest: Manifest | None
    remark: str

    @property
    def classes(self) -> Mapping[str, Sequence[str]]:
        """By categorical task its class names; nothing where there is no manifest."""
        if self.manifest is None:
            return {}
        return {name: task.classes for name, task in self.manifest.header.tasks.items() if task.classes}


def find_source(found: Group, given: Sequence[Path]) -> Source:
    """Look for the manifest of a group: where the user says, where its runs had it, and where manifests usually are.

    Args:
        found: runs on one manifest.
        given: manifests that the user named; those of other groups are passed over.
    """
    others = []
    for path in dict.fromkeys([*given, *_places(found)]):
        try:
            if not path.exists():
                continue
            opened = Manifest.open(path)
            if opened.fingerprint == found.sha256:
                return Source(opened, f"{path}, the very file that the runs learned from (SHA-256 {found.sha256}).")
        except (UserError, OSError):
            others.append(f"{path} cannot be read")
            continue
        if path.name == found.name:
            others.append(f"{path} has other bytes by now (SHA-256 {opened.fingerprint})")
    told = "; ".join(others) or "it is not where the runs had it"
    return Source(
        None,
        f"{found.name} (SHA-256 {found.sha256}) is not shown: {told}. Say where it is with --manifest.",
    )


def _places(found: Group) -> Iterable[Path]:
    for system in found.systems:
        for run in system.runs:
            stored = run.places.get("manifest")
            homes = [Path(), *(() if run.folder is None else [run.folder.path.parent.parent])]
            for home in homes:
                if isinstance(stored, str):
                    yield home / stored
                yield home / "data_manifests" / found.name


def audit(source: Source) -> Markup:
    """Label sets, class counts and agreement of a manifest, or why it is not there."""
    if source.manifest is None:
        return note(source.remark)
    try:
        summary = summarise(source.manifest)
    except UserError as error:
        return note(f"{source.remark} It cannot be read: {error}")
    parts = [note(source.remark), samples_table(summary), _sets(source.manifest, summary)]
    for task, described in source.manifest.header.tasks.items():
        names = [name for name, each in source.manifest.header.label_sets.items() if each.task == task]
        if described.kind == "categorical" and names:
            parts.append(class_counts_table(summary, task, described.classes, names))
        if len(names) > 1:
            what = "share of samples" if described.kind == "categorical" else "CCC"
            values = [[_agreement(summary, row, column) for column in names] for row in names]
            parts.append(
                heat_map(
                    f"Agreement, {task} ({what})",
                    values,
                    names,
                    names,
                    down="label sets",
                    across="label sets",
                    digits=3,
                )
            )
    return joined(*parts)


def samples_table(summary: Summary) -> Markup:
    """Samples by split and status."""
    rows: list[list[Content]] = [
        [split, sum(statuses.values()), ", ".join(f"{status} {count:,}" for status, count in statuses.items())]
        for split, statuses in summary.samples.items()
    ]
    return table("Samples", [Column("split"), Column("samples", True), Column("by status")], rows)


def class_counts_table(
    summary: Summary, task: str, classes: Sequence[str], names: Sequence[str], *, filterable: bool = False
) -> Markup:
    """How often each set of a task gives each class."""
    columns = [Column("class"), *(Column(name, True) for name in names)]
    rows: list[list[Content]] = [[label, *(summary.sets[name].counts[label] for name in names)] for label in classes]
    return table(f"Class counts, {task}", columns, rows, filterable=filterable)


def _sets(manifest: Manifest, summary: Summary) -> Markup:
    columns = [Column("label set"), Column("task"), Column("kind"), Column("labelled", True), Column("missing", True)]
    columns += [
        Column("noise"),
        Column("rate", True),
        Column("measured", True, "share of labels that are not the true ones"),
    ]
    rows: list[list[Content]] = []
    for name, each in manifest.header.label_sets.items():
        found, origin = summary.sets[name], each.provenance
        rate, measured = (
            value if isinstance(value, (int, float)) else None
            for value in (origin.get("rate"), origin.get("measured_rate"))
        )
        noise = origin.get("noise") or origin.get("method") or ""
        rows.append(
            [
                name,
                each.task,
                each.kind,
                sum(found.labelled.values()),
                sum(found.missing.values()),
                str(noise),
                rate,
                measured,
            ]
        )
    return table("Label sets", columns, rows)


def _agreement(summary: Summary, row: str, column: str) -> float | None:
    if row == column:
        return 1.0 if sum(summary.sets[row].labelled.values()) else None
    value, samples = summary.agreement.get((row, column)) or summary.agreement[column, row]
    return value if samples else None
