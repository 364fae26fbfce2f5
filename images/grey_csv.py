"""FER2013's csv: a picture a row, as 48×48 grey values in a text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ..core.errors import UserError
from .decode import UnreadableImage

SIDE = 48
"""Width and height of FER2013's pictures."""

COLUMN = "pixels"

MAX_LINE = 2**20
"""No line is read further than this; FER2013's longest has 9 kilobytes."""

_BLOCK = 2**23
_NUMBERS = re.compile(r"[0-9 ]*")
_BLANKS = b' \t\f\v"'  # a line of nothing else is passed over
_BOM = b"\xef\xbb\xbf"


class GreyCsv:
    """The pictures of a csv with a column `pixels`, by row: counted from 0, without the header and blank lines.

    Only the places where the rows begin are held.

    Args:
        source: the file, or its content; no text in it may go over several lines.
        where: names it in errors.
        file: its path relative to the dataset's root, for errors about a row.

    Raises:
        UserError: it cannot be opened, or has no column `pixels`.
    """

    def __init__(self, source: Path | bytes, where: str, file: str) -> None:
        self.file = file
        try:
            self._stream: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
            self._starts = np.fromiter(_line_starts(self._stream), np.int64)
            self._column = self._pixel_column()
        except OSError as error:
            raise _unusable(where, f"it cannot be opened ({error.strerror})") from error
        except (ValueError, csv.Error) as error:
            self.close()
            raise _unusable(where, str(error)) from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __len__(self) -> int:
        return max(0, len(self._starts) - 1)

    def fetch(self, rows: Sequence[int]) -> list[npt.NDArray[np.uint8] | UnreadableImage]:
        """Pictures of some rows within the file (each 48×48×3), or why there is none."""
        found: list[npt.NDArray[np.uint8] | UnreadableImage] = []
        for row in rows:
            try:
                found.append(_picture(self._pixels(row)))
            except (ValueError, OSError, csv.Error) as error:
                found.append(UnreadableImage(f"{self.file}#{row}", str(error)))
        return found

    def _pixel_column(self) -> int:
        names = self._cells(0) if len(self._starts) else []
        folded = [name.strip().casefold() for name in names]
        if COLUMN not in folded:
            shown = ", ".join(f"'{name[:40]}'" for name in names[:8]) or "no line at all"
            raise ValueError(f"its first line has {shown}; expected FER2013's emotion,pixels,Usage")
        return folded.index(COLUMN)

    def _pixels(self, row: int) -> str:
        cells = self._cells(row + 1)
        if len(cells) <= self._column:
            raise ValueError(f"its line has {len(cells)} cells and no '{COLUMN}'")
        return cells[self._column]

    def _cells(self, line: int) -> list[str]:
        self._stream.seek(int(self._starts[line]))
        data = self._stream.readline(MAX_LINE + 1)
        if len(data) > MAX_LINE:
            raise ValueError(f"a line has more than the {MAX_LINE:,} bytes allowed")
        text = data.removeprefix(_BOM).decode("utf-8", errors="replace").rstrip("\r\n")
        return next(csv.reader([text]), [])


def _line_starts(stream: BinaryIO) -> Iterator[int]:
    """Where lines begin that are not blank.

    Raises:
        ValueError: a line has a carriage return in it, which some readers take for a line's end, so that they count
            the rows otherwise.
    """
    start = position = 0
    blank = True
    while block := stream.read(_BLOCK):
        begin = 0
        while True:
            end = block.find(b"\n", begin)
            piece = block[begin : end if end >= 0 else len(block)].rstrip(b"\r")
            if b"\r" in piece:
                raise ValueError("it has carriage returns within lines; line ends of one kind were expected")
            blank = blank and not piece.strip(_BLANKS)
            if end < 0:
                break
            if not blank:
                yield start
            begin, blank = end + 1, True
            start = position + begin
        position += len(block)
    if not blank:
        yield start


def _picture(text: str) -> npt.NDArray[np.uint8]:
    if not _NUMBERS.fullmatch(text):
        wrong = next(part for part in text.split(" ") if not _NUMBERS.fullmatch(part))
        raise ValueError(
            f"its pixels hold '{wrong[:20]}'; numbers from 0 to 255 with spaces between them were expected"
        )
    grey = np.fromstring(text, np.int64, sep=" ")  # what is too large for 64 bits becomes the largest that is not
    if len(grey) != SIDE * SIDE:
        found = len(text.split())  # numpy finds a number in blanks alone
        raise ValueError(f"it has {found:,} pixels; {SIDE * SIDE:,} were expected ({SIDE}×{SIDE})")
    if grey.max() > 255:
        raise ValueError(f"its pixels hold {min(grey.max(), 10**9)}; numbers from 0 to 255 were expected")
    return np.repeat(grey.astype(np.uint8).reshape(SIDE, SIDE, 1), 3, axis=2)


def _unusable(where: str, reason: str) -> UserError:
    return UserError(f"Cannot read {where}: {reason}. Restore the file from where the dataset came from.")
