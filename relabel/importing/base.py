"""The contract between a format of other people's labels and the import."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...core.errors import UserError
from ...core.registry import Registry
from ...manifest import Manifest
from ..sources.annotations import unreadable
from ..tables import Texts, csv_header

ANY_TASK = ""
"""The task of labels whose file does not say which one they are for."""

_PEEK_BYTES = 65_536


@dataclass(frozen=True)
class Rows:
    """Some rows of a file, as columns of one length n.

    Attributes:
        keys: the name that each row's sample goes by: an id, a path or a file name; None where there is none.
        where: each row's number in the file (a list's line), or in a positional format its sample's place, from 1.
        annotators: who labelled, where the file says so.
        classes: by task, each row's class: its name, or its id in the manifest's own order; empty for no label.
        class_ids: by task, as `classes` for ids that are known to be the manifest's (int16, -1 for no label).
        scores: class probabilities or votes (n×K, not negative), NaN where a row has none.
        score_classes: the names of the K classes.
        va: valence and arousal (n×2); NaN for no label, infinite for something that is no number.
    """

    keys: Texts | None
    where: Sequence[int] | npt.NDArray[np.int64]
    annotators: Texts | None = None
    classes: Mapping[str, Texts] = field(default_factory=dict)
    class_ids: Mapping[str, npt.NDArray[np.int16]] = field(default_factory=dict)
    scores: npt.NDArray[np.float64] | None = None
    score_classes: tuple[str, ...] = ()
    va: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.where)


@dataclass(frozen=True)
class ReadOptions:
    """What a user may say about a file.

    Attributes:
        columns: role (`image`, `id`, `expression`, `class`, `label`, `valence`, `arousal`, `annotator`) to the name of
            a column or key in the file.
        ids: the order of class ids that are numbers, a name of `ORDERS`; empty where the format knows.
        by_position: rows are joined by their position, so that no column need name the samples.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    ids: str = ""
    by_position: bool = False


@dataclass(frozen=True)
class Peek:
    """What can be told of a file at a glance."""

    path: Path

    @cached_property
    def head(self) -> bytes:
        """Its first 64 KiB.

        Raises:
            UserError: it cannot be read.
        """
        try:
            if not self.path.is_file():
                found = "is a folder" if self.path.is_dir() else "does not exist"
                raise UserError(f"Cannot import {self.path}: it {found}. A file of labels was expected.")
            with self.path.open("rb") as stream:
                return stream.read(_PEEK_BYTES)
        except OSError as error:
            raise unreadable(self.path, error) from error

    @cached_property
    def text(self) -> str:
        """The head as text, without a byte order mark."""
        return self.head.decode("utf-8-sig", errors="replace")

    @cached_property
    def is_json(self) -> bool:
        """Whether it begins as JSON."""
        return self.text.lstrip()[:1] in ("[", "{")

    @cached_property
    def columns(self) -> list[str]:
        """The names in its first line as a csv, in lower case; none where it is no csv."""
        if self.is_json or (b"\0" in self.head[:64] and not self.head.startswith((b"\xff\xfe", b"\xfe\xff"))):
            return []
        names = [name.casefold() for name in csv_header(self.path)]
        return names if len(names) > 1 else []

    def has_key(self, *names: str) -> bool:
        """Whether the head holds all of these keys of JSON."""
        return all(re.search(rf'"{re.escape(name)}"\s*:', self.text) for name in names)


class Format(ABC):
    """A form in which people publish labels; each registers itself with `@FORMATS.register(name)`.

    Attributes:
        summary: what it is, in a few words.
        rank: of several formats that could be meant, the one of the lowest rank is.
        annotator: who labelled where the user does not say; empty where that must be said.
    """

    summary: ClassVar[str]
    rank: ClassVar[int] = 5
    annotator: ClassVar[str] = ""

    @abstractmethod
    def fits(self, peek: Peek) -> bool:
        """Whether a file looks like this format."""

    @abstractmethod
    def read(self, path: Path, options: ReadOptions) -> Iterator[Rows]:
        """The rows of a file in batches; nothing in it is executed.

        Raises:
            UserError: the file as a whole cannot be read.
        """

    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the file was read, as whole sentences; after `read`."""
        return ()

    def about(self) -> dict[str, Any]:
        """What a provenance should hold beside the file's name and hash, as JSON; after `read`."""
        return {}


class PositionalFormat(Format):
    """A format whose rows name no samples: they are the samples of a split in their order."""

    @abstractmethod
    def verify(self, manifest: Manifest, rows: npt.NDArray[np.int64], asked: bool) -> None:
        """See whether the file's order is the manifest's; after `read`.

        Args:
            manifest: into which the labels shall go.
            rows: the manifest's rows that the file's are to be joined to, in the file's order.
            asked: the user asked for a join by position, so that one that cannot be verified is theirs to answer for.

        Raises:
            UserError: it is another order.
        """


FORMATS: Registry[type[Format]] = Registry("format of labels")


def detect(path: Path, columns: Mapping[str, str] | None = None) -> str:
    """The name of the format that a file looks like.

    Args:
        path: the file.
        columns: what the user says about its columns, as of `ReadOptions`: then a csv that looks like no other format
            is read as `csv`, or with a column of annotators as `long`.

    Raises:
        UserError: it looks like none.
    """
    peek = Peek(path)
    if not peek.head.strip():
        raise UserError(f"Cannot import {path}: the file is empty. A file of labels was expected.")
    fitting = sorted((FORMATS[name].rank, name) for name in FORMATS if FORMATS[name]().fits(peek))
    if fitting:
        return fitting[0][1]
    if columns and peek.columns:
        return "long" if "annotator" in columns else "csv"
    shown = "".join(peek.text.lstrip().splitlines()[:1])[:80]
    begins = f" It begins with {shown!r}." if shown.isprintable() and "\ufffd" not in shown else " It is no text."
    raise UserError(
        f"Cannot tell in which format {path} is.{begins} Say it with --format: {', '.join(FORMATS)}; and for a csv "
        "which columns to take, such as --columns image=FILE,expression=LABEL."
    )


def size_within(path: Path, limit: int) -> None:
    """Refuse a file that would have to be held in memory and is too large for it.

    Raises:
        UserError: it has more than `limit` bytes, or cannot be looked at.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error
    if size > limit:
        raise UserError(
            f"{path} has {size:,} bytes; at most {limit:,} are read in this format. Cut it into several files, and "
            "import them together."
        )
