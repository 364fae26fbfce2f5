"""py-feat's tables of faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...core.errors import UserError
from ..sources.vocabulary import expression_name
from ..tables import csv_batches, csv_header, find_columns, numbers
from .base import FORMATS, Format, Peek, ReadOptions, Rows
from .faces import chosen_faces, note

_BOX = ("FaceRectWidth", "FaceRectHeight", "FaceScore")


@FORMATS.register("py-feat")
class PyFeat(Format):
    """A `Fex` table that py-feat wrote with `to_csv`, one row a face.

    Versions 0.4 to 0.6 have `FaceRectX` … `FaceRectHeight`, `FaceScore`, the seven columns `anger`, `disgust`, `fear`,
    `happiness`, `sadness`, `surprise`, `neutral`, and `input`, the image's path. `Detectorv2` of version 0.7 has eight
    emotions (contempt) and `valence` and `arousal`. An image without a face has a row without numbers.
    """

    summary: ClassVar[str] = "py-feat's Fex csv: emotions, input, FaceRectX, …"
    rank: ClassVar[int] = 1
    annotator: ClassVar[str] = "pyfeat"

    def __init__(self) -> None:
        self._several = 0

    def fits(self, peek: Peek) -> bool:
        """Whether boxes and emotions are there."""
        emotions = {expression_name(name) for name in peek.columns} - {None}
        return "facerectwidth" in peek.columns and len(emotions) >= 7

    def read(self, path: Path, options: ReadOptions) -> Iterator[Rows]:
        """One row an image, of its largest face.

        Raises:
            UserError: the images' column is missing.
        """
        header = csv_header(path)
        emotions = [name for name in header if expression_name(name)]
        others = find_columns(path, header, {name: [name.casefold()] for name in (*_BOX, "valence", "arousal")})
        image = options.columns.get("image", "input")
        if image.casefold() not in map(str.casefold, header) or not emotions:
            raise UserError(
                f"{path} has no column '{image}' with the images' paths, or none of emotions; py-feat writes 'input' "
                "from version 0.4. Say another one with --columns image=…."
            )
        batches = list(csv_batches(path, {**{name: name for name in emotions}, **others, "image": image}))
        images = [name for batch in batches for name in batch.texts["image"]]
        where = [row for batch in batches for row in batch.rows]
        column = {
            name: np.concatenate([numbers(batch.texts[name]) for batch in batches] or [np.empty(0)])
            for name in (*emotions, *others)
        }
        none = np.full(len(images), np.nan)
        areas = column.get(_BOX[0], none) * column.get(_BOX[1], none)
        places, self._several = chosen_faces(images, areas, column.get(_BOX[2], none))
        pair = [column[name][places] for name in ("valence", "arousal") if name in column]
        yield Rows(
            [images[place] for place in places],
            [where[place] for place in places],
            scores=np.stack([column[name][places] for name in emotions], axis=1),
            score_classes=tuple(emotions),
            va=np.stack(pair, axis=1) if len(pair) == 2 else None,
        )

    def notes(self) -> tuple[str, ...]:
        """About images with several faces."""
        return note(self._several)
