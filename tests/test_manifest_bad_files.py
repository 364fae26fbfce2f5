"""Files that are no manifest, or a damaged one, get a sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from manifest_rows import CLEAN, HEADER, everything, rows, sentence, sharded, with_column, with_metadata
from noisyfer.core.errors import UserError
from noisyfer.core.schema import METADATA_KEY
from noisyfer.manifest import Manifest, ManifestError, write_manifest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


def changed(**parts: Any) -> bytes:
    return json.dumps(json.loads(HEADER.to_json()) | parts).encode()


def no_file(path: Path) -> None:
    assert not path.exists()


def text_file(path: Path) -> None:
    path.write_text("id,split\n1,train\n")


def not_quite_parquet(path: Path) -> None:
    path.write_bytes(b"PAR1 and some more PAR1")


def foreign_parquet(path: Path) -> None:
    with_metadata(rows(5), None, path)


def header_alone(path: Path) -> None:
    with_metadata(pa.table({"x": [1]}), {METADATA_KEY: HEADER.to_json().encode()}, path)


def metadata(text: bytes) -> Callable[[Path], object]:
    return lambda path: with_metadata(rows(5), {METADATA_KEY: text}, path)


def without(column: str) -> Callable[[Path], object]:
    return lambda path: with_metadata(rows(5).drop_columns([column]), {METADATA_KEY: HEADER.to_json().encode()}, path)


def twice(path: Path) -> None:
    with_metadata(rows(5).append_column("id", rows(5)["id"]), {METADATA_KEY: HEADER.to_json().encode()}, path)


def folder_of_nothing(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("x")


def folder_of_two_kinds(path: Path) -> None:
    path.mkdir()
    write_manifest(path / "a.parquet", HEADER, [rows(5)])
    other = replace(HEADER, label_sets={**HEADER.label_sets, "class_clean": replace(CLEAN, provenance={"source": "x"})})
    write_manifest(path / "b.parquet", other, [rows(5)])


def folder_with_a_bad_shard(path: Path) -> None:
    sharded(path)
    (path / "part-00002.parquet").write_bytes(b"")


def device(path: Path) -> None:
    os.mkfifo(path)


TASKS = json.loads(HEADER.to_json())["tasks"]
FLOATS = pa.array([0.0] * 5, pa.float32())
BAD = {
    "no file": (no_file, "There is no manifest"),
    "empty file": (Path.touch, "0 bytes"),
    "text file": (text_file, "no Parquet file"),
    "not quite Parquet": (not_quite_parquet, "no Parquet file"),
    "a pipe": (device, "neither a file nor a folder"),
    "foreign Parquet": (foreign_parquet, "no noisyfer manifest"),
    "no columns": (header_alone, "a column 'id'; the file has none"),
    "newer schema": (metadata(b'{"schema": 2, "all": "new"}'), "schema version 2"),
    "schema 0": (metadata(changed(schema=0)), "schema version is 0"),
    "schema true": (metadata(changed(schema=True)), "schema version is True"),
    "schema text": (metadata(changed(schema="1")), "schema version is '1'"),
    "garbage": (metadata(b"\xff\xfe garbage"), "not what noisyfer writes"),
    "no JSON": (metadata(b"{"), "not what noisyfer writes"),
    "a list": (metadata(b"[1]"), "not what noisyfer writes"),
    "deep": (metadata(b"[" * 100_000), "not what noisyfer writes"),
    "NaN": (metadata(changed(parents=[{"x": float("nan")}])), "not what noisyfer writes"),
    "half a letter": (metadata(changed(created_by="\ud800")), "not what noisyfer writes"),
    "no tasks": (metadata(b'{"schema": 1, "dataset": {}, "label_sets": {}}'), "'tasks'"),
    "tasks a list": (metadata(changed(tasks=[])), "'tasks' is []; an object was expected"),
    "classes a text": (metadata(changed(tasks=TASKS | {"class": {"kind": "categorical", "classes": "ab"}})), "classes"),
    "classes numbers": (
        metadata(changed(tasks=TASKS | {"class": {"kind": "categorical", "classes": [1, 2]}})),
        "texts",
    ),
    "one class": (metadata(changed(tasks=TASKS | {"class": {"kind": "categorical", "classes": ["a"]}})), "two class"),
    "equal classes": (
        metadata(changed(tasks=TASKS | {"class": {"kind": "categorical", "classes": ["a", "a"]}})),
        "diff",
    ),
    "another range": (metadata(changed(tasks=TASKS | {"va": {"kind": "continuous", "range": [1, 9]}})), "[1, 9]"),
    "faces a text": (metadata(changed(faces="false")), "true or false"),
    "faces without columns": (metadata(changed(faces=True)), "'face_left'"),
    "parents texts": (metadata(changed(parents=["x"])), "parent"),
    "missing column": (without("status"), "a column 'status'; the file has none of it"),
    "missing label column": (without("class_clean"), "a column 'class_clean'; the file has none of it"),
    "column twice": (twice, "a column 'id'; the file has 2 of it"),
    "labels of floats": (with_column("class_clean", FLOATS), "type float; int16 was expected"),
    "ids of numbers": (with_column("id", FLOATS), "type float; string was expected"),
    "splits of numbers": (with_column("split", FLOATS), "type float; dictionary"),
    "probabilities that are numbers": (with_column("class_net_probs", FLOATS), "list<"),
    "empty folder": (folder_of_nothing, "without any .parquet file"),
    "shards of two kinds": (folder_of_two_kinds, "different metadata"),
    "a bad shard": (folder_with_a_bad_shard, "part-00002.parquet"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_manifest_is_a_sentence_when_it_is_opened(name: str, path: Path) -> None:
    build, found = BAD[name]
    build(path)
    with pytest.raises(ManifestError):
        Manifest.open(path)
    assert found in sentence(path, lambda: Manifest.open(path))


def test_a_path_that_no_file_can_have_is_a_sentence(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b", "ü" * 200):
        with pytest.raises(ManifestError, match="There is no manifest"):
            Manifest.open(tmp_path / name)


def test_a_file_cut_off_anywhere_is_a_sentence(manifest: Manifest, tmp_path: Path) -> None:
    data, cut = manifest.path.read_bytes(), tmp_path / "cut.parquet"
    for length in [*range(0, len(data), 37), *range(len(data) - 12, len(data))]:
        cut.write_bytes(data[:length])
        sentence(cut, lambda: Manifest.open(cut))


def test_a_file_with_a_changed_byte_is_as_it_was_or_a_sentence(path: Path, tmp_path: Path) -> None:
    """What a page holds has a checksum, its header and the footer have none; from neither comes but a `UserError`."""
    table = write_manifest(path, HEADER, [rows(200)]).read()
    data, broken = bytearray(path.read_bytes()), tmp_path / "broken.parquet"
    pages = len(data) - 8 - int.from_bytes(data[-8:-4], "little")

    def outcome(place: int) -> str:
        data[place] ^= 0x41
        broken.write_bytes(data)
        data[place] ^= 0x41
        try:
            everything(broken)
            return "same" if Manifest.open(broken).read().equals(table) else "changed"
        except UserError as error:
            return "noticed" if str(broken) in str(error) else str(error)

    found = [outcome(place) for place in range(4, pages, 9)]
    assert found.count("noticed") > len(found) / 2
    assert found.count("changed") < len(found) / 50
    found += [outcome(place) for place in range(pages, len(data), 41)]
    assert set(found) <= {"same", "changed", "noticed"}


def replaced(before: bytes, after: bytes, path: Path) -> None:
    data = write_manifest(path, HEADER, [rows(5)]).path.read_bytes()
    assert before in data
    path.write_bytes(data.replace(before, after, 1))


def test_a_changed_word_of_the_metadata_is_a_sentence(path: Path) -> None:
    replaced(b'"faces": false', b'"fACes": false', path)  # valid, and read as a manifest that says nothing of faces
    assert "its metadata is not what was written" in sentence(path, lambda: Manifest.open(path))


def test_a_manifest_without_a_digest_of_its_metadata_is_read(path: Path) -> None:
    replaced(b"noisyfer_sha256", b"another_program", path)
    assert Manifest.open(path).read().num_rows == 5


@pytest.mark.parametrize("column", ["class_clean", "valence_net"])
def test_a_damaged_description_of_a_column_does_not_end_the_process(column: str, path: Path) -> None:
    """Whether it is optional, before its name in Thrift's compact protocol, is neither yes nor no."""
    name = bytes([0x18, len(column)]) + column.encode()
    replaced(b"\x25\x02" + name, b"\x25\x7d" + name, path)
    sentence(path, lambda: Manifest.open(path).read())


def test_a_manifest_that_is_damaged_or_gone_after_it_was_opened_is_a_sentence(manifest: Manifest) -> None:
    manifest.path.write_bytes(manifest.path.read_bytes()[:200])
    actions = (lambda: manifest.rows, manifest.read, manifest.validate, lambda: manifest.labels("va_net"))
    for action in actions:
        sentence(manifest.path, action)
    manifest.path.unlink()
    for action in (*actions, lambda: manifest.fingerprint):
        sentence(manifest.path, action)
