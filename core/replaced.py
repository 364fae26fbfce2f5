"""Readers of a folder that somebody may replace meanwhile: files of both would be a table that nobody wrote."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError
from .schema import ManifestError


def identity(path: Path) -> tuple[int, ...]:
    """What tells a folder of shards from another one that takes its place: itself and its first shard, as numbers of
    folders are used again. Nothing for a file, which is opened as a whole."""
    try:
        found = path.stat()
        if not stat.S_ISDIR(found.st_mode):
            return ()
        shards = [shard for shard in path.glob("*.parquet") if not shard.name.startswith(".")]
        first = [each for shard in sorted(shards)[:1] for each in (shard.stat().st_ino, shard.stat().st_mtime_ns)]
    except (OSError, ValueError):  # not there, or a name that no file can have
        return ()
    return (found.st_ino, *first)


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
