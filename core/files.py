"""Files that appear whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .errors import UserError
from .urls import as_url, is_url

_TEMPORARY = ".tmp-"
_BLOCK = 2**20
_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of renameat2(2)."""

_tidied: set[Path] = set()
"""Folders from which this process has removed what killed ones left."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write to a temporary name beside `path`, then rename; on any failure nothing stands under `path`.

    Yields:
        The temporary path, in the same folder (a rename within one file system is atomic). The data is flushed to
        disk before the rename, so that a power cut cannot leave an empty file under the final name.

    Raises:
        UserError: the folder cannot be created or written, `path` is a folder, or the disk is full.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise UserError(f"Cannot write {path}: it is a folder. Give the name of a file.")
        _make_parent(path)
        _tidy(path.parent)
        with _held(path, Path.touch) as temporary:
            yield temporary
            _flush(temporary)
            temporary.replace(path)
    except OSError as error:
        raise write_failure(path, error) from error


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Like `whole_file`, for a folder: fill the yielded one, which takes the place of `path` at the end.

    On Linux the two change places in one step. Where the system or its file system cannot do that, what stands under
    `path` is moved aside first and removed afterwards: then a kill between the two renames leaves nothing under
    `path`, and the old folder whole under its temporary name.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    try:
        _make_parent(path)
        with _held(path, Path.mkdir) as temporary:
            yield temporary
            for written in temporary.rglob("*"):
                if written.is_file():
                    _flush(written)
            _take_place(temporary, path)
        # only now: one of them may be the old folder of a killed writer, whole
        _remove_abandoned(_temporaries(path))
    except OSError as error:
        raise write_failure(path, error) from error


def _take_place(temporary: Path, path: Path) -> None:
    """Put a folder in the place of another one, which may stay under the temporary name."""
    if not path.exists():
        temporary.rename(path)
        return
    if _exchanged(temporary, path):
        return
    old = temporary_sibling(path)
    path.rename(old)
    try:
        temporary.rename(path)
    except BaseException:  # Ctrl-C too: whatever stops the second rename, the old one comes back
        old.rename(path)
        raise
    _remove(old)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether two names have changed places, in one step: Linux can, on most file systems."""
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    return call is not None and not call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)


def refuse_existing(path: Path, option: str, *, overwrite: bool) -> None:
    """Refuse to write over what is there, unless that was asked for; for before the work of making it.

    Args:
        path: the new file.
        option: by which another name is given.
        overwrite: whether what is there may be replaced.

    Raises:
        UserError: something is there.
    """
    if path.exists() and not overwrite:
        raise UserError(f"{path} is there already. Give another name with {option}, or replace it with --overwrite.")


@contextlib.contextmanager
def _held(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A temporary name for `path`, made by `make`, locked while it is written, and gone afterwards.

    By the lock others can tell it from what a killed process left.
    """
    while True:
        temporary = temporary_sibling(path)
        make(temporary)
        try:
            handle = os.open(temporary, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another writer of the same name took it for an abandoned one before it was locked
        try:
            if not _lock(handle) or not temporary.exists():
                continue
            yield temporary
            return
        finally:
            os.close(handle)
            _remove(temporary)


def _lock(handle: int) -> bool:
    """Whether nobody else holds what is opened; also true on a file system without locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _tidy(folder: Path) -> None:
    """Delete the files that killed writers left in a folder: once a process, for a folder may hold many."""
    place = folder.absolute()
    if place not in _tidied:
        _tidied.add(place)
        _remove_abandoned(entry for entry in folder.glob(f"{_TEMPORARY}????????-*") if entry.is_file())


def _remove_abandoned(entries: Iterable[Path]) -> None:
    """Delete those of some temporary files and folders that nobody is writing."""
    for entry in entries:
        if not _is_held(entry):
            _remove(entry)


def _is_held(entry: Path) -> bool:
    """Whether somebody is writing a temporary file or folder; on a file system without locks, perhaps."""
    try:
        handle = os.open(entry, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(handle)


def temporary_sibling(path: Path) -> Path:
    """A fresh hidden name in the same folder, for something to be renamed to `path` when it is whole.

    Raises:
        UserError: `path` has no name of its own, such as `.` or `/`.
    """
    if path.name in ("", ".."):
        raise UserError(f"Cannot write '{path}': the name of a new file or folder was expected.")
    return path.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}-{path.name}")


def write_failure(path: Path, error: OSError) -> UserError:
    """The sentence for a file that could not be written, with its remedy."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"Cannot write {path}: the disk is full. Free some space and run the same command again.")
    reason = error.strerror or str(error)
    return UserError(f"Cannot write {path}: {reason}. Choose a folder you may write to, or change its permissions.")


def refuse_second_writer(path: Path) -> None:
    """Check that nobody else is writing `path` by `whole_file` or `whole_folder`: the last one would win.

    Raises:
        UserError: somebody is.
    """
    if any(map(_is_held, _temporaries(path))):
        raise UserError(f"Another process is writing {path}. Wait for it, or choose another name.")


def refuse_undecodable(path: Path) -> None:
    """Check that a name is text: Arrow and TensorBoard open files by text.

    Raises:
        UserError: it has bytes that are none.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"Cannot write {str(path)!r}: its name is no UTF-8. Give it, or its folder, another name."
        ) from error


def remove_leftovers(folder: Path) -> int:
    """Delete temporary files that a killed process left in `folder`; returns how many there were."""
    stale = [entry for entry in folder.glob(f"{_TEMPORARY}*") if entry.is_file()]
    for entry in stale:
        entry.unlink(missing_ok=True)
    return len(stale)


def remove_unfinished(*paths: Path) -> None:
    """Delete what killed processes left of these files or folders beside them; their writer must be this one alone."""
    for path in paths:
        for entry in _temporaries(path):
            _remove(entry)


def _temporaries(path: Path) -> Iterator[Path]:
    """What stands under temporary names of `path`."""
    return path.parent.glob(f"{_TEMPORARY}????????-{glob.escape(path.name)}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one process, making it where it is missing, and remove what a killed one left there.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise write_failure(folder, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(f"Another process is working on {folder}. Wait for it, or stop it first.") from None
    except OSError as error:  # such as a network file system without locks
        os.close(handle)
        raise write_failure(folder, error) from error
    try:
        remove_leftovers(folder)
        yield
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN and infinities become null, as JSON has neither.

    Bytes of file names that are no text become escapes, from which they are read again.
    """
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: it is missing, unreadable or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, no JSON, or an endless number
        raise UserError(
            f"Cannot read {path} as JSON: {error}. Restore the file, or remove it to start over."
        ) from error


def sha256_file(*paths: Path) -> str:
    """The SHA-256 of a file's bytes, or of several files' one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def root_hint(root: Path, manifest: Path) -> str:
    """The root relative to the manifest where both are below the working folder, so that they move together."""
    if is_url(root):
        return as_url(root)
    here, root = Path.cwd(), root.resolve()
    folder = manifest.parent.resolve()
    if root.is_relative_to(here) and folder.is_relative_to(here):
        return os.path.relpath(root, folder)
    return str(root)


def hint_seen_from(hint: str, folder: Path, before: Path) -> str:
    """A hint that was relative to the folder `before`, for a manifest in `folder`."""
    folder, before = folder.resolve(), before.resolve()
    if not hint or folder == before or Path(hint).is_absolute() or is_url(hint):
        return hint
    return Path(os.path.relpath(before / hint, folder)).as_posix()


def finite(value: Any) -> Any:
    """The same value for JSON, which has neither NaN nor infinities: they become None, inside lists and dicts too."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def _make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"Cannot write {path}: a part of {path.parent} is a file, not a folder. Choose another place."
        ) from error


def _flush(path: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
