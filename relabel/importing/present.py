"""An import's report in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from .report import FileReport, ImportReport, SetReport


def sentences(report: ImportReport) -> Iterator[str]:
    """What was imported and what was not, one sentence or two a line."""
    for file in report.files:
        yield from _file(file)
    if report.repeated:
        yield f"{report.repeated:,} labels stood there more than once, and were equal."
    if report.contradictions.count:
        yield f"{report.contradictions} labels contradicted another of the same sample and annotator; one was taken."
    shown = report.sets if len(report.sets) <= _MOST_SETS else report.sets[: _MOST_SETS - 1]
    for found in shown:
        yield _set(found)
    if len(shown) < len(report.sets):
        yield f"… and {len(report.sets) - len(shown):,} label sets more."
    yield f"Written: {report.manifest.path}"


_MOST_SETS = 20


def _file(file: FileReport) -> Iterator[str]:
    by = ", ".join(f"{count:,} by {rule}" for rule, count in file.joined_by.items())
    yield f"{file.path} ({file.format}): {file.rows:,} rows, {file.matched:,} joined{f': {by}' if by else ''}."
    if file.unmatched.count:
        yield f"  {file.unmatched} are no sample's."
    if file.ambiguous.count:
        yield f"  {file.ambiguous} could be several samples', and were joined to none."
    if file.missing:
        yield f"  {file.missing:,} say that there is no label."
    if file.unusable.count:
        yield f"  {file.unusable} have a label that cannot be used, and were left without."
    if file.clipped:
        yield f"  {file.clipped:,} had valence or arousal a little out of range, clipped to [-1, 1]."
    for note in file.notes:
        yield f"  {note}"


def _set(found: SetReport) -> str:
    parts = [f"{labelled:,} of {count:,} {split}" for split, (labelled, count) in found.labelled.items()]
    few = 0 < found.unlabelled.count <= sum(labelled for labelled, _ in found.labelled.values())
    without = f" Without a label there: {found.unlabelled}." if few else ""
    return f"Label set '{found.name}': {', '.join(parts)}.{without}"
