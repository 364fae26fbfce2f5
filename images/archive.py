"""Tar archives read in place: one pass, nothing written to disk, sizes bounded."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from ..core.errors import UserError
from .references import canonical

MAX_MEMBER_BYTES = 256 * 2**20
"""The largest file taken out of an archive, and the largest CIFAR batch read (the official ones have 31 MB)."""

MAX_ARCHIVE_BYTES = 1024 * 2**20
"""The most an archive may unpack to (the official ones: 186 MB); a bomb of zeros is stopped here."""

_GZIP = b"\x1f\x8b"


def members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the wanted regular files of a .tar.gz (or .tar), in the archive's order.

    Names are in their one spelling (`./a/b` is `a/b`). Links, devices, and members whose name is absolute or holds
    `..` are passed over as if they were not there. The archive is read to its end, so that a truncated or damaged one
    is noticed even where the damage lies behind the last wanted file.

    Args:
        path: the archive.
        wanted: whether a member of this name should be read.

    Raises:
        UserError: it is no tar archive, is damaged or truncated, holds a wanted name twice or unpacks to too much.
    """
    seen: set[str] = set()
    try:
        with _opened(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = canonical(member.name)
                if name is None or not member.isreg() or not wanted(name):
                    continue
                if name in seen:
                    raise _unusable(path, f"it holds '{name}' twice")
                seen.add(name)
                yield name, _content(path, archive, member)
            while stream.read(2**20):
                pass
    except UserError:
        raise
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, OverflowError, MemoryError) as error:
        raise _unusable(path, f"it is no tar archive, or a truncated or damaged one ({error})") from error


class _Bounded(io.RawIOBase):
    """A stream that stops with a sentence once more than `MAX_ARCHIVE_BYTES` have come out of it."""

    def __init__(self, path: Path, stream: io.BufferedIOBase) -> None:
        self._path = path
        self._stream = stream
        self._left = MAX_ARCHIVE_BYTES

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise _unusable(self._path, f"it unpacks to more than the {MAX_ARCHIVE_BYTES:,} bytes allowed")
        return data

    def close(self) -> None:
        self._stream.close()
        super().close()


def _opened(path: Path) -> _Bounded:
    # Some browsers unpack the gzip layer of a download, so the content decides, not the name.
    with path.open("rb") as start:
        compressed = start.read(2) == _GZIP
    return _Bounded(path, gzip.open(path, "rb") if compressed else path.open("rb"))


def _content(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MAX_MEMBER_BYTES:
        raise _unusable(
            path, f"'{member.name}' claims {member.size:,} bytes, more than the {MAX_MEMBER_BYTES:,} allowed"
        )
    stream = archive.extractfile(member)
    data = b"" if stream is None else stream.read()
    if len(data) != member.size:
        raise _unusable(path, f"it ends in the middle of '{member.name}'")
    return data


def _unusable(path: Path, reason: str) -> UserError:
    return UserError(f"Cannot read the archive {path}: {reason}. Download it again, or give the folder it unpacks to.")
