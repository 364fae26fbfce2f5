"""Places in an object store, told from places on a disk."""

from __future__ import annotations

import re
from pathlib import Path

_URL = re.compile(r"s3:/{1,2}(?=[^/])")


def is_url(place: str | Path) -> bool:
    """Whether a place is one of an object store, `s3://bucket/folder`; a `Path` made of it has lost a slash."""
    return _URL.match(str(place)) is not None


def as_url(place: str | Path) -> str:
    """A URL in its right spelling, of one that may have been a `Path`."""
    return _URL.sub("s3://", str(place)).rstrip("/")
