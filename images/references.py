"""Image references: a relative path, or a row of a packed file; never a way out of the dataset's root."""

from __future__ import annotations

import functools
import os
import re
import stat
from pathlib import Path, PurePosixPath

from .decode import UnreadableImage

_PACKED = re.compile(r"(.+)#([0-9]{1,15})", re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:")


def split_reference(reference: str) -> tuple[str, int | None]:
    """Take a reference apart: `("103/a.jpg", None)`, or `("plain_text/test.parquet", 17)` for `…#17`.

    What follows the last `#` is a row if it is a number, else part of the file's name.
    """
    packed = _PACKED.fullmatch(reference)
    return (packed[1], int(packed[2])) if packed else (reference, None)


@functools.lru_cache(maxsize=1024)  # of a packed file, the same name comes over and over
def canonical(file: str) -> str | None:
    """`file` in its one spelling (`a//./b` is `a/b`), or None where it could point out of its root.

    Refused: empty and absolute names, `..`, drive letters, NUL, and backslashes, which separate folders on Windows.
    """
    path = PurePosixPath(file)
    if not path.name or path.is_absolute() or ".." in path.parts or "\\" in file or "\0" in file or _DRIVE.match(file):
        return None
    return path.as_posix()


def checked(file: str) -> str:
    """`file` in its one spelling.

    Raises:
        UnreadableImage: with the status `refused`, where it could point out of its root.
    """
    spelling = canonical(file)
    if spelling is None:
        raise UnreadableImage(
            file,
            "the reference was refused, since it is empty, absolute or could lead out of the dataset's root",
            "refused",
            "References are paths below the root, such as 'train/0001.jpg', with forward slashes and without '..'.",
        )
    return spelling


def inside(root: Path, file: str) -> Path:
    """The path of `file`, which `checked` accepted, below the folder `root`.

    Raises:
        UnreadableImage: there is no such regular file (`missing`), or a link on the way leads out of `root`
            (`refused`).
    """
    path = root / file
    try:
        if not path.is_file():
            found = "that is a folder or a device, no file," if path.exists() else "there is no such file"
            raise UnreadableImage(file, f"{found} under the root {root}", "missing")
        if not _may_lead_out(root, file):  # resolving, of picture and root, looks at every folder down from `/`
            return path
        target, resolved_root = path.resolve(), root.resolve()
    except OSError as error:  # such as a folder that may not be entered, or a name too long for the file system
        raise UnreadableImage(file, f"it cannot be opened ({error.strerror})") from error
    if not target.is_relative_to(resolved_root):
        raise UnreadableImage(
            file,
            f"it was refused, since it is a link to {target}, outside the dataset's root {root}",
            "refused",
            "Copy the file into the root, or give a root that holds both.",
        )
    return path


def _may_lead_out(root: Path, file: str) -> bool:
    """Whether a part of `file` is a link or points upwards: without any it lies below `root`, wherever that is.

    Raises:
        OSError: a part cannot be looked at.
    """
    if file.startswith("/") or ".." in file:
        return True
    path = str(root)
    for part in file.split("/"):
        path = f"{path}/{part}"
        if stat.S_ISLNK(os.lstat(path).st_mode):
            return True
    return False
