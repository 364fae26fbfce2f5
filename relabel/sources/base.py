"""The contract between a dataset's layout and the job that labels it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from ...core.errors import UserError
from ...core.files import root_hint
from ...core.registry import Registry
from ...core.schema import STATUS_OK, Dataset, LabelSet, Task
from ...core.urls import as_url, is_url

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
        score: the detector's confidence, where an earlier stage had one.
        whole: the picture is nothing but a face, so that no detector is needed.
        status: `ok`; `bad_row` for a row whose annotation cannot be used; `refused` for one whose image lies outside
            the root, where `image` is a stand-in that names no file.
        detail: what is wrong with it, as a sentence's end without a full stop.
    """

    id: str
    split: str
    image: str
    values: Mapping[str, Any] = field(default_factory=dict)
    eyes: tuple[float, float, float, float] | None = None
    box: tuple[float, float, float, float] | None = None
    score: float | None = None
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


_PURPOSE = {
    "contempt": "this source has no eighth expression to keep",
    "labels": "this source has labels of its own",
}


class Source(ABC):
    """A dataset in its layout on disk.

    A subclass registers itself with `@SOURCES.register(name)`. Its constructor looks at names of files only; `check`
    says whether the layout is there; `samples` streams the annotation.

    Attributes:
        layout: what is expected below the root, a few lines for people.
        obtain: where the dataset can be asked for, as a sentence.
        stand_in: what to try the tool with while the dataset is not there, as sentences; empty for most.
        uses: the options that it has a use for.
        remote: whether its root may be the URL of an object store.
    """

    layout: ClassVar[str]
    obtain: ClassVar[str]
    stand_in: ClassVar[str] = ""
    uses: ClassVar[frozenset[str]] = frozenset({"contempt", "labels"})
    remote: ClassVar[bool] = False

    def __init__(self, root: Path, options: SourceOptions | None = None) -> None:
        self.root = root
        self.options = options or SourceOptions()
        for name in ("contempt", "labels"):
            if getattr(self.options, name) != getattr(SourceOptions(), name) and name not in self.uses:
                raise UserError(f"--{name} was given, and {_PURPOSE[name]}. Leave it out, or choose another --source.")

    @abstractmethod
    def check(self) -> None:
        """See whether the layout is below the root; reads no images.

        Raises:
            UserError: it is not: what was looked for, what was found, where the dataset can be asked for.
        """

    def not_there(self, what: str, looked_for: str) -> UserError:
        """The error of `check`: what was looked for below the root, what is there, where to ask for it.

        Args:
            what: the dataset or the part that is missing.
            looked_for: paths below the root, as a list in words.
        """
        return UserError(
            f"There is no {what} under {self.root}: looked for {looked_for}; found {_contents(self.root)}. "
            f"{' '.join(filter(None, (self.obtain, self.stand_in)))}"
        )

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

    def rows(self, split: str | None = None) -> int:
        """How many samples of a split, or of all, `samples` will give."""
        return sum(1 for sample in self.samples() if split in (None, sample.split))

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over the annotation files (for images alone: over their names), in hexadecimal: a changed annotation
        changes it; the images' content plays no part."""

    def dataset(self, name: str, manifest: Path) -> Dataset:
        """Where its images are, for a manifest at this path; `name` is the source's."""
        return Dataset(name, root_hint(self.root, manifest))

    def parents(self) -> tuple[Mapping[str, str], ...]:
        """The manifests it comes from: file name and SHA-256 of each; none for a dataset."""
        return ()

    def has_faces(self) -> bool:
        """Whether its samples bring boxes, eyes or aligned faces that a manifest must not lose."""
        return False

    def faces_root(self, manifest: Path) -> str:
        """Where the aligned faces that it brings are, for a manifest at this path; empty for none."""
        return ""


SOURCES: Registry[type[Source]] = Registry("source")


def find_root(name: str, root: Path | None) -> Path:
    """The folder of a source: as given, else `$NOISYFER_DATA/<name>`, else `datasets/<name>`.

    Raises:
        UserError: there is no such folder or file; lists the places that were looked at.
    """
    if root is not None and is_url(root):
        if not SOURCES[name].remote:
            raise UserError(
                f"The dataset '{name}' is read from a disk, and --root is {as_url(root)}. Copy it here; '--source "
                "folder' and '--source manifest:FILE' read images from an object store."
            )
        return root
    if root is not None:
        if not root.exists():
            raise UserError(f"There is no folder {root}; --root must name the folder of the dataset '{name}'.")
        return root
    places = usual_places(name)
    for place in places:
        if place.exists():
            return place
    looked = " nor ".join(str(place) for place in places)
    found = f"neither {looked} exists" if len(places) > 1 else f"{looked} does not exist"
    advice = "" if len(places) > 1 else f", or put its folder's parent into ${DATA_VARIABLE}"
    told = [SOURCES[name].obtain, SOURCES[name].stand_in] if name in SOURCES else []
    raise UserError(
        f"The dataset '{name}' is not there: {found}. Say where it is with --root FOLDER{advice}."
        + "".join(f" {text}" for text in told if text)
    )


def usual_places(name: str) -> list[Path]:
    """Where a source is looked for without `--root`, in this order."""
    return [Path(folder) / name for folder in (os.environ.get(DATA_VARIABLE), DATASETS) if folder]


def _contents(folder: Path) -> str:
    """The first names in a folder, in words."""
    try:
        if not folder.is_dir():
            return "a file"
        names = sorted(islice((entry.name for entry in os.scandir(folder)), 1000))
    except OSError as error:
        return f"that it cannot be opened ({error.strerror})"
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "") if names else "nothing"
