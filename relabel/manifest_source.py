"""`manifest:FILE`: a manifest as a source, so that another teacher's labels join those that are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from ..core.errors import UserError
from ..core.schema import EYES, FACE_BOX, STATUS_OK, Dataset, LabelSet, Task
from ..core.store import ObjectStore
from ..core.urls import is_url
from ..manifest import Manifest
from .sources import Sample, Source, SourceOptions


class ManifestSource(Source):
    """The rows of a manifest: its label sets are kept, its faces are used, its failed rows stay as they are.

    Args:
        path: the manifest.
        root: the dataset's folder, where it is not at the manifest's hint.
        options: none that it has a use for.
    """

    layout: ClassVar[str] = "a noisyfer manifest"
    obtain: ClassVar[str] = "'noisyfer relabel' and 'noisyfer make-cifar' write them."

    def __init__(self, path: Path, root: Path | None = None, options: SourceOptions | None = None) -> None:
        self.manifest = Manifest.open(path)
        super().__init__(root or self.manifest.root, options)
        if self.options != SourceOptions():
            raise UserError("A manifest has its label sets already: --contempt and --labels are for datasets.")

    def check(self) -> None:
        """See whether the dataset's root is there."""
        there = ObjectStore(self.root).exists() if is_url(self.root) else self.root.exists()
        if not there:
            raise UserError(
                f"The images of {self.manifest.path} should be under {self.root}, which does not exist. Say where they "
                "are with --root FOLDER."
            )

    def tasks(self) -> dict[str, Task]:
        """Those of the manifest."""
        return dict(self.manifest.header.tasks)

    def label_sets(self) -> dict[str, LabelSet]:
        """Those of the manifest."""
        return dict(self.manifest.header.label_sets)

    def samples(self) -> Iterator[Sample]:
        """The manifest's rows in order."""
        header = self.manifest.header
        labels = [column for found in header.label_sets.values() for column in found.columns.values()]
        kept = [*labels, "face_image"] if header.faces else labels
        for batch in self.manifest.batches(batch_rows=4096):
            for row in batch.to_pylist():
                yield self._sample(row, kept)

    def rows(self, split: str | None = None) -> int:
        """How many rows there are, from the files' footers; of a split, from the column that names it."""
        return (self.manifest if split is None else self.manifest.select(splits=[split])).rows

    def _sample(self, row: Mapping[str, Any], kept: list[str]) -> Sample:
        faces = self.manifest.header.faces
        eyes = tuple(row[name] for name in EYES) if faces else ()
        box = tuple(row[name] for name in FACE_BOX) if faces else ()
        has_eyes = bool(eyes) and None not in eyes
        return Sample(
            id=row["id"],
            split=row["split"],
            image=row["image"],
            values={name: row[name] for name in kept if row[name] is not None},
            eyes=eyes if has_eyes else None,
            box=box if box and None not in box else None,
            score=row["face_score"] if faces else None,
            whole=faces and not has_eyes and row["status"] == STATUS_OK,
            status=row["status"],
            detail=row["detail"],
        )

    def fingerprint(self) -> str:
        """The manifest's own."""
        return self.manifest.fingerprint

    def dataset(self, name: str, manifest: Path) -> Dataset:
        """The manifest's, seen from the new one's place; under `--root`, that folder."""
        if self.root != self.manifest.root:
            return replace(self.manifest.header.dataset, root=super().dataset(name, manifest).root)
        return self.manifest.header.seen_from(manifest.parent, self.manifest.path.parent).dataset

    def parents(self) -> tuple[Mapping[str, str], ...]:
        """The manifest."""
        return ({"file": self.manifest.path.name, "sha256": self.manifest.fingerprint},)

    def has_faces(self) -> bool:
        """Whether the manifest says where the faces are."""
        return self.manifest.header.faces

    def faces_root(self, manifest: Path) -> str:
        """The manifest's folder of kept faces, seen from the new one's place."""
        return self.manifest.header.seen_from(manifest.parent, self.manifest.path.parent).faces_root
