"""The same rows give the same bytes, and the fingerprint is the hash of these."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from manifest_rows import HEADER, child, rows, sharded
from noisyfer.manifest import Manifest, manifest_writer, write_manifest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


def test_the_same_rows_give_the_same_bytes_however_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noisyfer.core.manifest_writer._GROUP_ROWS", 64)

    def fingerprint(name: str, cuts: list[int], **kwargs: Any) -> str:
        with manifest_writer(tmp_path / name, HEADER, **kwargs) as write:
            for start, end in pairwise([0, *cuts, 400]):
                write(rows(end - start, start))
        return Manifest.open(tmp_path / name).fingerprint

    cuts: tuple[list[int], ...] = ([], [1, 2, 3], [64], [0, 200], list(range(1, 90)))
    assert len({fingerprint("file", cut) for cut in cuts}) == 1
    assert len({fingerprint("folder", cut, folder=True, shard_rows=123) for cut in cuts}) == 1
    assert fingerprint("file", []) != fingerprint("folder", [], folder=True, shard_rows=123)


def test_a_dictionary_of_other_words_or_order_gives_the_same_bytes(tmp_path: Path) -> None:
    plain, frame = rows(9), rows(9).to_pandas(types_mapper={pa.int16(): pd.Int16Dtype()}.get)
    frame["split"] = pd.Categorical(frame["split"], categories=["val", "unused", "train", "test"])
    encoded = pa.Table.from_pandas(frame)
    first = write_manifest(tmp_path / "a", HEADER, [plain]).fingerprint
    assert write_manifest(tmp_path / "b", HEADER, [encoded]).fingerprint == first


def test_rows_go_to_row_groups_of_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand tiny row groups would make a file that is slow to read."""
    monkeypatch.setattr("noisyfer.core.manifest_writer._GROUP_ROWS", 64)

    def groups(file: Path) -> list[int]:
        footer = pq.read_metadata(file)
        return [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]

    written = write_manifest(tmp_path / "m", HEADER, (rows(5, 5 * number) for number in range(30)))
    assert groups(written.path) == [64, 64, 22]
    with manifest_writer(tmp_path / "n", HEADER, folder=True, shard_rows=100) as write:
        for number in range(50):
            write(rows(5, 5 * number))
    assert [groups(file) for file in Manifest.open(tmp_path / "n").files] == [[64, 36], [64, 36], [50]]


def test_the_fingerprint_is_what_sha256sum_prints(tmp_path: Path, manifest: Manifest) -> None:
    assert manifest.fingerprint == hashlib.sha256(manifest.path.read_bytes()).hexdigest()
    folder = sharded(tmp_path / "shards")
    assert len(folder.files) == 3
    joined = b"".join(file.read_bytes() for file in sorted((tmp_path / "shards").iterdir()))
    assert folder.fingerprint == hashlib.sha256(joined).hexdigest()
    assert folder.select(["test"]).fingerprint == folder.fingerprint


def test_another_process_writes_the_same_bytes(manifest: Manifest, tmp_path: Path) -> None:
    process = child(manifest.path, tmp_path / "copy.parquet", "file", "never")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "copy.parquet").read_bytes() == manifest.path.read_bytes()
