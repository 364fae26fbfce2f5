"""Other people's labels into a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.errors import UserError
from ...core.schema import LabelSet, Task
from ...manifest import Manifest
from .base import FORMATS, detect
from .collect import MAX_CELLS, Annotators
from .gather import Gatherer
from .options import ImportOptions
from .report import NAMED, FileReport, ImportReport, SetReport, Tally


def import_labels(
    manifest: Manifest | str | Path,
    files: Sequence[str | Path],
    out: str | Path | None = None,
    options: ImportOptions | None = None,
) -> ImportReport:
    """Add other people's labels to a manifest, as one more label set or several, in a new manifest.

    Args:
        manifest: the manifest, or its path.
        files: files of labels in any of the formats; together they are the labels of the same annotators.
        out: the new manifest; None for `<stem>_with_<annotator>.parquet` beside the old one.
        options: how they are read and joined.

    Raises:
        UserError: a file cannot be read, too many of its rows find no sample or cannot be used, labels contradict each
            other, a label set is there already, or the output exists.
    """
    options = options or ImportOptions()
    options.check()
    opened = manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
    paths = [Path(file) for file in files]
    if not paths:
        raise UserError("No file of labels was given; at least one was expected.")
    if out is not None:
        _refuse_existing(Path(out), options)
    formats = [options.format or detect(path, options.columns) for path in paths]
    default = options.annotator or next((FORMATS[name].annotator for name in formats if FORMATS[name].annotator), "")
    gatherer = Gatherer(opened, options, Annotators(default, options.annotator))
    reports = [gatherer.read(path, name) for path, name in zip(paths, formats, strict=True)]
    names = gatherer.annotators.names
    who = options.annotator or (names[0] if len(names) == 1 else f"{len(names)}_annotators")
    path = opened.path.with_name(f"{opened.path.stem}_with_{who}{opened.path.suffix}") if out is None else Path(out)
    _refuse_existing(path, options)
    return _written(opened, gatherer, reports, path, options)


def _refuse_existing(path: Path, options: ImportOptions) -> None:
    if path.exists() and not options.overwrite:
        raise UserError(f"{path} is there already. Give another name with --out, or replace it with --overwrite.")


def _written(
    manifest: Manifest, gatherer: Gatherer, reports: Sequence[FileReport], path: Path, options: ImportOptions
) -> ImportReport:
    """Write the manifest with all that was gathered."""
    contradictions, repeated = Tally(), 0
    annotators, count = gatherer.annotators.names, len(gatherer)
    if len(annotators) * count > MAX_CELLS:
        raise UserError(
            f"{len(annotators):,} annotators for {count:,} rows are more than can be added at once "
            f"({MAX_CELLS:,} labels, missing ones included). Import fewer annotators at a time."
        )
    additions: list[tuple[LabelSet, Mapping[str, Any]]] = []
    sets = []
    for gathered in gatherer.gathered.values():
        settled, again = gathered.settle(options.duplicates, gatherer.name, contradictions)
        repeated += again
        for number, annotator in enumerate(annotators):
            found = settled.of(number, count)
            if found is not None:
                columns, present = found
                of_task = [report.provenance() for report in reports if settled.task.name in report.tasks]
                label_set = _label_set(settled.task, annotator, options.kind_of(annotator), {"files": of_task}, columns)
                additions.append((label_set, columns))
                sets.append(_set_report(label_set.name, gatherer, present))
    if not additions:
        raise UserError(f"No label in {reports[0].path} is of a sample of {manifest.path}, so there is nothing to add.")
    new = [task for name, task in gatherer.tasks.items() if name not in manifest.header.tasks]
    written = manifest.with_label_sets(additions, path, tasks=new)
    return ImportReport(written, tuple(reports), tuple(sets), repeated, contradictions)


def _label_set(
    task: Task, annotator: str, kind: str, provenance: Mapping[str, Any], columns: Mapping[str, Any]
) -> LabelSet:
    if task.kind == "continuous":
        return LabelSet.valence_arousal(annotator, kind, provenance)
    return LabelSet.categorical(task.name, annotator, kind, provenance, probs="probs" in columns)


def _set_report(name: str, gatherer: Gatherer, present: npt.NDArray[np.bool_]) -> SetReport:
    labelled, unlabelled = {}, Tally()
    for split, inside in gatherer.inside.items():
        labelled[split] = (int((present & inside).sum()), int(inside.sum()))
        if labelled[split][0]:
            without = np.flatnonzero(inside & ~present)
            unlabelled.add(len(without), [gatherer.name(int(row)) for row in without[:NAMED]])
    return SetReport(name, labelled, unlabelled)
