"""Two writers on one output, and readers while somebody writes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pytest
from harness import contents
from manifest_rows import HEADER, rows
from noisyfer.benchmark.reviewing.decisions import DecisionFile
from noisyfer.core.errors import UserError
from noisyfer.core.files import locked
from noisyfer.manifest import Manifest, manifest_writer
from scenes import DIGITS, QUICK, stage
from steps import quickly

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*")

SECOND: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[Path], AbstractContextManager[object]]]] = {
    "relabel": (
        ("relabel", "--source", "affectnet", "--model", "raf.ckpt", "--out", "m.parquet"),
        ("datasets", "raf.ckpt"),
        lambda work: locked(work / "m.parquet.parts"),
    ),
    "bench": (
        ("bench", "--manifest", DIGITS, "--preset", "smoke", "--method", "vgg-all"),
        ("data_manifests", "runs"),
        lambda work: locked(next((work / "runs").iterdir())),
    ),
    "pretrain": (
        ("pretrain", "--source", "raf", "--out", "raf.ckpt", "--preset", "smoke"),
        ("data_manifests", "datasets", "raf.ckpt", "raf.ckpt.run"),
        lambda work: locked(work / "raf.ckpt.run"),
    ),
    "make-faces": (("make-faces", "--out", "faces", "--n", "4"), (), lambda work: locked(work / "faces")),
    "review": (
        ("review", DIGITS, "--decisions", "d.csv"),
        ("data_manifests",),
        lambda work: DecisionFile(work / "d.csv"),
    ),
    "make-cifar": (
        ("make-cifar", "--data", "digits", "--out", "m.parquet"),
        (),
        lambda work: manifest_writer(work / "m.parquet", HEADER),
    ),
    "import": (
        ("import", DIGITS, "labels.csv", "--as", "a", "--out", "m.parquet"),
        ("data_manifests", "labels.csv"),
        lambda work: manifest_writer(work / "m.parquet", HEADER),
    ),
}


@pytest.mark.parametrize("name", SECOND)
def test_the_second_writer_is_refused(name: str, inputs: Path, tmp_path: Path) -> None:
    words, needs, first = SECOND[name]
    work = stage(inputs, tmp_path / "second" / "work", needs)
    with first(work):
        before = contents(work) if name in ("bench", "pretrain") else {}
        ended = quickly(work, *words)
        assert ended.is_a_sentence(), ended.told
        assert "nother" in ended.err, ended.told
        assert not before or contents(work) == before


def test_the_second_sweep_is_refused(inputs: Path, tmp_path: Path) -> None:
    work = stage(inputs, tmp_path / "second" / "work", ("data_manifests",))
    words = ("sweep", "--manifest", DIGITS, *QUICK, "--method", "vgg-all", "--epochs", "1")
    assert quickly(work, *words).code == 0
    (folder,) = work.glob("runs/sweep-*")
    queue = (folder / "queue.json").read_bytes()
    with locked(folder):
        ended = quickly(work, *words)
    assert ended.is_a_sentence(), ended.told
    assert (folder / "queue.json").read_bytes() == queue


def write_in_turn(path: Path, folder: bool, seconds: float) -> None:
    """Replace a manifest by another one again and again."""
    until, turn = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        turn += 1
        write(path, folder, turn % 2)


def write(path: Path, folder: bool, which: int) -> None:
    """One of two manifests: of 20 or of 33 rows, with other ids."""
    with manifest_writer(path, HEADER, folder=folder, shard_rows=7) as append:
        append(rows(33, first=1000) if which else rows(20))


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_a_reader_sees_a_whole_old_or_new_table(folder: bool, tmp_path: Path, full: bool) -> None:
    path = tmp_path / "m"
    wanted: list[pa.Table] = []
    for which in (0, 1):
        write(path, folder, which)
        wanted.append(Manifest.open(path).read())
    seconds = 60.0 if full else 6.0
    writer = multiprocessing.get_context("fork").Process(target=write_in_turn, args=(path, folder, seconds))
    writer.start()
    seen, refused = [0, 0], 0
    while writer.is_alive():
        try:
            found = Manifest.open(path).read()
        except UserError as error:
            assert "was replaced while it was read" in str(error)
            refused += 1
            continue
        which = [found.equals(table) for table in wanted]
        assert any(which), f"a table of {len(found)} rows that nobody wrote"
        seen[which.index(True)] += 1
    writer.join()
    assert writer.exitcode == 0
    assert min(seen) > 0
    assert folder or not refused
    print(f"old {seen[0]}, new {seen[1]}, told that it was replaced {refused}")
