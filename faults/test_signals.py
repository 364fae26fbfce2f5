"""Signals, closed terminals and closed pipes: a command ends in good order, and with the status a shell expects."""

from __future__ import annotations

import os
import pty
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from harness import SECONDS, contents, environment, leftovers, partial, start, told, words
from PIL import Image
from scenes import DIGITS, stage
from steps import Fork, quickly

SLOW_BENCH = ("bench", "--manifest", DIGITS, "--preset", "smoke", "--method", "vgg-all", "--epochs", "2000")
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


ShortOf = Callable[[object, Iterable[object]], None]


def heeding() -> None:
    """Heed all signals, whatever whoever started the tests has told them to ignore."""
    for number in STATUS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_for(happened: Callable[[], object], process: Any) -> None:
    """Wait until something has happened, while the process goes on."""
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def photos(inputs: Path, tmp_path: Path) -> Path:
    """A working folder with the teacher and many pictures that take a while to decode."""
    work = stage(inputs, tmp_path / "photos" / "work", ("raf.ckpt",))
    (work / "pictures").mkdir()
    Image.effect_noise((1200, 1200), 60).convert("RGB").save(work / "pictures" / "000.png", compress_level=1)
    for number in range(1, 400):
        os.link(work / "pictures" / "000.png", work / "pictures" / f"{number:03d}.png")
    return work


RELABEL = ("relabel", "--source", "folder", "--root", "pictures", "--whole", "--model", "raf.ckpt", "--shard-rows", "4")


@pytest.mark.parametrize("number", STATUS, ids=lambda number: number.name)
def test_a_job_that_is_asked_to_stop_finishes_its_shard(
    number: signal.Signals, photos: Path, short_of: ShortOf
) -> None:
    short_of(number, (signal.SIGTERM,))
    process = Fork(photos, [*RELABEL, "--out", "m.parquet", "--batch", "2"], first=heeding)
    wait_for(lambda: list((photos / "m.parquet.parts").glob("part-*.json")), process)
    process.send_signal(number)
    assert process.wait(SECONDS) == STATUS[number], told(photos, "err.txt")
    assert "Stopping: finishing the shard in hand." in told(photos, "err.txt")
    assert "To go on, run the same command again." in told(photos, "err.txt")
    assert not (photos / "m.parquet").exists()
    assert partial(photos) == []
    assert 0 < len(list((photos / "m.parquet.parts").glob("part-*.json"))) < 100


def test_a_job_that_is_told_twice_stops_at_once(photos: Path) -> None:
    process = Fork(photos, [*RELABEL, "--out", "m.parquet", "--batch", "2"], first=heeding)
    wait_for(lambda: list((photos / "m.parquet.parts").glob("part-*.json")), process)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: "Stopping" in told(photos, "err.txt"), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 130, told(photos, "err.txt")
    assert "Traceback" not in told(photos, "err.txt")
    assert partial(photos) == []


@pytest.mark.parametrize("number", STATUS, ids=lambda number: number.name)
def test_a_run_that_is_told_to_stop_goes_on_later(
    number: signal.Signals, inputs: Path, tmp_path: Path, short_of: ShortOf
) -> None:
    short_of(number, (signal.SIGTERM, signal.SIGINT))
    work = stage(inputs, tmp_path / "bench" / "work", ("data_manifests",))
    process = start(work, *SLOW_BENCH, first=heeding)  # a whole process: its last breath counts
    wait_for(lambda: list(work.glob("runs/*/checkpoint.pt")), process)
    process.send_signal(number)
    assert process.wait(SECONDS) == STATUS[number], told(work, "err.txt")
    assert told(work, "err.txt").endswith("To go on, run the same command again.\n")
    assert "Traceback" not in told(work, "err.txt")
    assert partial(work) == []
    assert leftovers(work) == []


def test_what_is_told_to_ignore_a_hangup_ignores_it(inputs: Path, tmp_path: Path) -> None:
    """As `nohup` does."""

    def ignoring() -> None:
        heeding()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    work = stage(inputs, tmp_path / "bench" / "work", ("data_manifests",))
    process = Fork(work, SLOW_BENCH, first=ignoring)
    wait_for(lambda: list(work.glob("runs/*/checkpoint.pt")), process)
    process.send_signal(signal.SIGHUP)
    seen = len(next(work.glob("runs/*/metrics.jsonl")).read_text().splitlines())
    wait_for(lambda: len(next(work.glob("runs/*/metrics.jsonl")).read_text().splitlines()) > seen, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 143


def test_a_closed_terminal_ends_a_run_that_goes_on_later(inputs: Path, tmp_path: Path) -> None:
    work = stage(inputs, tmp_path / "bench" / "work", ("data_manifests",))
    child, terminal = pty.fork()
    if not child:
        heeding()
        os.chdir(work)
        command = words(*SLOW_BENCH)
        os.execve(command[0], command, environment(TERM="xterm"))
    deadline = time.monotonic() + SECONDS
    while not list(work.glob("runs/*/checkpoint.pt")):
        os.read(terminal, 65_536)
        assert time.monotonic() < deadline
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert partial(work) == []
    assert leftovers(work) == []


@pytest.mark.parametrize(
    "line",
    [
        ("show", DIGITS),
        ("methods",),
        ("make-cifar", "--data", "digits", "--out", "made.parquet"),
        ("bench", "--manifest", DIGITS, "--preset", "smoke", "--method", "vgg-all", "--set", "train_images=64"),
    ],
    ids=lambda line: line[0],
)
def test_a_closed_pipe_is_no_traceback_and_loses_nothing(line: tuple[str, ...], inputs: Path, tmp_path: Path) -> None:
    """As with `| head`, at its worst: the reader is gone before the first line."""
    work = stage(inputs, tmp_path / "pipe" / "work", ("data_manifests",))
    reader, writer = os.pipe()
    os.close(reader)
    process = start(work, *line, stdout=writer)
    os.close(writer)
    code = process.wait(SECONDS)
    assert told(work, "err.txt") == ""
    assert code in (0, 1)
    assert partial(work) == []
    assert leftovers(work) == []
    if line[0] in ("make-cifar", "bench"):
        again = quickly(work, *line)
        assert again.code == 0, again.told
        assert contents(work)
