"""Pickles, archives and networks that attack: nothing is executed, nothing written outside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attacks
import numpy as np
from confined import Case, Judge, check, confined, told

SECONDS = 30
MEBIBYTES = 1024
SCRATCH = "canary"


def setting(folder: Path) -> Path:
    """The canary's place, and the files that some attacks want to be run from."""
    canary = folder / SCRATCH
    code = attacks.CODE.format(canary=str(canary))
    canary.with_name("canary.py").write_text(code)
    canary.with_name("canary_module.py").write_text(code)
    import torch

    np.save(canary.with_name("canary.npy"), attacks.objects(attacks.Call(exec, code)), allow_pickle=True)
    torch.save(attacks.Call(exec, code), canary.with_name("canary.pt"))
    return canary


def sung(canary: Path) -> bool:
    """Whether the canary is there; it is taken away."""
    if not canary.is_symlink() and not canary.exists():
        return False
    canary.rmdir() if canary.is_dir() and not canary.is_symlink() else canary.unlink()
    return True


def readers(folder: Path) -> dict[str, Callable[[Path], object]]:
    """Every way on which a pickle of somebody else gets into the product."""
    import torch
    from noisyfer.images.batches import python_batch
    from noisyfer.images.cifar import open_cifar10
    from noisyfer.images.pictures import PictureReader
    from noisyfer.relabel.importing.base import ReadOptions
    from noisyfer.relabel.importing.cifar_n import CifarN
    from noisyfer.relabel.teachers import load_teacher
    from noisyfer.training.folder import RunFolder
    from noisyfer.training.weights import read_weights

    def cifar(file: Path) -> object:
        return python_batch(file.read_bytes(), "a batch")

    def packed(file: Path) -> object:
        with PictureReader(file.parent) as reader:
            return reader.fetch([f"{file.name}#0"])

    def dataset(file: Path) -> object:
        batches = folder / "cifar-10-batches-py"
        batches.mkdir(exist_ok=True)
        for name in ("batches.meta", "test_batch", *(f"data_batch_{number}" for number in range(1, 6))):
            (batches / name).write_bytes(file.read_bytes())
        return open_cifar10(batches).labels("train")

    def run(file: Path) -> object:
        made = folder / "run"
        made.mkdir(exist_ok=True)
        (made / "checkpoint.pt").write_bytes(file.read_bytes())
        return RunFolder(made).load(torch.device("cpu"))

    return {
        "CIFAR batch": cifar,
        "packed file": packed,
        "CIFAR folder": dataset,
        "CIFAR-N": lambda file: list(CifarN().read(file, ReadOptions())),
        "weights": read_weights,
        "teacher": lambda file: load_teacher(str(file)),
        "run": run,
    }


def judge(folder: Path) -> Judge:
    """Give an attack to every reader."""
    from noisyfer.core.errors import UserError

    canary = setting(folder)
    every = attacks.pickles(str(canary))
    files = readers(folder)
    file = folder / "file"
    file.write_bytes(attacks.torch_zip(b"\x80\x02}."))
    for read in files.values():  # everything that they import, before the audit hook and the bounds
        with contextlib.suppress(UserError):
            read(file)

    def decide(case: Case) -> str:
        wrapping, name, seed = case
        data = bytearray(attacks.WRAPPINGS[wrapping](every[name]))
        if seed:
            rng = np.random.default_rng([seed, len(data)])
            for _ in range(int(rng.integers(1, 6)) if data else 0):
                data[int(rng.integers(len(data)))] = int(rng.integers(256))
        file.write_bytes(data)
        refusals = 0
        for label, read in files.items():
            try:
                read(file)
            except UserError as error:
                told(error)
                refusals += 1
            assert not sung(canary), label
        return f"refused by {refusals} of {len(files)}"

    return decide


def unguarded(folder: Path) -> Judge:
    """Run an attack, to see that it is one."""
    canary = setting(folder)
    every = attacks.pickles(str(canary))
    import os
    import sys

    os.chdir(folder)
    sys.path.insert(0, str(folder))

    def decide(case: Case) -> str:
        with contextlib.suppress(Exception):
            attacks.alive(every[case[0]])
        return "its canary sang" if sung(canary) else "nothing"

    return decide


def names() -> list[str]:
    return list(attacks.pickles("/nowhere/canary"))


def test_nothing_in_a_pickle_is_executed(mutations: int, tmp_path: Path) -> None:
    cases: list[Case] = [[wrapping, name, 0] for wrapping in attacks.WRAPPINGS for name in names()]
    rng = np.random.default_rng(11)
    for seed in range(1, mutations * 4 + 1):
        wrapping, name = (str(rng.choice(list(group))) for group in (attacks.WRAPPINGS, names()))
        cases.append([wrapping, name, seed])
    endings = confined("test_pickles:judge", cases, tmp_path / "inside", seconds=SECONDS, mebibytes=MEBIBYTES)
    check(endings, "pickles", len(cases))
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_the_attacks_do_harm_where_they_are_run(tmp_path: Path) -> None:
    """Without this a corpus that had gone stale would pass unnoticed."""
    harmful = [name for name in names() if ", protocol" in name or name in ("INST", "OBJ", "GLOBAL", "import alone")]
    endings = confined(
        "test_pickles:unguarded", [[name] for name in harmful], tmp_path / "inside", seconds=20, mebibytes=1024
    )
    harmless = [ending.case[0] for ending in endings if ending.what == "nothing"]
    assert harmless == []


def archives(folder: Path) -> dict[str, Any]:
    """Tar archives that would write elsewhere or take too much, by what is in them."""
    import tarfile

    def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0, **pax: str) -> tarfile.TarInfo:
        made = tarfile.TarInfo(name)
        made.type, made.linkname, made.size, made.pax_headers = kind, link, size, pax
        return made

    names = ("../data_batch_1", "/tmp/data_batch_1", "a/../../data_batch_1", "..\\data_batch_1", "C:/data_batch_1", "")
    made: dict[str, Any] = {f"name {name!r}": [(entry(name, size=1), b"x")] for name in names}
    for label, kind in (("link", tarfile.SYMTYPE), ("hard link", tarfile.LNKTYPE)):
        for target in ("/etc/passwd", "../../outside", "data_batch_1", "."):
            made[f"{label} to {target}"] = [(entry("data_batch_1", kind, target), b"")]
    for label, kind in (("device", tarfile.CHRTYPE), ("disk", tarfile.BLKTYPE), ("pipe", tarfile.FIFOTYPE)):
        made[label] = [(entry("data_batch_1", kind), b"")]
    made["folder of a file's name"] = [(entry("data_batch_1", tarfile.DIRTYPE), b"")]
    made["long name"] = [(entry("a/" * 40_000 + "data_batch_1", size=1), b"x")]
    made["lying size"] = [(entry("data_batch_1", size=2**40), b"")]
    made["extended size"] = [(entry("data_batch_1", size=1, size_="x"), b"x")]
    made["extended path"] = [(entry("data_batch_1", size=1, path="../../outside"), b"x")]
    made["large extended header"] = [(entry("data_batch_1", size=1, comment="x" * 50_000_000), b"x")]
    made["sparse"] = [(entry("data_batch_1", tarfile.GNUTYPE_SPARSE, size=512), bytes(512))]
    return made


def tar_judge(folder: Path) -> Judge:
    """Read a hostile archive as CIFAR-10 and as a dataset's root."""
    import gzip
    import io
    import tarfile

    from noisyfer.core.errors import UserError
    from noisyfer.images.cifar import open_cifar10
    from noisyfer.images.pictures import PictureReader

    every = archives(folder)
    (folder / "outside").write_text("secret")

    def written(name: str, seed: int) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for entry, content in every[name]:
                archive.addfile(entry, io.BytesIO(content.ljust(min(entry.size, 512), b"\0")) if content else None)
        data = bytearray(stream.getvalue())
        rng = np.random.default_rng(seed)
        for _ in range(int(rng.integers(1, 5)) if seed else 0):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        return bytes(data)

    def decide(case: Case) -> str:
        name, packed, seed = case
        file = folder / "archive.tar"
        data = written(name, seed)
        file.write_bytes(gzip.compress(data, 1) if packed else data)
        before = sorted(folder.rglob("*"))
        refusals = []
        try:
            open_cifar10(file).labels("train")
        except UserError as error:
            refusals.append(told(error))
        try:
            with PictureReader(file) as reader:
                found = reader.fetch(["data_batch_1", "../outside", "outside"])
            assert b"secret" not in found
        except UserError as error:
            refusals.append(told(error))
        assert sorted(folder.rglob("*")) == before
        return f"refused by {len(refusals)} of 2"

    return decide


def test_no_member_of_an_archive_leaves_it(mutations: int, tmp_path: Path) -> None:
    listed = list(archives(tmp_path))
    cases: list[Case] = [[name, packed, 0] for name in listed for packed in (False, True)]
    small = [name for name in listed if name != "large extended header"]
    rng = np.random.default_rng(12)
    cases += [[str(rng.choice(small)), bool(rng.integers(2)), seed] for seed in range(1, mutations * 2 + 1)]
    endings = confined("test_pickles:tar_judge", cases, tmp_path / "inside", seconds=SECONDS, mebibytes=MEBIBYTES)
    check(endings, "archives", len(cases))
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_a_gzip_bomb_is_stopped(tmp_path: Path) -> None:
    endings = confined("test_pickles:bomb_judge", [["bomb"]], tmp_path / "inside", seconds=60, mebibytes=256)
    check(endings, "gzip bomb", 1)


def bomb_judge(folder: Path) -> Judge:
    """Two gigabytes of zeros in two megabytes, behind the head of a member."""
    import tarfile
    import zlib

    from noisyfer.core.errors import UserError
    from noisyfer.images.cifar import open_cifar10

    def decide(case: Case) -> str:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        entry = tarfile.TarInfo("x")
        entry.size = 2**31
        with (folder / "bomb.tar.gz").open("wb") as stream:
            stream.write(packer.compress(entry.tobuf()))
            for _ in range(2**11):
                stream.write(packer.compress(bytes(2**20)))
            stream.write(packer.flush())
        try:
            open_cifar10(folder / "bomb.tar.gz")
        except UserError as error:
            return f"refused: {error}"
        return "raised nothing"

    return decide


def test_networks_read_no_file_outside_their_folder(mutations: int, tmp_path: Path) -> None:
    from hostile_networks import PLACES

    cases: list[Case] = [[place, 0] for place in PLACES]
    rng = np.random.default_rng(13)
    cases += [[str(rng.choice(PLACES)), seed] for seed in range(1, mutations * 2 + 1)]
    endings = confined("hostile_networks:judge", cases, tmp_path / "inside", seconds=SECONDS, mebibytes=MEBIBYTES)
    check(endings, "ONNX networks", len(cases))
