"""The pictures that references lead to, a few at a time, in bounded memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from ..core.errors import UserError
from ..core.urls import is_url
from . import digits
from .archive import members
from .decode import UnreadableImage
from .packed import DigitPictures, PackedFile, Picture, beyond, open_packed
from .references import checked, inside, split_reference
from .remote import RemotePictures

HELD_FILES = 4
"""Packed files that are held open; a dataset that hops between more of them opens them again and again."""


class PictureReader:
    """Gives the pictures of references, for one thread.

    Of a plain file it gives the path, so that whoever wants the pixels reads them, perhaps in another thread. Of a
    packed file the bytes or pixels of the row are given: rows in ascending order are read in one pass (see
    `images.parquet`), any others are right too. Files in an archive come in one pass in the archive's order.

    Args:
        root: the folder, .tar.gz archive or `s3://` URL that the references are relative to; for `digits#17` it plays
            no part.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._open: dict[str, PackedFile] = {}  # the one that was asked for last stands last
        self._archive: _Archive | None = None
        self._remote = RemotePictures(self.root) if is_url(self.root) else None

    def __enter__(self) -> PictureReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all files."""
        for packed in self._open.values():
            packed.close()
        self._open.clear()
        if self._archive is not None:
            self._archive.close()
        self._archive = None
        if self._remote is not None:
            self._remote.close()

    def fetch(self, references: Sequence[str]) -> list[Path | Picture]:
        """One source a reference, in order.

        Args:
            references: paths (`103/a.jpg`) and rows of packed files (`plain_text/test.parquet#17`), as often as wanted.

        Returns:
            For each a path, the bytes of an image file, pixels (H×W×3), or the error that says why there is none: it
            is not there (`missing`), leads out of the root (`refused`), or its row cannot be read.

        Raises:
            UserError: there is no root, or a packed file or archive is damaged as a whole.
        """
        found: list[Path | Picture | None] = [None] * len(references)
        plain: dict[str, list[int]] = defaultdict(list)
        packed: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for position, reference in enumerate(references):
            given, row = split_reference(reference)
            try:
                file = checked(given)
            except UnreadableImage as error:
                found[position] = error
                continue
            if row is None:
                plain[file].append(position)
            else:
                packed[file].append((row, position))
        needed = [*plain, *(file for file in packed if file != digits.FILE and file not in self._open)]
        sources = self._sources(needed)
        for file, positions in plain.items():
            for position in positions:
                found[position] = sources[file]
        for file in sorted(packed, key=lambda name: name not in self._open):  # before another takes its place
            wanted = packed[file]
            rows = [row for row, _ in sorted(wanted)]
            for (_, position), picture in zip(sorted(wanted), self._rows(file, rows, sources), strict=True):
                found[position] = picture
        return found  # type: ignore[return-value]  # every position was filled

    def order(self, references: Sequence[str]) -> list[int]:
        """The positions in the order in which they are read fastest: packed rows ascending, an archive's files as they
        stand there, other plain files as given.

        Raises:
            UserError: there is no root, or the archive is damaged.
        """
        parts = [(checked(file), row) for file, row in map(split_reference, references)]
        places: dict[str, int] = {}
        if self.root.is_file() and any(file != digits.FILE for file, _ in parts):
            places = {name: place for place, name in enumerate(self._opened_archive().names())}
        else:
            for file, row in parts:
                if row is not None:
                    places.setdefault(file, len(places))
        keys = [(places.get(file, len(places)), -1 if row is None else row) for file, row in parts]
        return sorted(range(len(parts)), key=keys.__getitem__)

    def _sources(self, files: Iterable[str]) -> dict[str, Path | bytes | UnreadableImage]:
        """Each file's path, or its content in an archive."""
        wanted = list(files)
        if not wanted:
            return {}
        if self._remote is not None:
            return self._remote.read(wanted)
        if self.root.is_dir():
            return {file: _path(self.root, file) for file in wanted}
        contents = self._opened_archive().read(set(wanted))
        absent = f"there is no such file in the archive {self.root}"
        return {file: contents.get(file, UnreadableImage(file, absent, "missing")) for file in wanted}

    def _opened_archive(self) -> _Archive:
        if not self.root.is_file():
            raise UserError(
                f"There is no folder or archive {self.root}. Give the one that the image references are relative to."
            )
        if self._archive is None:
            self._archive = _Archive(self.root)
        return self._archive

    def _rows(
        self, file: str, rows: Sequence[int], sources: dict[str, Path | bytes | UnreadableImage]
    ) -> list[Picture]:
        try:
            packed = self._packed(file, sources)
        except UnreadableImage as error:  # of the whole file: its rows fail one by one, others may be fine
            return [UnreadableImage(f"{file}#{row}", error.reason, error.status, error.remedy) for row in rows]
        count = len(packed)
        inner = iter(packed.fetch([row for row in rows if row < count]))
        return [next(inner) if row < count else beyond(file, row, count) for row in rows]

    def _packed(self, file: str, sources: dict[str, Path | bytes | UnreadableImage]) -> PackedFile:
        if file in self._open:
            self._open[file] = self._open.pop(file)
            return self._open[file]
        if file == digits.FILE:
            self._open[file] = DigitPictures(file)
        else:
            source = sources[file]
            if isinstance(source, UnreadableImage):
                raise source
            where = str(source) if isinstance(source, Path) else f"{self.root}: {file}"
            self._open[file] = open_packed(source, where, file)
        while len(self._open) > HELD_FILES:
            self._open.pop(next(iter(self._open))).close()
        return self._open[file]


class _Archive:
    """An archive that is passed through as far as is needed, and once more where something lay before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wanted: set[str] = set()
        self._passing: Iterator[tuple[str, bytes]] | None = None

    def names(self) -> list[str]:
        """Its files, in order; reads the archive to its end."""
        names: list[str] = []

        def note(name: str) -> bool:
            names.append(name)
            return False

        for _ in members(self._path, note):
            pass
        return names

    def read(self, wanted: set[str]) -> dict[str, bytes]:
        """The content of those of the wanted files that are there."""
        found: dict[str, bytes] = {}
        self._wanted.update(wanted)
        if self._passing is not None:
            self._pass(self._passing, found)
        if self._wanted:
            self._passing = members(self._path, self._wanted.__contains__)
            self._pass(self._passing, found)
        if self._wanted:  # it has been read to its end
            self._passing = None
            self._wanted.clear()
        return found

    def _pass(self, passing: Iterator[tuple[str, bytes]], found: dict[str, bytes]) -> None:
        while self._wanted and (entry := next(passing, None)) is not None:
            found[entry[0]] = entry[1]
            self._wanted.discard(entry[0])

    def close(self) -> None:
        """Let go of it."""
        self._passing = None


def _path(root: Path, file: str) -> Path | UnreadableImage:
    try:
        return inside(root, file)
    except UnreadableImage as error:
        return error
