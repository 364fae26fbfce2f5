"""Small JPEGs of samples, as aligned faces where there are eyes; a sentence where a picture cannot be read."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import UserError
from ...core.schema import EYES
from ...images.align import Eyes, read_face
from ...images.decode import UnreadableImage, decode_rgb, largest_shrink, picture_size
from ...images.pictures import PictureReader
from ...manifest import Manifest

if TYPE_CHECKING:
    from PIL import Image

Thumbnail = bytes | str
"""A JPEG, or why there is none."""

QUALITIES = (82, 65, 45, 25)
"""JPEG qualities that are tried one after another until a picture is small enough."""


class Thumbnails:
    """Makes thumbnails of a manifest's rows, from any thread.

    Args:
        manifest: opened.
        rows: those that may be asked for.
        side: of the longer side, in pixels; smaller pictures keep their size.
        most: bytes of one.
        root: where the images are, if not at the manifest's hint.
    """

    def __init__(self, manifest: Manifest, rows: Sequence[int], *, side: int, most: int, root: Path | None = None):
        faces = manifest.header.faces
        self.side, self.most = side, most
        self._samples = samples_of(manifest, rows, ["image", *(EYES if faces else ())])
        self._reader = PictureReader(root or manifest.root)
        self._lock = threading.Lock()

    def __enter__(self) -> Thumbnails:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def in_order(self) -> list[int]:
        """All rows, in the order in which their pictures are read fastest."""
        rows, references = list(self._samples), [str(each["image"]) for each in self._samples.values()]
        try:
            return [rows[place] for place in self._reader.order(references)]
        except UserError:  # of a picture, which is told when it is asked for, or of the root
            return rows

    def of(self, row: int) -> Thumbnail:
        """The thumbnail of a row.

        Raises:
            KeyError: it is none of the rows.
        """
        sample = self._samples[row]
        reference = str(sample["image"])
        given = [sample[name] for name in EYES] if EYES[0] in sample else []
        eyes: Eyes | None = None
        if given and None not in given:
            eyes = given[0], given[1], given[2], given[3]
        try:
            with self._lock:
                picture = self._picture(reference, eyes)
        except UnreadableImage as error:
            return error.reason
        except UserError as error:
            return str(error)
        return self._compressed(picture)

    def _picture(self, reference: str, eyes: Eyes | None) -> Image.Image:
        from PIL import Image

        source = self._reader.fetch([reference])[0]
        if isinstance(source, UnreadableImage):
            raise source
        if eyes is not None:
            return Image.fromarray(read_face(source, reference, eyes, self.side))
        if isinstance(source, np.ndarray):
            return Image.fromarray(source)
        shrink = largest_shrink(max(picture_size(source, reference)) / (2 * self.side))
        return decode_rgb(source, reference, shrink)

    def _compressed(self, picture: Image.Image) -> Thumbnail:
        from PIL import Image

        picture = picture.convert("RGB")
        picture.thumbnail((self.side, self.side), Image.Resampling.LANCZOS)
        for quality in QUALITIES:
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=quality, optimize=True)
            if stream.tell() <= self.most:
                return stream.getvalue()
        return f"it takes more than {self.most:,} bytes"


def samples_of(manifest: Manifest, rows: Sequence[int], columns: Sequence[str]) -> Mapping[int, Mapping[str, Any]]:
    """Some columns of some rows, by row; the file is read through once, in bounded memory.

    Args:
        manifest: opened.
        rows: counted from 0 in the manifest's view, in any order.
        columns: names.
    """
    wanted, found, start = np.unique(np.asarray(rows, np.int64)), dict[int, Mapping[str, Any]](), 0
    for batch in manifest.batches(columns) if len(wanted) else ():
        here = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
        for row, sample in zip(here.tolist(), batch.take(here - start).to_pylist(), strict=True):
            found[row] = sample
        start += batch.num_rows
    return found
