"""Readers of a folder that somebody may replace meanwhile: files of both would be a table that nobody wrote."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError
from .schema import ManifestError


def identity(path: Path) -> tuple[int, ...]:
    """What tells a folder from another one that takes its place; nothing for a file, which is opened as a whole."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_ctime_ns) if stat.S_ISDIR(found.st_mode) else ()


@contextmanager
def unreplaced(path: Path, shards: tuple[int, ...]) -> Iterator[None]:
    """Read files of a folder inside the block.

    Raises:
        ManifestError: it is no longer the folder with this `identity`; also in place of an error in the block.
    """
    try:
        yield
    except UserError:
        _check(path, shards)
        raise
    _check(path, shards)


def _check(path: Path, shards: tuple[int, ...]) -> None:
    if shards and identity(path) != shards:
        raise ManifestError(f"{path} was replaced while it was read. Run the same command again.")
