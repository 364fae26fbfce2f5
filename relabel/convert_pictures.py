"""The samples of a manifest one by one, each with its picture as a file's bytes and a name that is safe anywhere."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.repeats import repeats
from ..core.schema import FACE_BOX, STATUS_OK, LabelSet, ManifestError
from ..images.decode import UnreadableImage, decode_rgb, picture_size
from ..images.pictures import PictureReader
from ..manifest import Manifest

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 128
LONGEST = 80
"""Characters of a file's name that come from the sample's id."""

MARK_DIGITS = 16
"""Hexadecimal digits that tell apart ids of one name: with ten, two of a million such ids would share theirs in every
third dataset."""

SUFFIXES = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
}
"""By their first bytes, the pictures that are taken as they are; others become PNG."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_MARKED = re.compile(rf".*-[0-9a-f]{{{MARK_DIGITS}}}", re.IGNORECASE)


@dataclass(frozen=True)
class Record:
    """A sample with its picture.

    Attributes:
        key: a file's name without suffix: letters, digits, `_` and `-`, different for every sample.
        row: its columns in the manifest.
        data: the picture, encoded.
        suffix: `.jpg` or `.png`.
        size: width and height of the upright picture.
    """

    key: str
    row: Mapping[str, Any]
    data: bytes
    suffix: str
    size: tuple[int, int]

    @property
    def split(self) -> str:
        """The sample's split."""
        return str(self.row["split"])

    @property
    def file(self) -> str:
        """The picture's name."""
        return f"{self.key}{self.suffix}"

    def value(self, label_set: LabelSet) -> Any:
        """The label of a set: a class id, valence and arousal as a pair, or None."""
        found = [self.row[column] for role, column in label_set.columns.items() if role != "probs"]
        return None if None in found else found[0] if len(found) == 1 else tuple(found)

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The face's box, where there is one."""
        found = [self.row.get(name) for name in FACE_BOX]
        return None if None in found else tuple(found)  # type: ignore[return-value]


class Pictures:
    """The samples of a view whose status is ok, with their pictures, in the manifest's order.

    Args:
        view: the manifest.
        root: where its images are.
        progress: called with samples done and samples in all.
    """

    def __init__(self, view: Manifest, root: Path, progress: Callable[[int, int], None] | None = None) -> None:
        self.view, self.root, self.progress = view, root, progress

    @cached_property
    def rows(self) -> int:
        """Samples in all."""
        return self.view.rows

    @cached_property
    def usable(self) -> int:
        """Samples that have a picture."""
        return sum(batch.column("status").to_pylist().count(STATUS_OK) for batch in self.view.batches(["status"]))

    def __iter__(self) -> Iterator[Record]:
        """Read them, some at a time.

        Raises:
            UserError: a picture cannot be read, or an id occurs more than once.
        """
        mark_capitals = self._ids_alike_but_for_case()
        done = 0
        with PictureReader(self.root) as reader:
            for batch in self.view.batches(batch_rows=ROWS):
                rows = [row for row in batch.to_pylist() if row["status"] == STATUS_OK]
                for row, source in zip(rows, reader.fetch([row["image"] for row in rows]), strict=True):
                    data, suffix, size = _encoded(source, row["image"])
                    yield Record(_key(row["id"], mark_capitals), row, data, suffix, size)
                    done += 1
                    if self.progress is not None:
                        self.progress(done, self.usable)

    def _ids_alike_but_for_case(self) -> bool:
        """Whether some ids that could be names as they are would be the same file where case does not count.

        Raises:
            ManifestError: an id occurs more than once, so that two pictures would have one name.
        """
        if not repeats(lambda: map(_lower_where_safe, self._ids())):
            return False
        if repeated := repeats(self._ids):
            raise ManifestError(
                f"{self.view.path}: {repeated} ids occur more than once, and pictures are named by their ids. Give "
                "every sample an id of its own."
            )
        return True

    def _ids(self) -> Iterator[pa.Array]:
        return (batch.column("id") for batch in self.view.batches(["id"]))


def _lower_where_safe(ids: pa.Array) -> pa.Array:
    """The ids, those that could be names as they are in lower case."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(ids.type):  # has a text once, however many rows have it
        return pa.DictionaryArray.from_arrays(ids.indices, _lower_where_safe(ids.dictionary))
    texts = ids.cast(pa.large_string())
    return pc.if_else(pc.match_substring_regex(texts, _UNSAFE.pattern), texts, pc.ascii_lower(texts))


def _key(name: str, mark_capitals: bool) -> str:
    """A safe name like the id, which no other id has, also where case does not count.

    Nothing need be remembered of other ids: one that cannot be a name as it is gets a mark of its own, and so does one
    that only looks as if it were marked.

    Args:
        name: the id.
        mark_capitals: whether an id with capitals gets a mark in any case, since another may differ in them alone.
    """
    plain = _UNSAFE.sub("_", name)[-LONGEST:].strip("_-")
    if plain == name and name and not _MARKED.fullmatch(name) and not (mark_capitals and name != name.lower()):
        return name
    return f"{plain or 'sample'}-{hashlib.sha256(name.encode()).hexdigest()[:MARK_DIGITS]}"


def _encoded(source: Any, reference: str) -> tuple[bytes, str, tuple[int, int]]:
    """A picture's bytes, suffix and size.

    Raises:
        UnreadableImage: it is none.
    """
    if isinstance(source, UnreadableImage):
        raise source
    if isinstance(source, np.ndarray):
        return _png(source), ".png", (source.shape[1], source.shape[0])
    size = picture_size(source, reference)  # raises where it is no picture
    data = source.read_bytes() if isinstance(source, Path) else source
    suffix = next((suffix for start, suffix in SUFFIXES.items() if data.startswith(start)), None)
    if suffix is None:
        return _png(np.array(decode_rgb(source, reference, 1))), ".png", size
    return data, suffix, size


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
