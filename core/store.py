"""A flat folder of files that appear whole or not at all: on a disk, or under a URL of an object store such as S3."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from .errors import UserError, first_line
from .files import read_json, remove_leftovers, sha256_file, temporary_sibling, whole_file, write_failure, write_json
from .urls import as_url, is_url

_LOCK = ".lock"


class Store(Protocol):
    """A flat folder of files by name. It can be sent to another process, and brings no credentials along."""

    @property
    def where(self) -> str:
        """The folder or URL, for people."""

    def names(self) -> list[str]:
        """The names of its files, sorted; none where it is not there yet."""

    def write(self, name: str, fill: Callable[[Path | io.BytesIO], object]) -> str:
        """Write a file, whole or not at all; `fill` gets a path or a stream to write to.

        Returns:
            The SHA-256 of what was written, in hexadecimal.

        Raises:
            UserError: it cannot be written.
        """

    def read(self, name: str) -> Path | io.BytesIO:
        """A file as a path or a stream.

        Raises:
            OSError: there is none, or it cannot be read; for a path only when that is opened.
        """

    def sha256(self, name: str) -> str:
        """The SHA-256 of a file as it is stored.

        Raises:
            OSError: there is none, or it cannot be read.
        """

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as JSON, whole or not at all.

        Raises:
            UserError: it cannot be written.
        """

    def read_json(self, name: str) -> Any:
        """Read a JSON file.

        Raises:
            UserError: it is missing, unreadable or no JSON.
        """

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is no error."""

    def clear(self) -> None:
        """Delete everything but the lock.

        Raises:
            UserError: it cannot be deleted.
        """

    def tidy(self) -> None:
        """Delete what killed processes left unfinished."""

    def remove(self) -> None:
        """Delete it with all its files, all at once for whoever looks where that can be."""


class DiskStore:
    """A folder on a disk.

    Args:
        path: the folder; made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.path)

    def names(self) -> list[str]:
        """See `Store.names`."""
        return sorted(entry.name for entry in self.path.iterdir()) if self.path.is_dir() else []

    def write(self, name: str, fill: Callable[[Path | io.BytesIO], object]) -> str:
        """See `Store.write`."""
        with whole_file(self.path / name) as temporary:
            fill(temporary)
        return sha256_file(self.path / name)

    def read(self, name: str) -> Path | io.BytesIO:
        """See `Store.read`."""
        return self.path / name

    def sha256(self, name: str) -> str:
        """See `Store.sha256`."""
        return sha256_file(self.path / name)

    def write_json(self, name: str, value: Any) -> None:
        """See `Store.write_json`."""
        write_json(self.path / name, value)

    def read_json(self, name: str) -> Any:
        """See `Store.read_json`."""
        return read_json(self.path / name)

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """See `Store.clear`."""
        try:
            for name in self.names():
                if name != _LOCK:
                    (self.path / name).unlink()
        except OSError as error:
            raise write_failure(self.path, error) from error

    def tidy(self) -> None:
        """See `Store.tidy`."""
        if self.path.is_dir():
            remove_leftovers(self.path)

    def remove(self) -> None:
        """See `Store.remove`."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self.path.rename(temporary_sibling(self.path)))


class ObjectStore:
    """The objects below a URL, through Arrow's file systems; a put is whole or not at all.

    Credentials and the endpoint come from the environment alone (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    `AWS_REGION`, `AWS_ENDPOINT_URL`), and on each machine from its own.

    Args:
        url: such as `s3://bucket/folder`.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = as_url(url)

    def __getstate__(self) -> dict[str, str]:
        return {"url": self.url}

    @property
    def where(self) -> str:
        """The URL."""
        return self.url

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """Arrow's file system, and the path in it."""
        import pyarrow as pa
        from pyarrow import fs

        try:
            system, path = fs.FileSystem.from_uri(self.url)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UserError(
                f"{self.url} cannot be opened ({first_line(error)}). A URL such as s3://bucket/folder was expected."
            ) from error
        return system, path

    def names(self) -> list[str]:
        """See `Store.names`.

        Raises:
            UserError: the store cannot be reached, or refuses.
        """
        return self.entries()[0]

    def write(self, name: str, fill: Callable[[Path | io.BytesIO], object]) -> str:
        """See `Store.write`."""
        buffer = io.BytesIO()
        fill(buffer)  # whole in memory first: closing a stream of Arrow would finish an object that is cut short
        return self._put(name, buffer.getbuffer())

    def read(self, name: str) -> Path | io.BytesIO:
        """See `Store.read`."""
        return io.BytesIO(self.read_bytes(name))

    def read_bytes(self, name: str) -> bytes:
        """The content of a file; the name may have folders.

        Raises:
            OSError: there is none, or it cannot be read.
        """
        system, path = self._place
        with system.open_input_stream(f"{path}/{name}") as stream:
            return bytes(stream.read())

    def sha256(self, name: str) -> str:
        """See `Store.sha256`."""
        return hashlib.sha256(self.read_bytes(name)).hexdigest()

    def write_json(self, name: str, value: Any) -> None:
        """See `Store.write_json`."""
        self._put(name, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode())

    def read_json(self, name: str) -> Any:
        """See `Store.read_json`."""
        try:
            return json.loads(self.read_bytes(name))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                f"Cannot read {self.url}/{name} as JSON: {first_line(error)}. Restore it, or remove it to start over."
            ) from error

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        system, path = self._place
        with contextlib.suppress(FileNotFoundError):
            system.delete_file(f"{path}/{name}")

    def clear(self) -> None:
        """See `Store.clear`."""
        try:
            for name in self.names():
                self.delete(name)
        except OSError as error:
            raise self.failure("emptied", error) from error

    def tidy(self) -> None:
        """See `Store.tidy`; an object that was not finished is not there."""

    def remove(self) -> None:
        """See `Store.remove`."""
        system, path = self._place
        with contextlib.suppress(OSError):
            system.delete_dir(path)

    def exists(self) -> bool:
        """Whether there is anything below the URL.

        Raises:
            UserError: the store cannot be reached, or refuses.
        """
        from pyarrow import fs

        return any(info.type == fs.FileType.Directory for info in self._infos(lambda path: [path]))

    def entries(self) -> tuple[list[str], list[str]]:
        """The names of the files, and of the folders, just below the URL, each sorted.

        Raises:
            UserError: the store cannot be reached, or refuses.
        """
        from pyarrow import fs

        found = self._infos(lambda path: fs.FileSelector(path, allow_not_found=True))
        return sorted(each.base_name for each in found if each.is_file), sorted(
            each.base_name for each in found if not each.is_file
        )

    def _infos(self, what: Callable[[str], Any]) -> list[Any]:
        system, path = self._place
        try:
            return list(system.get_file_info(what(path)))
        except OSError as error:
            raise self.failure("read", error) from error

    def _put(self, name: str, content: bytes | memoryview) -> str:
        system, path = self._place
        try:
            with system.open_output_stream(f"{path}/{name}") as stream:
                stream.write(content)
        except OSError as error:
            raise self.failure("written", error) from error
        return hashlib.sha256(content).hexdigest()

    def failure(self, what: str, error: OSError) -> UserError:
        """The sentence for what went wrong with the store itself, with its remedy."""
        return UserError(
            f"{self.url} cannot be {what}: {first_line(error)}. Check that the bucket is there, and what the "
            "environment says of it: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL."
        )


def open_store(place: str | Path) -> DiskStore | ObjectStore:
    """The store at a folder or under a URL; nothing is looked at yet."""
    return ObjectStore(place) if is_url(place) else DiskStore(Path(place))
