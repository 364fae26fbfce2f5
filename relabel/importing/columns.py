"""Any csv with named columns: one label set, or in long form one a annotator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...core.errors import UserError
from ..sources.annotations import listed
from ..tables import csv_batches, csv_header, find_columns, numbers, unguarded
from .base import ANY_TASK, FORMATS, Format, Peek, ReadOptions, Rows
from .orders import MANIFEST, named

KEYS = {
    "id": ("id", "sample_id", "image_id"),
    "image": ("image", "file_name", "filename", "file", "path", "image_path", "img_path", "img"),
}
LABELS = {
    "expression": ("expression", "emotion"),
    "class": ("class",),
    "label": ("label", "category"),
    "valence": ("valence",),
    "arousal": ("arousal",),
}
ANNOTATORS = {"annotator": ("annotator", "worker", "worker_id", "annotator_id", "rater")}


@FORMATS.register("csv")
class Csv(Format):
    """A csv with a column of ids or images, and columns of a class, of valence and arousal, or both.

    Columns are found by their customary names (`id`; `image`, `file_name`, `path`, …; `expression`, `class`, `label`;
    `valence`, `arousal`) or said. A class is a name in any known spelling, or a number: the manifest's own class id
    unless another order is said.
    """

    summary: ClassVar[str] = "a csv with a column of ids or images and one of labels (--columns image=…,expression=…)"
    rank: ClassVar[int] = 9
    roles: ClassVar[Mapping[str, tuple[str, ...]]] = {**KEYS, **LABELS}

    def fits(self, peek: Peek) -> bool:
        """Whether customary columns are there."""
        columns = set(peek.columns)
        key, label = (any(columns.intersection(names) for names in roles.values()) for roles in (KEYS, LABELS))
        return key and label

    def read(self, path: Path, options: ReadOptions) -> Iterator[Rows]:
        """The rows in batches.

        Raises:
            UserError: a column that is needed is missing.
        """
        columns = self._columns(path, options)
        order = options.ids or MANIFEST
        for batch in csv_batches(path, columns):
            texts = batch.texts
            keys = next((texts[role] for role in KEYS if role in texts), None)
            classes = {
                ANY_TASK if role == "label" else role: named(unguarded(texts[role]), order)
                for role in ("expression", "class", "label")
                if role in texts
            }
            va = None
            if "valence" in texts and "arousal" in texts:
                va = np.stack([numbers(texts["valence"]), numbers(texts["arousal"])], axis=1)
            yield Rows(
                None if keys is None else unguarded(keys),
                batch.rows,
                annotators=texts.get("annotator"),
                classes=classes,
                va=va,
            )

    def _columns(self, path: Path, options: ReadOptions) -> dict[str, str]:
        header = csv_header(path)
        said = dict(options.columns)
        found = find_columns(path, header, self.roles)
        if said.keys() & KEYS:
            found = {role: name for role, name in found.items() if role not in KEYS}
        if said.keys() & LABELS:  # whoever names columns of labels wants those and no others
            found = {role: name for role, name in found.items() if role not in LABELS}
        columns = {**found, **said}
        if "id" in columns and "image" in columns and "id" not in said:
            del columns["image"]
        lacks = []
        if not columns.keys() & KEYS and not options.by_position:
            lacks.append("a column of ids or images (--columns image=…)")
        if not columns.keys() & LABELS:
            lacks.append("a column of labels (--columns expression=…, or class=…, label=…, valence=…,arousal=…)")
        if ("valence" in columns) != ("arousal" in columns):
            lacks.append("valence and arousal together (--columns valence=…,arousal=…)")
        if "annotator" in self.roles and "annotator" not in columns:
            lacks.append("a column of annotators (--columns annotator=…)")
        if lacks:
            raise UserError(f"{path} has the columns {listed(header[:16]) or 'none'}; expected {', and '.join(lacks)}.")
        return columns


@FORMATS.register("long")
class Long(Csv):
    """A csv of one label a row with a column that says whose it is: `image,annotator,label`.

    Each annotator becomes a label set of its own.
    """

    summary: ClassVar[str] = "a csv with a column of annotators: image,annotator,label"
    rank: ClassVar[int] = 8
    roles: ClassVar[Mapping[str, tuple[str, ...]]] = {**KEYS, **LABELS, **ANNOTATORS}

    def fits(self, peek: Peek) -> bool:
        """Whether customary columns and one of annotators are there."""
        return super().fits(peek) and bool(set(peek.columns).intersection(ANNOTATORS["annotator"]))
