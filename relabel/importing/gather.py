"""Reads files of labels, joins their rows to a manifest's samples, and counts what became of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.errors import UserError
from ...core.files import sha256_file
from ...core.schema import SPLITS, Task
from ...manifest import Manifest
from ..sources.vocabulary import vocabulary
from .base import ANY_TASK, FORMATS, Format, PositionalFormat, ReadOptions, Rows
from .collect import Annotators, Gathered
from .join import AMBIGUOUS, NOBODY, Joiner
from .options import ImportOptions
from .report import NAMED, FileReport
from .values import MISSING, UNUSABLE, Classes, pairs

EXPRESSION = "expression"
VA = "va"

Bools = npt.NDArray[np.bool_]


@dataclass
class _Batch:
    """Some rows on their way into the manifest.

    Attributes:
        rows: what the file says.
        targets: the manifest's row of each, `NOBODY` or `AMBIGUOUS`.
        annotators: each one's number, -1 for none.
        labelled: whether a label of any task was found.
        broken: whether there is a label that cannot be used.
        report: where it is counted.
    """

    rows: Rows
    targets: npt.NDArray[np.int64]
    annotators: npt.NDArray[np.int32]
    labelled: Bools
    broken: Bools
    report: FileReport

    def name(self, at: int) -> str:
        """What one of the rows goes by in messages."""
        key = self.rows.keys[at] if self.rows.keys is not None else ""
        return repr(str(key))[:80] if key else f"row {self.rows.where[at]}"

    @property
    def usable(self) -> Bools:
        """The rows that have a sample and an annotator."""
        return (self.targets >= 0) & (self.annotators >= 0)

    def spoil(self, wrong: Bools, found: Callable[[int], str]) -> None:
        """Count rows whose label cannot be used; `found` tells what stands in one."""
        places = np.flatnonzero(wrong & ~self.broken)
        self.report.unusable.add(len(places), [f"{self.name(at)}: {found(at)}" for at in places[:NAMED]])
        self.broken |= wrong


class Gatherer:
    """The samples of a manifest, and the labels for them that were gathered from files so far.

    Attributes:
        splits: of the manifest's samples.
        inside: by split that has any, which samples are in it.
        annotators: of all files.
        gathered: the labels by task.
        tasks: the manifest's tasks, and those that came with the labels.
    """

    def __init__(self, manifest: Manifest, options: ImportOptions, annotators: Annotators) -> None:
        table = manifest.read(["id", "image", "split"])
        self._manifest = manifest
        self._options = options
        self.annotators = annotators
        self._ids = table["id"].combine_chunks()
        self._images = table["image"].combine_chunks()
        self.splits = table["split"].to_numpy().astype(object)
        self.inside = {split: self.splits == split for split in SPLITS if (self.splits == split).any()}
        self.gathered: dict[str, Gathered] = {}
        self.tasks: dict[str, Task] = dict(manifest.header.tasks)
        self._classes: dict[str, Classes] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def name(self, row: int) -> str:
        """The id of the sample in a row of the manifest."""
        return str(self._ids[row])

    def read(self, path: Path, name: str) -> FileReport:
        """Read one file in a format and join its rows.

        Raises:
            UserError: it cannot be read, or too little of it can be used.
        """
        reader, report = FORMATS[name](), FileReport(path, name)
        by_position = self._options.by == "position"
        batches = reader.read(path, ReadOptions(self._options.columns, self._options.ids, by_position))
        found = False
        if by_position or isinstance(reader, PositionalFormat):
            for rows, targets in self._placed(path, reader, list(batches)):
                found |= self._add(rows, targets, report)
            report.joined_by["position"] = report.rows
        else:
            allowed = self.splits == self._options.split if self._options.split else None
            joiner = Joiner(self._ids, self._images, self.splits, self._options.by, allowed)
            for rows in batches:
                found |= self._add(rows, joiner.rows([""] * len(rows) if rows.keys is None else rows.keys), report)
            report.joined_by |= joiner.joined_by
        report.sha256, report.notes, report.about = sha256_file(path), list(reader.notes()), reader.about()
        self._check(report, found)
        return report

    def _placed(self, path: Path, reader: Format, held: list[Rows]) -> Iterator[tuple[Rows, npt.NDArray[np.int64]]]:
        """The rows of a file that is joined by position, with the manifest's rows that they are about."""
        own_places = isinstance(reader, PositionalFormat)
        if any(rows.annotators is not None for rows in held) and not own_places:
            raise UserError(f"{path} names its annotators row by row, so it cannot be joined by position; use ids.")
        count = max((max(rows.where) for rows in held), default=0) if own_places else sum(map(len, held))
        targets = self._targets(path, count)
        if isinstance(reader, PositionalFormat):
            reader.verify(self._manifest, targets, self._options.by == "position")
        start = 0
        for rows in held:
            places = np.array(rows.where) - 1 if own_places else np.arange(start, start + len(rows))
            yield rows, targets[places]
            start += len(rows)

    def _targets(self, path: Path, count: int) -> npt.NDArray[np.int64]:
        """The manifest's rows that a file of `count` rows is about, in their order."""
        sizes = {"all": len(self)} | {split: int(inside.sum()) for split, inside in self.inside.items()}
        choices = [self._options.split] if self._options.split else list(sizes)
        fitting = [choice for choice in choices if sizes.get(choice) == count]
        if fitting[:1] == ["all"]:
            return np.arange(count)
        if len(fitting) == 1:
            return np.flatnonzero(self.splits == fitting[0])
        there = ", ".join(f"{sizes[name]:,} ({name})" for name in choices if sizes.get(name))
        remedy = "Join" if self._options.split else "Choose one with --split, or join"
        raise UserError(
            f"{path} has {count:,} rows. Rows are joined by position only where their number is that of the samples: "
            f"{there or 'none'}. {remedy} by id or file name."
        )

    def _add(self, rows: Rows, targets: npt.NDArray[np.int64], report: FileReport) -> bool:
        """Take some rows in; tells whether they have labels of a task that is wanted."""
        count = len(rows)
        batch = _Batch(
            rows,
            targets,
            self.annotators.numbers(rows.annotators, count),
            np.zeros(count, bool),
            np.zeros(count, bool),
            report,
        )
        for code, tally in ((NOBODY, report.unmatched), (AMBIGUOUS, report.ambiguous)):
            places = np.flatnonzero(targets == code)
            tally.add(len(places), [batch.name(at) for at in places[:NAMED]])
        batch.spoil(batch.annotators < 0, lambda _: "no annotator")
        found = self._add_classes(batch)
        found |= self._add_va(batch)
        report.rows += count
        report.missing += int((~batch.labelled & ~batch.broken).sum()) if found else 0
        return found

    def _add_classes(self, batch: _Batch) -> bool:
        rows = batch.rows
        given = dict.fromkeys([*rows.classes, *rows.class_ids]) or (
            {EXPRESSION: None} if rows.scores is not None else {}
        )
        wanted = [name for name in given if self._wants(name)]
        for name in wanted:
            task = self._categorical(name)
            batch.report.tasks.add(task.name)
            classes = self._classes.setdefault(task.name, Classes(task))
            probs, ids = None, np.full(len(rows), MISSING, np.int16)
            given_classes: Any = rows.classes.get(name, [])
            if rows.scores is not None:
                probs, ids = classes.probabilities(rows.scores, rows.score_classes)
            if name in rows.class_ids:
                ids = np.where(rows.class_ids[name] < len(task.classes), rows.class_ids[name], UNUSABLE)
                given_classes = rows.class_ids[name].tolist()
            elif name in rows.classes:
                ids = classes.ids(rows.classes[name])
            batch.spoil(ids < MISSING, partial(_class_text, given_classes))
            batch.labelled |= ids >= 0
            keep = batch.usable & (ids >= 0)
            self.gathered.setdefault(task.name, Gathered(task)).add(
                batch.targets[keep], batch.annotators[keep], ids[keep], None if probs is None else probs[keep]
            )
        return bool(wanted)

    def _add_va(self, batch: _Batch) -> bool:
        if batch.rows.va is None or self._options.task not in ("", VA):
            return False
        task = self.tasks.setdefault(VA, Task(VA, "continuous"))
        if task.kind != "continuous":
            raise UserError(f"The task '{VA}' of {self._manifest.path} has classes; valence and arousal were expected.")
        found = pairs(batch.rows.va)
        batch.report.tasks.add(VA)
        va = batch.rows.va
        batch.spoil(found.broken, lambda at: _pair(va[at]))
        batch.report.clipped += int(found.clipped.sum())
        batch.labelled |= found.present
        keep = batch.usable & found.present
        gathered = self.gathered.setdefault(VA, Gathered(task))
        gathered.add(batch.targets[keep], batch.annotators[keep], found.values[keep])
        return True

    def _wants(self, name: str) -> bool:
        return not self._options.task or (self._options.task != VA and name in (ANY_TASK, self._options.task))

    def _categorical(self, name: str) -> Task:
        """The task of class labels whose file calls it `name`."""
        there = [task.name for task in self.tasks.values() if task.kind == "categorical"]
        if name == ANY_TASK:
            name = self._options.task or (there[0] if len(there) == 1 else EXPRESSION)
        if name not in self.tasks and name == EXPRESSION:
            self.tasks[name] = Task(name, "categorical", vocabulary(contempt=False))
        if name not in there and name != EXPRESSION:
            raise UserError(
                f"{self._manifest.path} has no task '{name}' with classes, and only '{EXPRESSION}' and '{VA}' can "
                f"be added to it. It has: {', '.join(self._manifest.header.tasks) or 'none'}. Choose one with --task."
            )
        return self.tasks[name]

    def _check(self, report: FileReport, found: bool) -> None:
        path, rows, limit = report.path, report.rows, self._options.max_unmatched
        if not found:
            what = f"labels of the task '{self._options.task}'" if self._options.task and rows else "labels"
            raise UserError(
                f"{path}, read as {report.format}, holds no {what}. Is it the right file? Say --format or --columns, "
                "or leave --task out."
            )
        if report.unmatched.count + report.ambiguous.count > limit * rows:
            within = f" of the split '{self._options.split}'" if self._options.split else ""
            parts = [f"{report.unmatched} are no sample's{within}"] if report.unmatched.count else []
            parts += [f"{report.ambiguous} are several samples'"] if report.ambiguous.count else []
            ids = f"{self.name(0)!r}, its image {str(self._images[0])!r}" if len(self) else "nothing"
            raise UserError(
                f"Of the {rows:,} names in {path}, {' and '.join(parts)}. The manifest's first id is {ids}. Is it the "
                "right manifest? To import what fits all the same: --max-unmatched 1."
            )
        if report.unusable.count > limit * rows:
            raise UserError(
                f"Of the {rows:,} labels in {path}, read as {report.format}, {report.unusable} cannot be used. Is it "
                "the right format, and the right order of ids (--format, --ids, --columns)? To import the others all "
                "the same: --max-unmatched 1."
            )


def _class_text(found: Any, at: int) -> str:
    return f"{found[at]!s:.40}" if len(found) else "scores of no class, or broken ones"


def _pair(values: npt.NDArray[np.float64]) -> str:
    shown = ["no number" if np.isinf(value) else "none" if np.isnan(value) else f"{value:g}" for value in values]
    return f"valence {shown[0]}, arousal {shown[1]}"
