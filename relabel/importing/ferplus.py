"""FER+: ten people's votes on each image of FER2013."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..sources.ferplus import COLUMNS, OTHERS, VOTED
from ..tables import csv_batches, numbers
from .base import FORMATS, Format, Peek, ReadOptions, Rows


@FORMATS.register("ferplus")
class FerPlus(Format):
    """Microsoft's `fer2013new.csv` (Barsoum et al., 2016): `Usage,Image name,neutral,happiness,…,unknown,NF`.

    The votes for classes become probabilities, and the class with most votes the label, the first in the manifest's
    order where several have; no label where `unknown` or `NF` (no face) has more. Rows without an image's name are
    of images that FER+ leaves out; they are passed over.
    """

    summary: ClassVar[str] = "the votes of FER+ (fer2013new.csv)"
    rank: ClassVar[int] = 1
    annotator: ClassVar[str] = "ferplus"

    def fits(self, peek: Peek) -> bool:
        """Whether all columns are there."""
        return {name.casefold() for name in COLUMNS} <= set(peek.columns)

    def read(self, path: Path, options: ReadOptions) -> Iterator[Rows]:
        """The rows with an image's name, in batches."""
        votes = (*VOTED, *OTHERS)
        columns = {"image": options.columns.get("image", "Image name"), **{name: name for name in votes}}
        for batch in csv_batches(path, columns):
            named = [place for place, name in enumerate(batch.texts["image"]) if name]
            scores = np.stack([numbers(batch.texts[name]) for name in votes], axis=1)[named]
            scores[np.isnan(scores)] = 0
            yield Rows(
                [batch.texts["image"][place] for place in named],
                [batch.rows[place] for place in named],
                scores=scores,
                score_classes=(*VOTED, *("" for _ in OTHERS)),
            )

    def about(self) -> dict[str, Any]:
        """What the probabilities are."""
        return {"votes": "ten people an image; the majority is the label"}
