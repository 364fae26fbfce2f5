"""Bad files of labels: a sentence each, or the rows that are wrong counted and left without a label."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from import_files import annotation, as_json, column, faces, imported, names, raf, text
from messages import sentence
from noisyfer.cli import main
from noisyfer.core.errors import UserError
from noisyfer.core.formulas import GUARDED, guard, unguard
from noisyfer.core.schema import ManifestError, Task
from noisyfer.manifest import LabelSet, Manifest
from noisyfer.relabel import tables
from noisyfer.relabel.importing import base, json_files, lists
from noisyfer.relabel.importing.values import pairs
from noisyfer.relabel.sources.annotations import csv_rows
from noisyfer.relabel.tables import csv_batches, numbers

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return raf(tmp_path / "m.parquet")


def refusal(manifest: Manifest, path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        imported(manifest, path, **options)
    assert str(path) in str(error.value)
    assert not (path.parent / "out.parquet").exists()
    return sentence(error)


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("a.csv", b"", {}, "the file is empty"),
        ("a.csv", b" \r\n\r\n", {}, "the file is empty"),
        ("a.csv", b"id,expression\n", {}, "holds no labels"),
        ("a.csv", b"name,feeling\na,sad\n", {}, "Cannot tell in which format"),
        ("a.csv", b"name,feeling\na,sad\n", {"format": "csv"}, "expected a column of ids or images"),
        ("a.csv", b"id,feeling\na,sad\n", {"format": "csv"}, "expected a column of labels"),
        ("a.csv", b"id,valence\na,0.5\n", {"format": "csv"}, "valence and arousal together"),
        ("a.csv", b"id,label\na,sad\n", {"format": "long"}, "a column of annotators"),
        ("a.csv", b"id,label\na,sad\n", {"columns": {"image": "FILE"}}, "lacks the column 'FILE'"),
        ("a.csv", b"id,id,label\na,b,sad\n", {}, "'id' more than once"),
        ("a.csv", "id,label\na,sad\n".encode("utf-16"), {"format": "csv"}, "UTF-16"),
        ("a.csv", b'id,label\na,"sad\n' + b"x" * 2_000_000, {}, "quotation mark"),
        ("a.txt", b"the quick brown fox\n", {}, "Cannot tell in which format"),
        ("a.bin", bytes(range(250, -1, -1)) * 9, {}, "It is no text."),
        ("a.csv", b"Usage,Image name\n", {"format": "ferplus"}, "lacks the columns 'neutral'"),
        ("a.csv", b"expression\n1\n", {"format": "affectnet-csv"}, "lacks the column 'subDirectory_filePath'"),
        ("a.csv", b"FaceRectWidth,anger\n1,1\n", {"format": "py-feat"}, "no column 'input'"),
        ("a.csv", b"emotion,anger\nAnger,1\n", {"format": "emotiefflib"}, "no column of images' names"),
        ("a.json", b'[{"image": "a", "dominant_emotion": "sad"', {}, "cannot be read as JSON"),
        ("a.json", b'{"dominant_emotion": ' + b"[" * 100_000, {}, "nested too deeply"),
        ("a.json", b'\xff\xfe{"dominant_emotion": 1}', {"format": "deepface"}, "no text in UTF-8"),
        ("a.json", b'{"annotations": 1, "data": 2}', {}, "no list of tasks"),
        ("a.json", b'{"images": [1], "emotions": [1, 2], "scores": []}', {}, "different lengths"),
        ("a.json", b'[{"image": "a", "emotion": "x", "scores": [1, 2]}]', {}, "rows of 2 scores"),
        ("a.json", b'[{"image": "a", "emotion": "x", "scores": 1}, 7]', {"format": "emotiefflib"}, "are no sample's"),
        ("a.npy", b"not numpy", {"format": "cifar-n"}, "nothing in it was run"),
    ],
)
def test_what_cannot_be_read_gets_a_sentence(
    manifest: Manifest, tmp_path: Path, name: str, content: bytes, options: dict[str, Any], words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in refusal(manifest, tmp_path / name, **options)


def test_files_that_are_not_there_or_folders_get_a_sentence(manifest: Manifest, tmp_path: Path) -> None:
    assert "does not exist" in refusal(manifest, tmp_path / "nowhere.csv")
    assert "is a folder" in refusal(manifest, tmp_path)
    assert "No such file" in refusal(manifest, tmp_path / "nowhere.csv", format="csv")
    with pytest.raises(UserError, match="No file of labels"):
        imported(manifest)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"by": "name"}, "value of by"),
        ({"annotator": "a/b"}, "letters, digits and _ . - were expected"),
        ({"kind": "robot"}, "value of kind"),
        ({"ids": "rafs"}, "Did you mean 'raf'"),
        ({"split": "training"}, "value of split"),
        ({"duplicates": "all"}, "value of duplicates"),
        ({"format": "raf-lists"}, "Did you mean 'raf-list'"),
        ({"columns": {"images": "x"}}, "Did you mean 'image'"),
        ({"max_unmatched": 2}, "a share from 0 to 1"),
        ({"annotator": "x", "task": "mood"}, "no labels of the task 'mood'"),
        ({"annotator": ""}, "do not say who labelled"),
    ],
)
def test_wrong_options_get_a_sentence(manifest: Manifest, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    path = text(tmp_path / "l.csv", "id,expression\ntrain_00001,sad\n")
    with pytest.raises(UserError) as error:
        imported(manifest, path, **options)
    assert words in sentence(error)


def test_files_too_large_for_memory_are_refused(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, content in (
        (lists, "l.txt", "train_00001.jpg 7\n"),
        (json_files, "l.json", '[{"image": "a", "dominant_emotion": "sad"}]'),
    ):
        monkeypatch.setattr(module, "MAX_BYTES", 10)
        assert "at most 10 are read" in refusal(manifest, text(tmp_path / name, content))


def test_rows_with_unusable_labels_are_counted_named_and_left_without(tmp_path: Path) -> None:
    manifest = faces(tmp_path / "m.parquet", list("abcdefgh"))
    cells = ["nan,0", "inf,0", "0,1.51", "x,0", "0.5,", "-2,-2", ",", "-1.5,1"]
    rows = [f"{name},{cell}" for name, cell in zip("abcdefgh", cells, strict=True)]
    path = text(tmp_path / "va.csv", "\n".join(["id,valence,arousal", *rows]))
    assert "Of the 8 labels" in refusal(manifest, path)
    report = imported(manifest, path, max_unmatched=0.7)
    assert column(report.manifest, "valence_me") == [*[None] * 7, -1.0]
    file = report.files[0]
    assert (file.unusable.count, file.missing, file.clipped) == (5, 2, 1)
    assert file.unusable.first[0] == "'a': valence no number, arousal 0"
    assert file.unusable.first[2] == "'c': valence 0, arousal 1.51"
    report.manifest.validate()


def test_unknown_classes_are_named_and_refused_where_they_are_most(tmp_path: Path) -> None:
    manifest = faces(tmp_path / "m.parquet", list("abcd"))
    path = text(tmp_path / "l.csv", "id,expression\na,bored\nb,sad\nc,calm\nd,7\n")
    assert "3 ('a': bored, 'c': calm, 'd': 7) cannot be used" in refusal(manifest, path)
    report = imported(manifest, path, max_unmatched=1)
    assert names(report.manifest, "expression_me") == {"a": None, "b": "sad", "c": None, "d": None}


def test_broken_scores_are_no_label(tmp_path: Path) -> None:
    manifest = faces(tmp_path / "m.parquet", list("abcd"))
    head = "FaceRectWidth,FaceRectHeight,anger,disgust,fear,happiness,sadness,surprise,neutral,input"
    rows = ["1,1,inf,0,0,0,0,0,1,a", "1,1,-1,0,0,0,0,0,2,b", "1,1,x,0,0,0,0,0,1,c", "1,1,0,0,0,0,1,0,0,d"]
    report = imported(manifest, text(tmp_path / "f.csv", "\n".join([head, *rows])), max_unmatched=0.9)
    assert names(report.manifest, "expression_me") == {"a": None, "b": None, "c": None, "d": "sad"}
    assert report.files[0].unusable.count == 3


@pytest.mark.parametrize(
    "tasks",
    [
        [
            {"data": None, "annotations": None},
            {"data": {"image": "train_00001.jpg"}, "annotations": [annotation("Sad", 1)]},
        ],
        [
            {"data": {"image": 7}, "annotations": [None, {"result": None}, {"result": [3, {"type": "choices"}]}]},
            {"data": {"image": "http://[x/train_00001.jpg"}, "annotations": [annotation("Sad", True)]},
            {"data": {"image": "train_00001.jpg"}, "annotations": [annotation("Sad", 1), annotation([], 2)]},
        ],
    ],
    ids=["nulls", "other kinds"],
)
def test_odd_entries_of_an_export_do_no_harm(manifest: Manifest, tmp_path: Path, tasks: Any) -> None:
    path = as_json(tmp_path / "ls.json", tasks)
    report = imported(manifest, path, annotator="", max_unmatched=1, columns={"label": "mood"})
    assert names(report.manifest, "expression_user1")["train_00001"] == "sad"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYED = st.dictionaries(
    st.sampled_from(
        ["image", "emotion", "dominant_emotion", "scores", "region", "data", "annotations", "results", "images"]
    ),
    JSON,
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(JSON | KEYED | st.lists(KEYED, max_size=3), st.sampled_from(["deepface", "emotiefflib", "label-studio"]))
def test_any_json_gives_labels_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, value: Any, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    reader = base.FORMATS[name]()
    try:
        found = list(reader.read(path, base.ReadOptions()))
    except UserError:
        found = []
    for rows in found:
        lengths = {len(rows.where), *(len(column) for column in rows.classes.values())}
        lengths |= {len(part) for part in (rows.keys, rows.scores, rows.va) if part is not None}
        assert len(lengths) == 1


CELL = st.text(st.sampled_from("ab\"',;\n\r =é\t"), max_size=4)


def read_all(path: Path) -> tuple[list[int], list[str], list[str]]:
    batches = list(csv_batches(path, {"x": "A", "y": "b"}))
    return (
        [row for batch in batches for row in batch.rows.tolist()],
        [value for batch in batches for value in batch.texts["x"]],
        [value for batch in batches for value in batch.texts["y"]],
    )


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=5), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_csv_is_read_fast_as_it_is_read_patiently(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]], end: str, mark: bool
) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["b", " a ", "c"], *cells])
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(stream.getvalue().encode("utf-8-sig" if mark else "utf-8"))
    expected = [(row["a"], row["b"]) for _, row in csv_rows(path, ["a", "b"])]
    rows, first, second = read_all(path)
    assert list(zip(first, second, strict=True)) == expected
    assert rows == list(range(1, len(cells) + 1))


def test_a_row_that_arrow_refuses_is_read_patiently_from_there_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []
    patient = tables._patient
    monkeypatch.setattr(tables, "_patient", lambda *given: starts.append(given[-1]) or patient(*given))
    monkeypatch.setattr(tables, "_BLOCK_BYTES", 4096)
    monkeypatch.setattr(tables, "BATCH_ROWS", 300)
    good = [f"{number},x{number},0" for number in range(2000)]
    content = "\n".join(["a,b,c", *good, "ragged", "1,2,3,4", "last,é,0"]).encode() + b"\nbad\xff,y,0\n"
    path = tmp_path / "l.csv"
    path.write_bytes(content)
    rows, first, second = read_all(path)
    assert 0 < starts[0] <= 2000
    assert rows == list(range(1, 2005))
    assert first == [*[str(number) for number in range(2000)], "ragged", "1", "last", "bad\ufffd"]
    assert second == [*[f"x{number}" for number in range(2000)], "", "2", "é", "y"]


def test_what_a_spreadsheet_takes_for_a_formula_is_guarded() -> None:
    for first in ("=", "+", "-", "@", "\t", "\r", "'"):
        assert guard(f"{first}x") == f"'{first}x"
    assert guard("x=") == "x="


@given(st.text(max_size=6))
def test_guarded_texts_are_no_formulas_and_come_back(word: str) -> None:
    guarded = guard(word)
    assert unguard(guarded) == word
    assert not guarded.startswith(GUARDED)


def test_numbers_of_texts() -> None:
    found = numbers(["", "1", "-0.5", " 2e-1", "x", "nan", "inf", "-Infinity", "1e999", "0x10", "1,5"])
    assert np.isnan(found[0])
    assert found[1:4].tolist() == [1, -0.5, 0.2]
    assert np.isinf(found[4:]).all()


@given(st.lists(st.tuples(*[st.floats() | st.sampled_from([-2.0, 1.0, 1.2, -1.5])] * 2), max_size=20))
def test_pairs_are_in_range_missing_or_broken(values: list[tuple[float, float]]) -> None:
    found = pairs(np.array(values).reshape(-1, 2))
    assert not (found.present & found.broken).any()
    for place, pair in enumerate(values):
        missing = [np.isnan(value) or value == -2 for value in pair]
        wild = [not gone and not abs(value) <= 1.5 for gone, value in zip(missing, pair, strict=True)]
        assert found.broken[place] == (any(wild) or any(missing) != all(missing))
        assert found.present[place] == (not any(wild) and not any(missing))
        if found.present[place]:
            assert found.values[place].tolist() == np.clip(pair, -1, 1).astype(np.float32).tolist()


def test_several_label_sets_and_a_new_task_in_one_manifest(manifest: Manifest, tmp_path: Path) -> None:
    feeling, other = LabelSet.valence_arousal("x", "model", {}), LabelSet.categorical("expression", "x", "model", {})
    va = {"valence": [0.5] * 12, "arousal": [None] * 12}
    added = manifest.with_label_sets(
        [(feeling, va), (other, {"label": pa.array([1] * 12)})],
        tmp_path / "n.parquet",
        tasks=[Task("va", "continuous")],
    )
    assert list(added.header.label_sets) == ["expression_human", "va_x", "expression_x"]
    assert column(added, "valence_x") == [0.5] * 12
    with pytest.raises(ManifestError, match="task 'expression' already"):
        manifest.with_label_sets([], tmp_path / "o.parquet", tasks=[manifest.header.tasks["expression"]])
    with pytest.raises(ManifestError, match="'expression_x' already"):
        manifest.with_label_sets([(other, {"label": [1] * 12})] * 2, tmp_path / "o.parquet")


def test_the_command_prints_what_became_of_each_row(here: Path) -> None:
    raf(here / "m.parquet")
    text(here / "l.txt", "train_00001.jpg 7\ntrain_00002.jpg 4\nnobody.jpg 1\n")
    done = CliRunner().invoke(main, ["import", "m.parquet", "l.txt", "--as", "me"])
    assert done.exit_code == 0, done.output
    for words in (
        "l.txt (raf-list): 3 rows, 2 joined: 2 by id without suffix.",
        "1 ('nobody.jpg') are no sample's.",
        "Label set 'expression_me': 2 of 9 train, 0 of 3 test.",
        "Written: m_with_me.parquet",
    ):
        assert words in done.output
    text(here / "c.csv", 'FILE,"a, b=c"\ntrain_00001.jpg,sad\n')
    said = ["--columns", "image=FILE, expression=a, b=c"]
    done = CliRunner().invoke(main, ["import", "m.parquet", "c.csv", "--as", "you", *said])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(main, ["import", "m.parquet", "l.txt", "--as", "me", "--columns", "image"])
    assert done.exit_code == 1
    assert "not of the form key=value" in done.output
