"""The contract between a dataset's layout and the job that labels it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ...core.errors import UserError
from ...core.registry import Registry
from ...core.schema import STATUS_OK, LabelSet, Task

DATA_VARIABLE = "NOISYFER_DATA"
DATASETS = Path("datasets")

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
"""The canonical order of the expressions, ids 0 to 6; contempt is the eighth where it is asked for."""

CONTEMPT = "contempt"


@dataclass(frozen=True)
class Sample:
    """One image of a source, as its annotation has it; the image itself has not been looked at.

    Attributes:
        id: unique in the source and stable over time.
        split: `train`, `val` or `test`.
        image: its reference, relative to the source's root.
        values: by column of the source's label sets: a class id, a number, a list of probabilities; a column that is
            left out is a missing label.
        eyes: the centres of the eyes, (left x, left y, right x, right y), left and right as seen in the picture, in
            pixels of the upright picture; None where the dataset has no landmarks.
        box: the face, (left, top, right, bottom) in the same pixels, where the dataset has it.
        whole: the picture is nothing but a face, so that no detector is needed.
        status: `ok`, or `bad_row` for a row whose annotation cannot be used.
        detail: what is wrong with it, as a sentence's end without a full stop.
    """

    id: str
    split: str
    image: str
    values: Mapping[str, Any] = field(default_factory=dict)
    eyes: tuple[float, float, float, float] | None = None
    box: tuple[float, float, float, float] | None = None
    whole: bool = False
    status: str = STATUS_OK
    detail: str | None = None


@dataclass(frozen=True)
class SourceOptions:
    """What a user may say about any source; one that has no use for an option that was given says so.

    Attributes:
        contempt: keep the eighth expression.
        labels: a csv of labels for a source that has none of its own.
    """

    contempt: bool = False
    labels: Path | None = None


class Source(ABC):
    """A dataset in its layout on disk.

    A subclass registers itself with `@SOURCES.register(name)`. Its constructor looks at names of files only; `check`
    says whether the layout is there; `samples` streams the annotation.

    Attributes:
        layout: what is expected below the root, a few lines for people.
        obtain: where the dataset can be asked for, as a sentence.
    """

    layout: ClassVar[str]
    obtain: ClassVar[str]

    def __init__(self, root: Path, options: SourceOptions | None = None) -> None:
        self.root = root
        self.options = options or SourceOptions()

    @abstractmethod
    def check(self) -> None:
        """See whether the layout is below the root; reads no images.

        Raises:
            UserError: it is not: what was looked for, what was found, where the dataset can be asked for.
        """

    @abstractmethod
    def tasks(self) -> dict[str, Task]:
        """The tasks of its label sets by name; empty where it has no labels."""

    @abstractmethod
    def label_sets(self) -> dict[str, LabelSet]:
        """Its own label sets by name, `expression_human` and `va_human` by custom."""

    @abstractmethod
    def samples(self) -> Iterator[Sample]:
        """All samples, always in the same order, without holding them in memory; broken rows as `bad_row`.

        Raises:
            UserError: the annotation as a whole cannot be read.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over the annotation files (for images alone: over their names), in hexadecimal: a changed annotation
        changes it; the images' content plays no part."""


SOURCES: Registry[type[Source]] = Registry("source")


def find_root(name: str, root: Path | None) -> Path:
    """The folder of a source: as given, else `$NOISYFER_DATA/<name>`, else `datasets/<name>`.

    Raises:
        UserError: there is no such folder or file; lists the places that were looked at.
    """
    if root is not None:
        if not root.exists():
            raise UserError(f"There is no folder {root}; --root must name the folder of the dataset '{name}'.")
        return root
    places = [Path(folder) / name for folder in (os.environ.get(DATA_VARIABLE), DATASETS) if folder]
    for place in places:
        if place.exists():
            return place
    looked = " nor ".join(str(place) for place in places)
    raise UserError(
        f"The dataset '{name}' is not there: neither {looked} exists. Say where it is with --root FOLDER."
        if len(places) > 1
        else f"The dataset '{name}' is not there: {looked} does not exist. Say where it is with --root FOLDER, or put "
        f"its folder's parent into ${DATA_VARIABLE}."
    )
