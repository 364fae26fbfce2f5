"""Files and folders are whole or not there, and JSON comes back as it was."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import sentence
from noisyfer.core import files
from noisyfer.core.errors import UserError
from noisyfer.core.files import (
    read_json,
    remove_leftovers,
    remove_unfinished,
    sha256_file,
    temporary_sibling,
    whole_file,
    whole_folder,
    write_json,
)


def test_a_whole_file_appears_at_the_end_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.txt"
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut could leave an empty file under the final name."""
    flushed: list[int] = []

    def fsync(handle: int) -> None:
        assert not (tmp_path / "file").exists()
        assert not (tmp_path / "folder").exists()
        flushed.append(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    with whole_folder(tmp_path / "folder") as temporary:
        fill(temporary, "x")
        (temporary / "second").touch()
    (tmp_path / "folder").rename(tmp_path / "away")
    inside = [tmp_path / "away" / "inside" / "file", tmp_path / "away" / "second"]
    assert sorted(flushed) == sorted(file.stat().st_ino for file in inside)
    with whole_file(tmp_path / "file") as temporary:
        temporary.touch()
    assert flushed[2:] == [(tmp_path / "file").stat().st_ino]


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt(), UserError("A sentence.")])
def test_a_failure_while_writing_a_file_leaves_the_old_one(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    for whole in (whole_file, whole_folder):
        with pytest.raises(UserError) as error, whole(tmp_path / "big"):
            raise OSError(number, os.strerror(number))
        assert "the disk is full" in sentence(error)
        assert str(tmp_path / "big") in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    for whole in (whole_file, whole_folder):
        for place in ("file/below", "file/below/deep", ".", "..", "/", "folder/..", "x" * 300):
            with pytest.raises(UserError) as error, whole(Path(place)) as temporary:
                temporary.write_text("never")
            assert str(Path(place)) in sentence(error)
    with pytest.raises(UserError, match="it is a folder"), whole_file(tmp_path / "folder"):
        raise AssertionError("a job must not start when its result has no place")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_a_folder_in_which_nothing_can_be_made_is_a_sentence() -> None:
    """Its kernel says that the new file is not found there; it was tried for ever."""
    with pytest.raises(UserError, match=r"/proc/page\.html"), whole_file(Path("/proc/page.html")):
        pass


def test_a_folder_one_may_not_write_to_is_a_sentence(tmp_path: Path) -> None:
    """As root, permission bits do not bind: the system's answer is played."""
    with pytest.raises(UserError) as error, whole_file(tmp_path / "file"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert "Permission denied" in sentence(error)
    assert "permissions" in str(error.value)


def fill(folder: Path, text: str) -> None:
    (folder / "inside").mkdir()
    (folder / "inside" / "file").write_text(text)


def test_a_whole_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    for text in ("first", "second"):
        with whole_folder(path) as temporary:
            fill(temporary, text)
            (temporary / text).touch()
        assert (path / "inside" / "file").read_text() == text
        assert sorted(entry.name for entry in path.iterdir()) == sorted(["inside", text])
        assert list(path.parent.iterdir()) == [path]


def test_a_failure_while_filling_a_folder_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with whole_folder(path) as temporary:
        fill(temporary, "old")

    def refill() -> None:
        with whole_folder(path) as temporary:
            fill(temporary, "new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refill()
    assert (path / "inside" / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    path = tmp_path / "folder"
    with whole_folder(path) as temporary:
        fill(temporary, "old")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if (self / "new").exists():
            raise failure
        return rename(self, target)

    def refill() -> None:
        with whole_folder(path) as temporary:
            (temporary / "new").touch()

    monkeypatch.setattr(files, "_exchanged", lambda *_: False)  # as where the system cannot
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises((UserError, KeyboardInterrupt)):
        refill()
    assert (path / "inside" / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / "file.txt", tmp_path / ".hidden", tmp_path / "x.tmp-1"]
    for path in (*kept, temporary_sibling(tmp_path / "a"), temporary_sibling(tmp_path / "b")):
        path.touch()
    assert remove_leftovers(tmp_path) == 2
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert remove_leftovers(tmp_path / "not there") == 0


WRITE = """
import sys
from pathlib import Path
from noisyfer.core.files import whole_file
with whole_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("theirs")
"""


def test_the_next_writer_removes_what_a_killed_one_left_but_not_what_another_is_writing(tmp_path: Path) -> None:
    left, file = temporary_sibling(tmp_path / "other"), tmp_path / "file"
    left.touch()
    with whole_file(file) as temporary:
        assert not left.exists()
        temporary.write_text("mine")
        subprocess.run([sys.executable, "-c", WRITE, str(file)], check=True)
        assert file.read_text() == "theirs"
    assert file.read_text() == "mine"
    aside = temporary_sibling(tmp_path / "folder")
    aside.mkdir()
    with whole_folder(tmp_path / "folder") as temporary:
        assert aside.exists()  # it may be all that there is
        (temporary / "new").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two names in one step")
def test_a_folder_takes_the_place_of_another_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader finds the old one or the new one at any moment."""
    folder = tmp_path / "folder"
    with whole_folder(folder) as temporary:
        fill(temporary, "old")
    monkeypatch.setattr(Path, "rename", lambda *_: pytest.fail("for a moment there was nothing"))
    with whole_folder(folder) as temporary:
        fill(temporary, "new")
    assert (folder / "inside" / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("aé", max_size=3), inner, max_size=3),
    max_leaves=10,
)


def finite(value: Any) -> Any:
    """What JSON can hold of a value, by the definition."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_json_comes_back_as_it_was_but_nan_and_infinity_become_null(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.json"
        write_json(path, value)
        assert json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail) == finite(value)
        assert read_json(path) == finite(value)


def test_a_json_file_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"näme": [1, 2.5, math.nan, -math.inf], "t": (1, 2)})
    assert read_json(path) == {"näme": [1, 2.5, None, None], "t": [1, 2]}
    assert "näme" in path.read_text(encoding="utf-8")
    with pytest.raises(TypeError):
        write_json(path, {"array": np.zeros(2)})
    assert read_json(path)["t"] == [1, 2]


def test_a_file_name_that_is_no_text_comes_back_from_json(tmp_path: Path) -> None:
    value = {"place": os.fsdecode(b"caf\xe9/\xff")}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000], ids=range(6))
def test_a_file_that_is_no_json_is_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_json(path)
    assert str(path) in sentence(error)


def test_the_hash_of_several_files_is_that_of_their_bytes_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"a" * 3_000_000)
    second.write_bytes(b"b")
    assert sha256_file(first) == hashlib.sha256(b"a" * 3_000_000).hexdigest()
    assert sha256_file(first, second) == hashlib.sha256(b"a" * 3_000_000 + b"b").hexdigest()
    assert sha256_file(second, first) == hashlib.sha256(b"b" + b"a" * 3_000_000).hexdigest()


def test_only_what_is_left_of_these_very_files_is_removed(tmp_path: Path) -> None:
    mine, folder = tmp_path / ".tmp-0123abcd-m.parquet", tmp_path / ".tmp-0123abcd-shards"
    others = [tmp_path / ".tmp-0123abcd-am.parquet", tmp_path / "m.parquet", tmp_path / ".tmp-0123abcd-m.parquet.json"]
    folder.mkdir()
    for file in (mine, folder / "part", *others):
        file.write_text("x")
    remove_unfinished(tmp_path / "m.parquet", tmp_path / "shards")
    assert sorted(tmp_path.iterdir()) == sorted(others)
