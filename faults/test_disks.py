"""Disks that are full or cannot be written, permissions, file handles, memory: a sentence, and the command goes on."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import leftovers, partial, run
from scenes import DIGITS, QUICK, stage
from steps import quickly

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*")


ShortOf = Callable[[object, Iterable[object]], None]


@dataclass(frozen=True)
class Writer:
    """A command that writes below `disk/`, and a size of disk that is too small for it."""

    name: str
    words: tuple[str, ...]
    needs: tuple[str, ...]
    too_small: str


WRITERS = (
    Writer("make-cifar", ("make-cifar", "--data", "digits", "--out", "disk/m.parquet"), (), "16k"),
    Writer("import", ("import", DIGITS, "labels.csv", "--as", "a", "--out", "disk/m.parquet"),
           ("data_manifests", "labels.csv"), "16k"),
    Writer("review", ("review", DIGITS, "--apply", "decisions.csv", "--out", "disk/m.parquet"),
           ("data_manifests", "decisions.csv"), "16k"),
    Writer("report", ("report", "runs", "--out", "disk/report.html"), ("data_manifests", "runs"), "32k"),
    Writer("relabel", ("relabel", "--source", "affectnet", "--model", "raf.ckpt", "--out", "disk/m.parquet",
                       "--save-faces", "--shard-rows", "10"), ("datasets", "raf.ckpt"), "128k"),
    Writer("bench", ("bench", "--manifest", DIGITS, *QUICK, "--method", "vgg-all", "--out", "disk/runs"),
           ("data_manifests",), "500k"),
    Writer("sweep", ("sweep", "--manifest", DIGITS, *QUICK, "--method", "vgg-all", "--out", "disk/runs"),
           ("data_manifests",), "500k"),
    Writer("make-faces", ("make-faces", "--n", "10", "--out", "disk/faces"), (), "100k"),
    Writer("pretrain", ("pretrain", "--source", "raf", "--preset", "smoke", "--out", "disk/t.ckpt"),
           ("datasets",), "500k"),
)  # fmt: skip
SINGLE_PROCESS = [writer for writer in WRITERS if writer.name not in ("sweep", "make-faces", "pretrain")]
named = pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)


def remount(disk: Path, options: str) -> None:
    """Change a mounted disk."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def beside(work: Path, disk: Path) -> None:
    """Make the disk the folder `disk` of a working folder."""
    (work / "disk").symlink_to(disk, target_is_directory=True)


@named
def test_a_full_disk_is_a_sentence_and_with_room_the_command_goes_on(
    writer: Writer, inputs: Path, tmp_path: Path, small_disk: Callable[[str], Path], short_of: ShortOf
) -> None:
    short_of(writer.name, ("make-cifar", "import", "review", "relabel", "bench", "report"))
    disk = small_disk(f"size={writer.too_small}")
    work = stage(inputs, tmp_path / "full" / "work", writer.needs)
    beside(work, disk)
    ended = quickly(work, *writer.words)
    told = ended.out + ended.err
    assert ended.code == 1, ended.told
    assert "the disk is full. Free some space and run the same command again." in " ".join(told.split()), ended.told
    assert "Traceback" not in told
    assert partial(disk) == []
    assert [name for name in leftovers(disk) if not name.endswith(".parts")] == []
    remount(disk, "size=50m")
    again = quickly(work, *writer.words)
    assert again.code == 0, again.told
    assert leftovers(disk) == []


@named
def test_a_disk_that_cannot_be_written_is_a_sentence(
    writer: Writer, inputs: Path, tmp_path: Path, small_disk: Callable[[str], Path], short_of: ShortOf
) -> None:
    short_of(writer.name, ("make-cifar", "relabel", "bench", "report"))
    disk = small_disk("size=50m")
    remount(disk, "ro")
    work = stage(inputs, tmp_path / "read-only" / "work", writer.needs)
    beside(work, disk)
    ended = quickly(work, *writer.words)
    assert ended.code == 1, ended.told
    assert "Read-only file system" in ended.out + ended.err, ended.told
    assert "Traceback" not in ended.err
    assert list(disk.iterdir()) == []


@pytest.fixture
def nobody() -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder that everybody may enter, and a function that makes a process one that may not write there."""
    import noisyfer

    read = [*Path(os.__file__).parents, *Path(pytest.__file__).parents, *Path(str(noisyfer.__file__)).parents]
    if os.getuid() == 0 and any(folder.stat().st_mode & 0o005 != 0o005 for folder in read):
        pytest.skip("here no other user may read this Python or this package, and root is refused nothing")
    place = Path(tempfile.mkdtemp(prefix="faults-"))
    place.chmod(0o755)

    def become() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

    yield place, become
    for folder in place.rglob("*"):
        if folder.is_dir():
            folder.chmod(0o755)
    shutil.rmtree(place)


@pytest.mark.parametrize("writer", SINGLE_PROCESS, ids=lambda writer: writer.name)
def test_a_folder_one_may_not_write_to_is_a_sentence(
    writer: Writer, inputs: Path, nobody: tuple[Path, Callable[[], None]], short_of: ShortOf
) -> None:
    short_of(writer.name, ("import", "bench"))
    place, become = nobody
    work = place / "stage" / "work"
    work.mkdir(parents=True)
    for name in writer.needs:
        copy = shutil.copytree if (inputs / name).is_dir() else shutil.copy
        copy(inputs / name, work / name)
    (work / "disk").mkdir(mode=0o555)
    ended = quickly(work, *writer.words, first=become)
    assert ended.code == 1, ended.told
    assert "Permission denied" in ended.out + ended.err, ended.told
    assert "Traceback" not in ended.err
    assert list((work / "disk").iterdir()) == []
    (work / "disk").chmod(0o777)
    again = quickly(work, *writer.words, first=become)
    assert again.code == 0, again.told


@pytest.mark.parametrize("spare", [1, 3, 6, 12])
@pytest.mark.parametrize("writer", SINGLE_PROCESS, ids=lambda writer: writer.name)
def test_too_few_file_handles_are_a_sentence(
    writer: Writer, spare: int, inputs: Path, tmp_path: Path, short_of: ShortOf
) -> None:
    short_of((writer.name, spare), (("make-cifar", 1), ("relabel", 6), ("bench", 3)))
    work = stage(inputs, tmp_path / "handles" / "work", writer.needs)
    (work / "disk").mkdir()

    def scarce() -> None:
        most = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir()) + 1 + spare
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    ended = quickly(work, *writer.words, first=scarce)
    if ended.code:
        assert ended.is_a_sentence(), ended.told
        assert "oo many" in ended.err, ended.told
    assert partial(work) == []
    again = quickly(work, *writer.words) if ended.code else ended
    assert again.code == 0, again.told
    assert leftovers(work) == []


GIGABYTE = 2**30


def limited(most: float) -> Callable[[], None]:
    """Give a process so many bytes of private memory that it can write to: heap, arrays, stacks of threads.

    Not of address space (`RLIMIT_AS`): torch reserves gigabytes of that which it never touches.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (int(most), int(most)))

    return limit


@pytest.mark.parametrize("writer", SINGLE_PROCESS, ids=lambda writer: writer.name)
def test_a_gigabyte_and_a_half_is_enough(writer: Writer, inputs: Path, tmp_path: Path, short_of: ShortOf) -> None:
    short_of(writer.name, ("bench",))
    work = stage(inputs, tmp_path / "memory" / "work", writer.needs)
    (work / "disk").mkdir()
    ended = run(work, *writer.words, first=limited(1.5 * GIGABYTE))
    assert ended.code == 0, ended.told


@pytest.mark.parametrize("settings", [("batch_size=1000", "image_size=128", "width=1"), ("width=4", "hidden=100000")])
def test_more_memory_than_there_is_is_a_sentence(settings: tuple[str, ...], inputs: Path, tmp_path: Path) -> None:
    work = stage(inputs, tmp_path / "memory" / "work", ("data_manifests",))
    more = [word for setting in settings for word in ("--set", setting)]
    line = ("bench", "--manifest", DIGITS, "--preset", "smoke", "--method", "vgg-all", "--epochs", "1", *more)
    ended = run(work, *line, "--set", "train_images=1000", first=limited(1.5 * GIGABYTE))
    assert ended.is_a_sentence(), ended.told
    assert "memory" in ended.err
    assert partial(work) == []
