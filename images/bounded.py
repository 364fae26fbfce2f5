"""Files of pictures that cost far more than their pixels are worth, found before the cost arises."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 256 * 2**20
"""The largest file of a picture that is opened: more than the pixels that are allowed take without any compression."""

MAX_READS = 2_000_000
"""How often Pillow may read from one file. It reads every part of a head by itself, in some microseconds, and a head
may have as many parts as the file has room for; what encoders write takes some thousands."""

MAX_SCANS = 100
"""The most passes of a JPEG over its pixels. Ten are customary; an empty one takes ten bytes of the file and time in
proportion to the picture, so that a few kilobytes can take minutes. libtiff has the same limit."""

MAX_PLAIN_BYTES = 16 * 2**20
"""The largest file of pixels written as decimal numbers (a plain PPM), which Pillow reads a hundred times slower."""

_PLAIN = (b"P1", b"P2", b"P3")
_SMALL_BYTES = 2**20  # too few for `MAX_READS` to be worth counting
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # without a length: TEM and the restart marks
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END = 0xDA, 0xD9


class CostlyFile(Exception):
    """A file that is not worth its cost; the message ends a sentence, without a full stop."""


class _CountedFile(io.BufferedReader):
    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads = _one_more(self.reads)
        return super().read(size)


class _CountedBytes(io.BytesIO):
    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads = _one_more(self.reads)
        return super().read(size)


def _one_more(reads: int) -> int:
    if reads >= MAX_READS:
        raise CostlyFile("it consists of too many small parts")
    return reads + 1


def bounded(source: bytes | Path) -> io.BufferedReader | io.BytesIO | Path:
    """What Pillow may open in place of `source`; a stream is the caller's to close.

    Args:
        source: the file's content, or its path.

    Raises:
        CostlyFile: it is larger than `MAX_FILE_BYTES`; the stream raises it after `MAX_READS`.
        OSError: there is no such file.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > MAX_FILE_BYTES:
        raise CostlyFile(f"it has {size:,} bytes, more than the {MAX_FILE_BYTES:,} allowed")
    if size <= _SMALL_BYTES:
        return io.BytesIO(source) if isinstance(source, bytes) else source
    stream = _CountedBytes(source) if isinstance(source, bytes) else _CountedFile(io.FileIO(source))
    start = stream.read(2)
    stream.seek(0)
    if size > MAX_PLAIN_BYTES and start in _PLAIN:
        stream.close()
        raise CostlyFile(f"it has {size:,} bytes of decimal numbers, more than the {MAX_PLAIN_BYTES:,} allowed")
    return stream


def check_scans(stream: Any) -> None:
    """See how often a JPEG passes over its pixels; the stream is left where it stands.

    Args:
        stream: of the file.

    Raises:
        CostlyFile: more often than `MAX_SCANS`.
    """
    here = stream.tell()
    stream.seek(0)
    data = stream.read()
    stream.seek(here)
    if count_scans(data) > MAX_SCANS:
        raise CostlyFile(f"it passes over its pixels more often than the {MAX_SCANS} times allowed")


def count_scans(data: bytes) -> int:
    """The passes over the pixels in a JPEG, found as libjpeg goes about it; counting ends one above `MAX_SCANS`.

    A sequential JPEG whose first pass has all components has no other: libjpeg stops behind it.
    """
    place, scans, components, progressive = 2, 0, 0, False
    while scans <= MAX_SCANS and (found := _MARKER.search(data, place)) is not None:
        marker, place = found[1][0], found.end()
        if marker in _STANDALONE:
            continue
        if marker == _END:
            break
        if marker in _FRAMES and not components:
            progressive, components = marker in _PROGRESSIVE, int.from_bytes(data[place + 7 : place + 8])
        elif marker == _SCAN:
            scans += 1
            if not progressive and data[place + 2 : place + 3] == bytes([components]):
                break
        place += max(2, int.from_bytes(data[place : place + 2]))
    return scans
