"""A manifest is there whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from disks import mounted
from manifest_rows import HEADER, child, contents, everything, rows, sentence, sharded
from noisyfer.core.errors import UserError
from noisyfer.manifest import Manifest, manifest_writer, write_manifest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt(), UserError("A sentence.")])
@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("old", [False, True])
def test_a_failure_while_writing_leaves_what_was_there(
    tmp_path: Path, failure: BaseException, folder: bool, old: bool
) -> None:
    target = tmp_path / "m"
    if old:
        write_manifest(target, HEADER, [rows(3)], folder=folder)
    before = contents(tmp_path)

    def interrupted() -> Iterator[pa.Table]:
        yield rows(5)
        assert any(name.startswith(".tmp-") for name in contents(tmp_path))
        raise failure

    with pytest.raises(type(failure)):
        write_manifest(target, HEADER, interrupted(), folder=folder)
    assert contents(tmp_path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == (["m"] if old else [])


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("file", "rows"),
        ("file", "flush"),
        ("file", "first rename"),
        ("folder", "flush"),
        ("folder", "first rename"),
        ("folder", "second rename"),
    ],
)
def test_a_killed_process_leaves_the_old_manifest_or_nothing(tmp_path: Path, kind: str, moment: str) -> None:
    folder = kind == "folder"
    source = write_manifest(tmp_path / "source.parquet", HEADER, [rows(20)])
    old = write_manifest(tmp_path / "m", HEADER, [rows(9)], folder=folder)
    fresh = None if moment == "second rename" else tmp_path / "fresh"
    before = old.fingerprint
    for target in filter(None, (old.path, fresh if moment == "flush" else None)):
        process = child(source.path, target, kind, moment)
        assert process.stdout is not None
        if moment == "rows":
            assert process.stdout.readline() == b"writing\n"
            process.kill()
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    assert any(entry.name.startswith(".tmp-") for entry in tmp_path.iterdir())
    assert not (tmp_path / "fresh").exists()
    if moment == "second rename":  # the documented gap: nothing under the name, the old folder whole under another
        assert not old.path.exists()
        aside = [
            entry for entry in tmp_path.iterdir() if entry.name.startswith(".tmp-") and len(list(entry.iterdir())) == 1
        ]
        assert [Manifest.open(entry).fingerprint for entry in aside] == [before]
    else:
        assert Manifest.open(old.path).fingerprint == before
        everything(old.path)
    again = write_manifest(tmp_path / "m", HEADER, source.batches(), folder=folder)
    assert again.read().equals(source.read())


def test_leftovers_in_a_folder_do_not_disturb_its_manifest(tmp_path: Path) -> None:
    opened = sharded(tmp_path / "m")
    (tmp_path / "m" / ".tmp-12345678-part-00009.parquet").write_bytes(b"half")
    (tmp_path / "m" / "notes.txt").write_text("mine")
    again = Manifest.open(tmp_path / "m")
    assert again.read().equals(opened.read())
    again.validate()


def test_a_folder_with_anything_but_shards_is_not_replaced(tmp_path: Path, manifest: Manifest) -> None:
    """Replacing it would delete what a person keeps there, such as a dataset in Parquet."""
    for name in ("notes.txt", ".hidden", "train-00000-of-00001.parquet", "deep/er/file"):
        folder = tmp_path / name[:3]
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("mine")
        text = sentence(folder, lambda folder=folder: write_manifest(folder, HEADER, [rows(2)], folder=True))
        assert f"'{name.split('/')[0]}'" in text
        assert contents(folder) == {name: b"mine"}


def test_a_folder_of_shards_takes_the_place_of_a_manifest_and_of_no_other_file(tmp_path: Path) -> None:
    target = tmp_path / "thesis.docx"
    target.write_bytes(b"PK, and years of work")
    text = sentence(target, lambda: write_manifest(target, HEADER, [rows(2)], folder=True))
    assert "no manifest stands there" in text
    assert contents(tmp_path) == {"thesis.docx": b"PK, and years of work"}
    single = write_manifest(tmp_path / "m", HEADER, [rows(3)])
    assert write_manifest(single.path, HEADER, [rows(2)], folder=True).rows == 2


def test_a_shard_of_no_rows_is_no_choice(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="at least 1"),
        manifest_writer(tmp_path / "m", HEADER, folder=True, shard_rows=0),
    ):
        pass


@cache
def incompressible() -> pa.Table:
    """Some 400 KB of rows that do not compress."""
    table, stream = rows(25_000), np.random.default_rng(0)
    names = pa.array([stream.bytes(16).hex() for _ in range(len(table))])
    return table.set_column(table.column_names.index("image"), "image", names)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 KB, where the system lets us have one."""
    with mounted(tmp_path / "disk", "size=200k") as disk:
        yield disk


@pytest.mark.parametrize("folder", [False, True])
def test_a_disk_that_is_full_is_a_sentence_and_leaves_what_was_there(tiny_disk: Path, folder: bool) -> None:
    target = tiny_disk / "m"
    for old in (False, True):
        if old:
            write_manifest(target, HEADER, [rows(5)], folder=folder)
        before = contents(tiny_disk)
        text = sentence(target, lambda: write_manifest(target, HEADER, [incompressible()], folder=folder))
        assert "the disk is full" in text
        assert contents(tiny_disk) == before
        assert len(list(tiny_disk.iterdir())) == old


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize(
    ("number", "found"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "Read-only file system")]
)
def test_an_answer_of_the_disk_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool, number: int, found: str
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pq.ParquetWriter, "write_table", failing)
    target = tmp_path / "m"
    assert found in sentence(target, lambda: write_manifest(target, HEADER, [rows(5)], folder=folder))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [False, True])
def test_a_place_below_a_file_is_a_sentence(tmp_path: Path, folder: bool) -> None:
    (tmp_path / "file").write_text("x")
    target = tmp_path / "file" / "m"
    assert "not a folder" in sentence(target, lambda: write_manifest(target, HEADER, [rows(5)], folder=folder))
    assert "no manifest" in sentence(target, lambda: Manifest.open(target))
    assert contents(tmp_path) == {"file": b"x"}


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path: Path) -> None:
    opened = sharded(tmp_path / "m")
    assert "it is a folder" in sentence(opened.path, lambda: write_manifest(opened.path, HEADER, [rows(5)]))
    assert Manifest.open(tmp_path / "m").fingerprint == opened.fingerprint
