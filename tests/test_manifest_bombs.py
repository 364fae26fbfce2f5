"""Manifests of a few kilobytes that would take gigabytes of memory."""

from __future__ import annotations

import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from manifest_rows import HEADER, rows, sentence, sharded
from noisyfer.core import parquet_bounds
from noisyfer.core.schema import METADATA_KEY
from noisyfer.manifest import LabelSet, Manifest, write_manifest


def repeated(path: Path, count: int, text: str) -> Manifest:
    """One row `count` times, `text` in its column `detail`."""
    index, one, columns = pa.array(np.zeros(count, np.int32)), rows(1), {}
    for name, column in zip(one.column_names, one.columns, strict=True):
        value = pa.array([text]) if name == "detail" else column.combine_chunks()
        columns[name] = (
            pa.DictionaryArray.from_arrays(index, value) if pa.types.is_string(value.type) else value.take(index)
        )
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: HEADER.to_json().encode()})
    pq.write_table(table, path, compression="zstd")
    return Manifest.open(path)


def test_a_long_text_that_every_row_repeats_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    manifest = repeated(path, 60_000, "x" * 200_000)
    assert path.stat().st_size < 10_000
    for action in (manifest.read, lambda: next(manifest.batches(["detail"]))):
        told = sentence(path, action)
        assert "the texts in the column 'detail' take 12,000,000,000 bytes in one row group" in told
    assert manifest.read(["id"]).num_rows == 60_000
    assert repeated(path, 60_000, "x" * 500).read().num_rows == 60_000


def test_the_texts_are_counted_exactly_where_the_bound_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.parquet"
    table = rows(100)
    details = pa.array([("x" * 1000 if number == 3 else None) for number in range(100)])
    table = table.set_column(table.column_names.index("detail"), "detail", details)
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: HEADER.to_json().encode()}), path)
    monkeypatch.setattr(parquet_bounds, "MAX_TEXT_BYTES", 2000)
    assert Manifest.open(path).read(["detail"]).num_rows == 100
    monkeypatch.setattr(parquet_bounds, "MAX_TEXT_BYTES", 999)
    assert "take 1,000 bytes" in sentence(path, lambda: Manifest.open(path).read(["detail"]))


def test_rows_that_the_file_has_no_room_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.parquet"
    manifest = repeated(path, 2_000_000, "x")
    assert manifest.read(["class_clean"]).num_rows == 2_000_000
    monkeypatch.setattr(parquet_bounds, "SOME_VALUES", 1000)
    monkeypatch.setattr(parquet_bounds, "VALUES_A_BYTE", 1)
    assert "it claims 1,048,576 values or more in the column 'class_clean'" in sentence(
        path, lambda: next(manifest.batches(["class_clean"]))
    )
    assert sharded(tmp_path / "folder").read().num_rows == 20


def test_a_label_set_whose_name_has_a_dot_is_counted_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write_manifest(path, HEADER, [rows(20)])
    label_set = LabelSet.categorical("class", "v1.5", "model", {}, probs=True)
    columns = {"label": pa.array([0] * 20, pa.int16()), "probs": pa.array([[1.0, 0.0, 0.0]] * 20)}
    dotted = manifest.with_label_set(label_set, columns, path.with_name("dotted.parquet"))
    assert dotted.read(["class_v1.5"]).num_rows == 20
    monkeypatch.setattr(parquet_bounds, "SOME_VALUES", 10)
    monkeypatch.setattr(parquet_bounds, "VALUES_A_BYTE", 0)
    for column, values in (("class_v1.5", 20), ("class_v1.5_probs", 60)):
        told = sentence(dotted.path, lambda column=column: dotted.read([column]))
        assert f"it claims {values} values or more in the column '{column}" in told


def test_what_looks_at_a_footer_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Arrow keeps of it would be as large as the metadata, for every file that is opened."""
    made: list[weakref.ref[Any]] = []

    class Watched(parquet_bounds._WithoutPages):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            made.append(weakref.ref(self))

    monkeypatch.setattr(parquet_bounds, "_WithoutPages", Watched)
    assert write_manifest(tmp_path / "m.parquet", HEADER, [rows(5)]).read().num_rows == 5
    assert made
    for _ in range(100):
        if all(each() is None for each in made):
            return
        time.sleep(0.05)  # a thread of Arrow's may still hold it
    pytest.fail("a reader without pages is still held")
