"""The images below a folder, one by one, in an order that is always the same."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UserError
from ...core.store import ObjectStore
from ...core.urls import is_url
from .annotations import BAD_ROW, IMAGE_SUFFIXES, REFUSED

_DRIVE = re.compile(r"[A-Za-z]:")
_LINK = "it is a link to a folder, which is not followed; copy that folder, or give it as the root"
_NAME = (
    "its name holds a backslash, begins like a drive ('c:') or is no UTF-8, so that no manifest can name it; rename it"
)


@dataclass(frozen=True)
class Found:
    """An image that a walk came by, or something that takes an image's place.

    Attributes:
        path: relative to the root, safe for a manifest.
        status: None for a file; else the status of the row, such as `refused` for a link to a folder.
        detail: why, as a sentence's end.
    """

    path: str
    status: str | None = None
    detail: str | None = None


def walk(root: Path, below: str = "") -> Iterator[Found]:
    """The image files of a folder, then those of its sub-folders, each sorted by name; the names of one folder (and
    of the sub-folders on the way to it) are held at a time.

    Told by their suffix; other files are passed over, and whatever begins with a dot. A link to a file is a file; a
    link to a folder is not followed, as it could lead out or round in circles.

    Args:
        root: what the paths are relative to.
        below: the folder to walk, relative to `root`.

    Raises:
        UserError: a folder cannot be read.
    """
    waiting = [below]
    while waiting:
        folder = waiting.pop()
        files, folders, links = entries(root / folder)
        for name in files:
            yield _found(_joined(folder, name))
        for name in links:
            yield Found(_found(_joined(folder, name)).path, REFUSED, _LINK)
        waiting += [_joined(folder, name) for name in reversed(folders)]


def entries(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Sorted names in a folder: image files, sub-folders, links to folders; hidden ones are left out.

    Raises:
        UserError: it cannot be read.
    """
    if is_url(folder):
        names, below = ([name for name in found if name[0] != "."] for found in ObjectStore(folder).entries())
        return [name for name in names if is_image(name)], below, []
    files: list[str] = []
    folders: list[str] = []
    links: list[str] = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append(entry.name)
                elif is_image(entry.name):
                    files.append(entry.name)
    except OSError as error:
        raise UserError(
            f"Cannot read the folder {folder}: {error.strerror or error}. Change its permissions, or move it elsewhere."
        ) from error
    return sorted(files), sorted(folders), sorted(links)


def is_image(name: str) -> bool:
    """Whether a file's suffix is one of a picture."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - called for every file


def safe_name(path: str) -> str:
    """A file's path below the root as a manifest can hold it: as it is, or, where it has a backslash, begins like a
    drive (`c:`) or is no UTF-8, with other characters in their place, so that `images.references.canonical` takes it.
    """
    text = path if path.isascii() else os.fsencode(path).decode("utf-8", "replace")
    text = text.replace("\\", "?").replace("\0", "?")
    return f"{text[0]}?{text[2:]}" if _DRIVE.match(text) else text


def _found(path: str) -> Found:
    safe = safe_name(path)
    if safe == path:
        return Found(path)
    safe = f"{safe}~{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"  # so that two such names stay two
    return Found(safe, BAD_ROW, _NAME)


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
