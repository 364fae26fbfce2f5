"""Every byte flipped once, and every length: a damaged shard, sidecar, checkpoint or teacher is never silently used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from harness import contents
from noisyfer.core.errors import UserError
from noisyfer.core.store import DiskStore
from noisyfer.images import parquet
from noisyfer.manifest import Manifest
from noisyfer.relabel.shards import ShardFolder, Sidecar
from noisyfer.training.folder import RunFolder
from noisyfer.training.weights import read_header, read_weights, write_weights
from scenes import SCENES, stage
from steps import forked, quickly

PARTS = "m.parquet.parts"
FACTS: dict[str, Any] = {
    "statuses": {"ok": 7, "no_face": 1},
    "failures": (("id1", "no_face", ""),),
    "clipped": {"a": 2},
}


def damaged(whole: bytes, stride: int = 1) -> Iterator[tuple[str, bytes]]:
    """A file with one byte flipped, for every byte; and cut at every length. With a stride only every so manieth."""
    stream = np.random.default_rng(3)
    for place in range(0, len(whole), stride):
        flipped = bytearray(whole)
        flipped[place] ^= int(stream.integers(1, 256))
        yield f"byte {place} of {len(whole)} flipped", bytes(flipped)
    for length in range(0, len(whole), stride):
        yield f"cut at {length} of {len(whole)}", whole[:length]


def each_damage(file: Path, judge: Callable[[str], None], stride: int = 1) -> int:
    """Damage a file in every way, have each judged, and put it back; returns how many ways."""
    whole, count = file.read_bytes(), 0
    for what, data in damaged(whole, stride):
        file.write_bytes(data)
        judge(what)
        count += 1
    file.write_bytes(whole)
    return count


@pytest.fixture
def shard(tmp_path: Path) -> tuple[ShardFolder, Sidecar]:
    """A job's folder with one finished shard and its faces."""
    folder = ShardFolder(DiskStore(tmp_path / PARTS), DiskStore(tmp_path / "faces"))
    folder.start({"noisyfer": "0", "batch": 4}, "fingerprint")
    rows, faces = pa.table({"id": [f"id{row}" for row in range(8)]}), pa.table({"image": [b"png"] * 8})
    return folder, folder.write(0, rows, faces, FACTS)


@pytest.mark.parametrize("name", ["part-000000.parquet", "part-000000.json", "faces"])
def test_a_damaged_shard_or_sidecar_is_made_again(
    name: str, shard: tuple[ShardFolder, Sidecar], tmp_path: Path
) -> None:
    folder, sidecar = shard
    assert folder.finished() == {0: sidecar}
    file = tmp_path / PARTS / name if name != "faces" else tmp_path / "faces" / "part-000000.parquet"

    def judge(what: str) -> None:
        # an empty dictionary: the shard counts as missing; the same content, by another space between its words: whole
        assert folder.finished() in ({}, {0: sidecar} if name.endswith(".json") else {}), what

    assert each_damage(file, judge) > 500
    assert folder.finished() == {0: sidecar}


def test_a_damaged_configuration_of_a_job_is_a_sentence(shard: tuple[ShardFolder, Sidecar], tmp_path: Path) -> None:
    folder, _ = shard

    def judge(what: str) -> None:
        try:
            folder.start({"noisyfer": "0", "batch": 4}, "fingerprint")
        except UserError as error:
            assert PARTS in str(error), what
        else:  # nothing but the room between words can have changed
            text = (tmp_path / PARTS / "job.json").read_bytes()
            assert b"".join(text.split()) == b'{"noisyfer":"0","batch":4}', what

    assert each_damage(tmp_path / PARTS / "job.json", judge) > 50


def test_a_damaged_shard_is_redone_by_the_same_command(inputs: Path, tmp_path: Path) -> None:
    """The source is at hand: after a kill one shard is spoilt, and the table is the uninterrupted one."""
    scene = next(scene for scene in SCENES if scene.name == "relabel")
    whole = stage(inputs, tmp_path / "whole" / "work", scene.needs)
    code, steps = forked(whole, scene.words)
    assert code == 0
    work = stage(inputs, tmp_path / "cut" / "work", scene.needs)
    assert forked(work, scene.words, die_at=3 * steps // 4)[0] == -9
    (parts,) = work.rglob("*.parts")
    first = parts / "part-000000.parquet"
    spoilt = bytearray(first.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    first.write_bytes(spoilt)
    (parts / "part-000001.json").unlink()
    assert quickly(work, *scene.words).code == 0
    assert contents(work) == contents(whole)


def state() -> dict[str, Any]:
    """A method's state in small: tensors of several kinds, and plain numbers."""
    stream = torch.Generator().manual_seed(0)
    return {
        "networks": {"encoder": {"weight": torch.randn(4, 4, generator=stream), "steps": torch.tensor(3)}},
        "optimizer": {"lr": 0.5, "moments": [torch.ones(3, dtype=torch.bfloat16)]},
    }


def same(one: Any, other: Any) -> bool:
    """Whether nested tensors and numbers are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, full: bool) -> None:
    folder, wanted = RunFolder(tmp_path), state()
    folder.save(1, wanted, [{"epoch": 1}])
    used: list[str] = []

    def judge(what: str) -> None:
        try:
            epoch, found, rows = folder.load(torch.device("cpu")) or (0, {}, [])
        except UserError as error:
            assert "--again" in str(error), what
            return
        assert (epoch, rows) == (1, [{"epoch": 1}]), what
        assert same(found, wanted), f"{what}: silently used"
        used.append(what)

    ways = each_damage(folder.checkpoint, judge, 1 if full else 5)
    # bytes that say nothing, such as padding and dates of the archive, may differ
    print(f"{ways - len(used)} of {ways} damages refused, in the others every tensor is as it was")
    assert len(used) < ways / 2


def test_a_damaged_teacher_is_refused(tmp_path: Path, full: bool) -> None:
    file, tensors = tmp_path / "t.ckpt", {"a": torch.randn(6, 6), "b": torch.arange(4)}
    header = {"teacher": 1, "size": 32}
    write_weights(file, tensors, header)
    used: list[str] = []

    def judge(what: str) -> None:
        try:
            found, told = read_weights(file), read_header(file)
        except UserError:
            return
        if told is not None:  # without a header it is no teacher of ours, which is refused later
            # a damaged name of the digest leaves the file without one, and its name among the others
            assert {name: told.get(name) for name in header} == header, what
            assert same(dict(sorted(found.items())), tensors), f"{what}: silently used"
            used.append(what)

    ways = each_damage(file, judge, 1 if full else 2)
    print(f"{ways - len(used)} of {ways} damages refused")


def test_a_damaged_manifest_is_a_sentence_or_has_the_rows_it_had(inputs: Path, tmp_path: Path, full: bool) -> None:
    """Pages of rows carry sums and the metadata a digest; what else is in a footer contradicts the rest of the file."""
    file = tmp_path / "m.parquet"
    shutil.copy(inputs / "data_manifests" / "raf.parquet", file)
    wanted, header = Manifest.open(file).read(), Manifest.open(file).header
    used: list[str] = []

    def judge(what: str) -> None:
        try:
            opened = Manifest.open(file)
            found = opened.read()
            opened.validate()
        except UserError as error:
            assert str(file) in str(error), what
            return
        assert found.equals(wanted), f"{what}: silently used"
        assert opened.header == header, f"{what}: silently used"
        used.append(what)

    ways = each_damage(file, judge, 1 if full else 40)
    print(f"{ways - len(used)} of {ways} damages refused")


def test_a_damaged_parquet_file_of_a_dataset_is_a_sentence_or_is_read(tmp_path: Path, full: bool) -> None:
    """Datasets' own files carry no sums: a picture may have changed, but nothing else than a sentence is told."""
    file = tmp_path / "data.parquet"
    names = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    column = pa.array([{"bytes": bytes(range(row, row + 20)), "path": None} for row in range(8)])
    table = pa.table({"image": column, "label": [0, 1] * 4})
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(names)}), file, row_group_size=4, compression="none"
    )
    read: list[str] = []

    def judge(what: str) -> None:
        try:
            parquet.class_names(file, str(file))
            parquet.read_labels(file, str(file))
            with closing(parquet.PictureColumn(file, str(file), file.name)) as pictures:
                pictures.fetch(range(8))
        except UserError as error:
            assert str(file) in str(error), what
            return
        read.append(what)

    ways = each_damage(file, judge, 1 if full else 7)
    print(f"{ways - len(read)} of {ways} damages refused")
