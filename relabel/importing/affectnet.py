"""AffectNet's csv with other labels in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..tables import csv_batches, csv_header, find_columns, numbers
from .base import FORMATS, Format, Peek, ReadOptions, Rows
from .orders import named


@FORMATS.register("affectnet-csv")
class AffectNetCsv(Format):
    """AffectNet's `training.csv` or `validation.csv` with changed labels (Mollahosseini et al., 2017).

    By the names of the columns: `subDirectory_filePath`, `expression` (0 to 7; 8 None, 9 Uncertain, 10 No-Face and -2
    are no label), `valence`, `arousal` (-2 is no label); others may be left out.
    """

    summary: ClassVar[str] = "AffectNet's csv with a changed expression, valence or arousal"
    rank: ClassVar[int] = 1

    def __init__(self) -> None:
        self._order = ""

    def fits(self, peek: Peek) -> bool:
        """Whether AffectNet's column of paths is there."""
        return "subdirectory_filepath" in peek.columns

    def read(self, path: Path, options: ReadOptions) -> Iterator[Rows]:
        """The rows in batches."""
        wanted = {"image": ["subdirectory_filepath"], **{name: [name] for name in ("expression", "valence", "arousal")}}
        columns = {**find_columns(path, csv_header(path), wanted), **options.columns}
        columns.setdefault("image", "subDirectory_filePath")
        self._order = options.ids or "affectnet"
        for batch in csv_batches(path, columns):
            texts = batch.texts
            classes, va = {}, None
            if "expression" in texts:
                classes = {"expression": named(texts["expression"], self._order)}
            if "valence" in texts and "arousal" in texts:
                va = np.stack([numbers(texts["valence"]), numbers(texts["arousal"])], axis=1)
            yield Rows(texts["image"], batch.rows, classes=classes, va=va)

    def about(self) -> dict[str, Any]:
        """The order of the ids."""
        return {"ids": self._order}
