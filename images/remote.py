"""The pictures below a URL of an object store, several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..core.errors import UserError
from ..core.store import ObjectStore
from .decode import UnreadableImage

AT_ONCE = 16
"""Requests at a time: a store answers after some ten milliseconds, whatever the size."""


class RemotePictures:
    """Reads whole files below a URL.

    Args:
        root: the URL.
    """

    def __init__(self, root: str | Path) -> None:
        self._store = ObjectStore(root)
        self._pool: ThreadPoolExecutor | None = None
        self._there = False

    def read(self, files: Sequence[str]) -> dict[str, Path | bytes | UnreadableImage]:
        """The content of each file, or the error that there is none.

        Raises:
            UserError: the store cannot be reached, or refuses.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")
        return dict(zip(files, self._pool.map(self._content, files), strict=True))

    def _content(self, file: str) -> bytes | UnreadableImage:
        try:
            return self._store.read_bytes(file)
        except FileNotFoundError:
            self._check()
            return UnreadableImage(file, f"there is no such file under {self._store.where}", "missing")
        except OSError as error:  # of the store: no property of this picture
            raise self._store.failure("read", error) from error

    def _check(self) -> None:
        """Tell a picture that is missing from a root that is; asked once."""
        if not self._there:
            self._there = self._store.exists()
        if not self._there:
            raise UserError(
                f"There is nothing under {self._store.where}. Give the URL that the image references are relative to."
            )

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None
