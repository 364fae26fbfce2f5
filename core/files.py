"""Files that appear whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import UserError

_TEMPORARY = ".tmp-"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write to a temporary name beside `path`, then rename; on any failure nothing stands under `path`.

    Yields:
        The temporary path, in the same folder (a rename within one file system is atomic). The data is flushed to
        disk before the rename, so that a power cut cannot leave an empty file under the final name.

    Raises:
        UserError: the folder cannot be created or written, or the disk is full.
    """
    path = Path(path)
    temporary = temporary_sibling(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Like `whole_file`, for a folder: fill the yielded one, which takes the place of `path` at the end.

    A folder that stands under `path` is moved aside first and removed afterwards.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    temporary, old = temporary_sibling(path), temporary_sibling(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        for leftover in (temporary, old):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def temporary_sibling(path: Path) -> Path:
    """A fresh hidden name in the same folder, for something to be renamed to `path` when it is whole."""
    return path.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}-{path.name}")


def write_failure(path: Path, error: OSError) -> UserError:
    """The sentence for a file that could not be written, with its remedy."""
    if error.errno == errno.ENOSPC:
        return UserError(f"Cannot write {path}: the disk is full. Free some space and run the same command again.")
    reason = error.strerror or str(error)
    return UserError(f"Cannot write {path}: {reason}. Choose a folder you may write to, or change its permissions.")


def remove_leftovers(folder: Path) -> int:
    """Delete temporary files that a killed process left in `folder`; returns how many there were."""
    stale = [entry for entry in folder.glob(f"{_TEMPORARY}*") if entry.is_file()]
    for entry in stale:
        entry.unlink(missing_ok=True)
    return len(stale)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN and infinities become null, as JSON has neither."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: it is missing, unreadable or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(
            f"Cannot read {path} as JSON: {error}. Restore the file, or remove it to start over."
        ) from error


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
