"""What is written to a manifest comes back, also through pandas and other tools."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_rows import CLASS, FEELING, FLIP, HEADER, rows
from noisyfer.core.schema import EYES, FACE_BOX, KINDS, arrow_schema
from noisyfer.manifest import STATUS_OK, Dataset, Header, LabelSet, Manifest, Task, manifest_writer, write_manifest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,6}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
PROVENANCE = st.dictionaries(TEXTS, JSON_VALUES, max_size=3)


@dataclass(frozen=True)
class Content:
    """A manifest as plain Python values."""

    header: Header
    columns: dict[str, list[Any]]

    def table(self) -> pa.Table:
        schema = arrow_schema(self.header)
        return pa.table({name: pa.array(self.columns[name]).cast(schema.field(name).type) for name in schema.names})


@st.composite
def headers(draw: st.DrawFn) -> Header:
    classes = draw(st.lists(WORDS, min_size=2, max_size=4, unique=True))
    tasks = {"class": Task("class", "categorical", tuple(classes)), "va": FEELING}
    label_sets = {}
    for annotator in draw(st.lists(NAMES, max_size=3, unique=True)):
        kind, provenance = draw(st.sampled_from(KINDS)), draw(PROVENANCE)
        if draw(st.booleans()):
            made = LabelSet.categorical("class", annotator, kind, provenance, probs=draw(st.booleans()))
        else:
            made = LabelSet.valence_arousal(annotator, kind, provenance)
        label_sets[made.name] = made
    columns = [column for made in label_sets.values() for column in made.columns.values()]
    if len(set(columns)) < len(columns):  # the annotators `a` and `a_probs` may claim one column
        label_sets = {}
    dataset = Dataset(draw(TEXTS), draw(TEXTS), draw(TEXTS))
    parents = tuple({"file": draw(TEXTS), "sha256": draw(TEXTS)} for _ in range(draw(st.integers(0, 2))))
    return Header(dataset, tasks, label_sets, parents, draw(st.booleans()))


def _probabilities(weights: list[int]) -> list[float]:
    return [float(np.float32(weight / sum(weights))) for weight in weights]


@st.composite
def manifests(draw: st.DrawFn) -> Content:
    header = draw(headers())
    ids = draw(st.lists(TEXTS, max_size=9, unique=True))
    classes = len(header.tasks["class"].classes)
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "split": st.sampled_from(["train", "val", "test"]),
        "image": st.sampled_from(["a.png", "train/frog/ü.png", "x/y.parquet#17"]),
        "status": st.sampled_from([STATUS_OK, "no_face"]) | WORDS,
        "detail": st.none() | TEXTS,
    }
    values = {
        "label": st.integers(0, classes - 1),
        "probs": st.lists(st.integers(1, 9), min_size=classes, max_size=classes).map(_probabilities),
        "valence": st.floats(-1, 1, width=32),
        "arousal": st.floats(-1, 1, width=32),
    }
    for label_set in header.label_sets.values():
        kinds |= {column: st.none() | values[role] for role, column in label_set.columns.items()}
    if header.faces:
        numbers = st.none() | st.floats(width=32, allow_nan=False)
        kinds |= dict.fromkeys((*FACE_BOX, "face_score", *EYES), numbers) | {"face_image": st.none() | TEXTS}
    drawn = {name: [draw(kind) for _ in ids] for name, kind in kinds.items()}
    return Content(header, {"id": ids, **drawn})


def assert_same(manifest: Manifest, content: Content) -> None:
    manifest.validate()
    assert manifest.header == content.header
    assert manifest.rows == len(content.columns["id"])
    read = manifest.read()
    assert read.schema == arrow_schema(content.header)
    assert read.to_pydict() == {name: content.columns[name] for name in read.column_names}
    for name, label_set in content.header.label_sets.items():
        labels = manifest.labels(name)
        roles = [content.columns[label_set.columns[role]] for role in label_set.columns if role != "probs"]
        expected = [None if None in row else row for row in zip(*roles, strict=True)]
        assert labels.present.tolist() == [row is not None for row in expected]
        found = labels.values.reshape(len(labels.values), len(roles)).tolist()
        assert found == [[0] * len(roles) if row is None else list(row) for row in expected]
        assert labels.values.dtype == (np.int64 if label_set.task == "class" else np.float32)


@settings(max_examples=40, deadline=None)
@given(content=manifests())
def test_what_is_written_to_a_file_comes_back(content: Content) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_same(write_manifest(Path(folder) / "ü.parquet", content.header, [content.table()]), content)


@settings(max_examples=25, deadline=None)
@given(content=manifests(), shard_rows=st.integers(1, 4), cuts=st.lists(st.integers(0, 9), max_size=3))
def test_what_is_written_to_shards_comes_back_in_order(content: Content, shard_rows: int, cuts: list[int]) -> None:
    table = content.table()
    edges = [0, *sorted(min(cut, len(table)) for cut in cuts), len(table)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shards"
        with manifest_writer(path, content.header, folder=True, shard_rows=shard_rows) as write:
            for start, end in pairwise(edges):
                write(table.slice(start, end - start))
        opened = Manifest.open(path)
        assert_same(opened, content)
        sizes = [pq.read_metadata(file).num_rows for file in opened.files]
        assert len(sizes) == max(1, -(-len(table) // shard_rows))
        assert all(size == shard_rows for size in sizes[:-1])


@settings(max_examples=25, deadline=None)
@given(content=manifests())
def test_a_manifest_goes_through_pandas_and_comes_back(content: Content) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first = write_manifest(Path(folder) / "first.parquet", content.header, [content.table()])
        table = pa.Table.from_pandas(first.to_pandas())
        assert_same(write_manifest(Path(folder) / "second.parquet", content.header, [table]), content)


def test_in_pandas_a_missing_label_stays_missing_and_a_class_id_stays_a_whole_number(manifest: Manifest) -> None:
    frame = manifest.to_pandas()
    assert frame["class_net"].dtype == pd.Int16Dtype()
    assert frame["class_net"][0] is pd.NA
    assert frame["class_net"][1] == 1
    assert frame["valence_net"].dtype == pd.Float32Dtype()
    assert frame["valence_net"][0] is pd.NA
    assert list(frame["split"].cat.categories) == ["train", "test", "val"]
    assert frame["class_net_probs"][0] is None
    assert frame["class_net_probs"][1].tolist() == [0.5, 0.25, 0.25]


@settings(max_examples=60, deadline=None)
@given(header=headers())
def test_metadata_comes_back_from_its_json(header: Header) -> None:
    assert Header.from_json(header.to_json()) == header
    assert Header.from_json(header.to_json().encode()) == header


def test_plain_readers_see_plain_columns(manifest: Manifest) -> None:
    frame = pd.read_parquet(manifest.path)
    assert frame["class_clean"].tolist() == [number % 3 for number in range(20)]
    assert frame["split"].tolist() == rows(20)["split"].to_pylist()
    table = pq.read_table(manifest.path, columns=["id", "class_net_probs"])
    assert table.to_pydict() == rows(20).select(["id", "class_net_probs"]).to_pydict()
    assert json.loads(pq.read_schema(manifest.path).metadata[b"noisyfer"])["schema"] == 1


def test_columns_rewritten_by_other_tools_as_plain_or_large_types_are_read(manifest: Manifest, tmp_path: Path) -> None:
    table = pq.read_table(manifest.path)
    for text in (pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        changed = table
        for name in ("split", "status", "detail", "id", "image"):
            plain = pa.chunked_array([table[name].cast(pa.string()).combine_chunks()])
            cast = plain.dictionary_encode().cast(text) if pa.types.is_dictionary(text) else plain.cast(text)
            changed = changed.set_column(table.column_names.index(name), name, cast)
        if text == pa.large_string():
            probs = table.column_names.index("class_net_probs")
            changed = changed.set_column(probs, "class_net_probs", table[probs].cast(pa.large_list(pa.float32())))
        pq.write_table(changed, tmp_path / "other.parquet")
        opened = Manifest.open(tmp_path / "other.parquet")
        assert opened.read().to_pydict() == manifest.read().to_pydict()
        assert opened.select(["val"]).rows == 5
        opened.validate()


def test_metadata_is_found_where_other_tools_write_it(manifest: Manifest, tmp_path: Path) -> None:
    """Polars and DuckDB write it beside the Arrow schema, not into it."""
    table = pq.read_table(manifest.path).replace_schema_metadata(None)
    with pq.ParquetWriter(tmp_path / "other.parquet", table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"noisyfer": HEADER.to_json()})
    assert pq.read_schema(tmp_path / "other.parquet").metadata is None
    opened = Manifest.open(tmp_path / "other.parquet")
    assert opened.header == HEADER
    assert opened.read().to_pydict() == manifest.read().to_pydict()


def test_columns_that_the_metadata_does_not_name_are_nobodys_business(manifest: Manifest, tmp_path: Path) -> None:
    table = pq.read_table(manifest.path).append_column("minutes", pa.array([1.5] * 20))
    pq.write_table(table, tmp_path / "more.parquet")
    opened = Manifest.open(tmp_path / "more.parquet")
    opened.validate()
    assert opened.read().equals(manifest.read())
    assert opened.select(["val"]).read(["minutes", "class_clean"])["minutes"].to_pylist() == [1.5] * 5
    assert opened.select([]).read(["minutes"]).schema == pa.schema([("minutes", pa.float64())])
    copied = opened.with_label_set(FLIP, {"label": [0] * 20}, tmp_path / "new.parquet")
    assert "minutes" not in pq.read_schema(copied.path).names


def test_names_with_dots_and_other_marks_are_not_taken_apart(path: Path) -> None:
    """Parquet readers write nested columns as `a.b.list.element`: names may look like that."""
    columns = {"one": "a.b", "two": "a", "three": "a.b.list.element", "four": "\n\x00"}
    label_sets = {name: LabelSet(name, "class", "x", "human", {"label": found}) for name, found in columns.items()}
    label_sets["five"] = LabelSet("five", "class", "x", "human", {"label": "q", "probs": "a.b.list"})
    header = Header(Dataset("d"), {"class": CLASS}, label_sets)
    table = rows(3).select(["id", "split", "image", "status", "detail"])
    for value, name in enumerate(columns.values()):
        table = table.append_column(name, pa.array([value % 3] * 3, pa.int16()))
    table = table.append_column("q", pa.array([2] * 3, pa.int16()))
    table = table.append_column("a.b.list", rows(3)["class_net_probs"])
    opened = write_manifest(path, header, [table])
    opened.validate()
    for value, name in enumerate(columns):
        assert opened.labels(name).values.tolist() == [value % 3] * 3
        assert opened.select(label_sets=[name]).read().column_names[-1] == columns[name]
