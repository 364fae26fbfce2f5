"""Any folder of images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ...core.errors import UserError
from ...core.schema import STATUS_OK, LabelSet, Task
from ...core.urls import is_url
from .annotations import BAD_ROW, REFUSED, SPLIT_NAMES, UniqueIds, hash_files
from .base import SOURCES, Sample, Source
from .label_table import LabelTable
from .vocabulary import expression_name, vocabulary
from .walk import Found, entries, walk


@SOURCES.register("folder")
class Folder(Source):
    """The images of a folder at any depth, labelled by a csv, by the names of sub-folders, or not at all."""

    layout: ClassVar[str] = (
        "any images at any depth, such as '2019/a.jpg'; labels, where there are any, either from sub-folders\n"
        "named like expressions ('happy/a.jpg', 'train/happy/a.jpg'), or from --labels FILE, a csv\n"
        "'image,expression[,valence,arousal][,annotator][,split]' with paths as below the root"
    )
    obtain: ClassVar[str] = "Give any folder of images with --root FOLDER."
    remote: ClassVar[bool] = True

    def check(self) -> None:
        """See whether there is an image, and whether the csv can be read."""
        if not is_url(self.root) and not self.root.is_dir():
            raise UserError(f"{self.root} is a file; --root must name a folder of images.")
        if self._table is not None:
            self._table.label_sets()
        elif next(walk(self.root), None) is None:
            raise self.not_there("image", "files such as '*.jpg' and '*.png' at any depth")

    def tasks(self) -> dict[str, Task]:
        """`expression` and perhaps `va` by the csv, `expression` by sub-folders, or none."""
        if self._table is not None:
            return self._table.tasks()
        if self._tree.classes is None:
            return {}
        return {"expression": Task("expression", "categorical", vocabulary(contempt=self.options.contempt))}

    def label_sets(self) -> dict[str, LabelSet]:
        """`expression_human` by sub-folders; by the csv a set for each annotator and task."""
        if self._table is not None:
            return self._table.label_sets()
        if self._tree.classes is None:
            return {}
        made = LabelSet.categorical("expression", "human", "human", {"source": "names of sub-folders"})
        return {made.name: made}

    def samples(self) -> Iterator[Sample]:
        """The images of the csv in its order, then all others by their path."""
        if self._table is None:
            for found in walk(self.root):
                yield self._found(found)
            return
        unique = UniqueIds()
        gathered = self._table.gathered()
        try:
            for row in gathered:
                name = unique(row.image) if row.image.startswith(REFUSED) else row.image
                split = row.split or self._tree.split(row.image)
                yield Sample(name, split, row.image, row.values, status=row.status, detail=row.detail)
            for found in walk(self.root):
                if found.path not in gathered:
                    yield self._found(found, unique)
        finally:
            gathered.close()

    def fingerprint(self) -> str:
        """Over the names of all images, and the csv."""
        digest = hashlib.sha256()
        for found in walk(self.root):
            digest.update(f"{found.path}\n".encode())
        labels = self.options.labels
        return hash_files(Path(), [] if labels is None else [str(labels)], {"images": digest.hexdigest()})

    @cached_property
    def _table(self) -> LabelTable | None:
        labels = self.options.labels
        return None if labels is None else LabelTable(labels, contempt=self.options.contempt)

    @cached_property
    def _tree(self) -> Tree:
        return Tree.of(self.root)

    def _found(self, found: Found, unique: UniqueIds | None = None) -> Sample:
        name = unique(found.path) if unique is not None and found.path.startswith(REFUSED) else found.path
        status, detail, values = found.status, found.detail, {}
        folder = self._tree.class_folder(found.path) if self._table is None else None
        if folder is not None:
            expression, classes = expression_name(folder), vocabulary(contempt=self.options.contempt)
            if expression in classes:
                values["expression_human"] = classes.index(expression)
            elif expression is None and status is None:
                status, detail = BAD_ROW, f"its folder '{folder}' is no expression, and those beside it are"
        split = self._tree.split(found.path)
        return Sample(name, split, found.path, values, status=status or STATUS_OK, detail=detail)


@dataclass(frozen=True)
class Tree:
    """What the folders below a root mean.

    Attributes:
        splits: depth of the folders that are splits, counted from 0 at the root; None where there are none.
        classes: depth of those that are classes; None where there are none.
    """

    splits: int | None
    classes: int | None

    @classmethod
    def of(cls, root: Path) -> Tree:
        """Look at the names of a few folders.

        A folder that holds nothing but one other folder is passed through. The folders there are splits if all have a
        split's name, and the classes are then looked for one level below. They are classes if at least two different
        expressions are among them.
        """
        depth, here = 0, root
        files, folders, _ = entries(here)
        while len(folders) == 1 and not files and folders[0].casefold() not in SPLIT_NAMES:
            depth, here = depth + 1, here / folders[0]
            files, folders, _ = entries(here)
        splits = depth if folders and all(name.casefold() in SPLIT_NAMES for name in folders) else None
        if splits is not None:
            folders = [name for folder in folders for name in entries(here / folder)[1]]
            depth += 1
        classes = depth if len({expression_name(name) for name in folders} - {None}) >= 2 else None
        return cls(splits, classes)

    def split(self, path: str) -> str:
        """The split of an image by its folder; `train` where no folder says so."""
        folder = _folder_at(path, self.splits)
        return SPLIT_NAMES.get(folder.casefold(), "train") if folder is not None else "train"

    def class_folder(self, path: str) -> str | None:
        """The folder whose name is an image's class."""
        return _folder_at(path, self.classes)


def _folder_at(path: str, depth: int | None) -> str | None:
    folders = path.split("/")[:-1]
    return folders[depth] if depth is not None and len(folders) > depth else None
