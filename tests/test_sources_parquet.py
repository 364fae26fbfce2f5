"""Parquet files of the hub, and CIFAR-10."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cifar_files import tiny_cifar
from cifar_files import write_parquet as write_cifar
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.images.batches import CLASSES
from noisyfer.relabel.sources import Source, hub_parquet
from source_files import as_manifest, by_id, open_source, write

ANIMALS = ["cat", "dog", "frog"]


def write_parquet(
    path: Path, labels: Sequence[int | None] | None, names: Sequence[str] | None = None, *, plain: bool = False
) -> None:
    """Rows with a few bytes for a picture each."""
    count = 2 if labels is None else len(labels)
    pictures: list[Any] = [b"x"] * count if plain else [{"bytes": b"x", "path": None}] * count
    kind = pa.binary() if plain else pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(pictures, kind)}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.int64())
    table = pa.table(columns)
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


@pytest.mark.parametrize("plain", [False, True])
def test_rows_are_references_and_the_split_is_in_the_name(tmp_path: Path, plain: bool) -> None:
    write_parquet(tmp_path / "data/train-00000-of-00001.parquet", [0, 2, None, -1, 3], ANIMALS, plain=plain)
    write_parquet(tmp_path / "data/validation.parquet", [1], ANIMALS, plain=plain)
    source = open_source("parquet", tmp_path)
    found = by_id(source)
    first = "data/train-00000-of-00001.parquet"
    assert list(found) == [*(f"{first}#{row}" for row in range(5)), "data/validation.parquet#0"]
    assert [sample.values.get("class_human") for sample in found.values()] == [0, 2, None, None, None, 1]
    assert [sample.status for sample in found.values()] == ["ok"] * 4 + ["bad_row", "ok"]
    assert found[f"{first}#4"].detail == "its label is 3; 0 to 2 were expected"
    assert found["data/validation.parquet#0"].split == "val"
    assert source.tasks()["class"].classes == tuple(ANIMALS)
    as_manifest(source, tmp_path)


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("test.parquet", "test"),
        ("Test-00000.parquet", "test"),
        ("default/test/0000.parquet", "test"),
        ("testimony.parquet", "train"),
        ("0000.parquet", "train"),
        ("train/test-0.parquet", "test"),
        ("default/partial-test/0000.parquet", "test"),
        ("default/partial-validation/0000.parquet", "val"),
        ("partial-test-00000-of-00001.parquet", "test"),
        ("partial-testimony/0000.parquet", "train"),
    ],
)
def test_splits(tmp_path: Path, path: str, split: str) -> None:
    write_parquet(tmp_path / path, [0, 1], ANIMALS)
    assert {sample.split for sample in open_source("parquet", tmp_path).samples()} == {split}


@pytest.mark.parametrize("contempt", [False, True])
def test_classes_that_are_expressions_are_mapped_by_name(tmp_path: Path, contempt: bool) -> None:
    names = ["anger", "contempt", "disgust", "fear", "happiness", "neutrality", "sadness", "surprise"]
    write_parquet(tmp_path / "train.parquet", list(range(8)), names)
    source = open_source("parquet", tmp_path, contempt=contempt)
    labels = [sample.values.get("expression_human") for sample in source.samples()]
    assert labels == [6, 7 if contempt else None, 5, 4, 1, 0, 2, 3]
    assert len(source.tasks()["expression"].classes) == 7 + contempt
    as_manifest(source, tmp_path)


def test_files_that_order_their_classes_otherwise_agree_by_name_and_others_are_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet", [0, 1], ["dog", "cat"])
    write_parquet(tmp_path / "train.parquet", [0, 1], ["cat", "dog"])
    found = by_id(open_source("parquet", tmp_path))
    assert [sample.values["class_human"] for sample in found.values()] == [0, 1, 1, 0]
    write_parquet(tmp_path / "val.parquet", [0, 1], ["cat", "cow"])
    with pytest.raises(UserError) as error:
        open_source("parquet", tmp_path)
    assert "has the classes cat, cow, and" in sentence(error)


def test_without_names_classes_are_numbers_and_without_labels_there_are_none(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a/train.parquet", [0, None, 4])
    assert open_source("parquet", tmp_path / "a").tasks()["class"].classes == ("0", "1", "2", "3", "4")
    write_parquet(tmp_path / "b/train.parquet", None)
    source = open_source("parquet", tmp_path / "b" / "train.parquet")
    assert source.tasks() == source.label_sets() == {}
    assert list(by_id(source)) == ["train.parquet#0", "train.parquet#1"]


def test_labels_too_high_for_classes_are_a_sentence(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 32_767])
    assert len(open_source("parquet", tmp_path).tasks()["class"].classes) == 32_768
    for label in (32_768, 10**12):
        write_parquet(tmp_path / "train.parquet", [0, label])
        with pytest.raises(UserError) as error:
            open_source("parquet", tmp_path)
        assert f"train.parquet has the label {label:,} and no names for its classes" in sentence(error)


def test_the_task_is_worked_out_once_for_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1, 2] * 10, ANIMALS)
    asked: list[str] = []
    monkeypatch.setattr(hub_parquet, "expression_name", asked.append)
    assert len(list(open_source("parquet", tmp_path).samples())) == 30
    assert asked == ANIMALS


def test_rows_are_counted_without_reading_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "train-0.parquet", [0, 1, None, -1, 5], ANIMALS)
    write_parquet(tmp_path / "test/0.parquet", [0, 1], ANIMALS)
    write_parquet(tmp_path / "test/1.parquet", None)
    source = open_source("parquet", tmp_path)
    expected = [Source.rows(source, split) for split in (None, "train", "val", "test")]
    assert expected == [9, 5, 0, 4]
    monkeypatch.delattr(hub_parquet.HubParquet, "_labels")
    assert [source.rows(split) for split in (None, "train", "val", "test")] == expected


@pytest.mark.parametrize("name", [b"c:train.parquet", b"back\\slash.parquet", b"x\xff.parquet"])
def test_a_name_that_no_manifest_can_hold_is_a_sentence(tmp_path: Path, name: bytes) -> None:
    write_parquet(tmp_path / "train.parquet", [0, 1], ANIMALS)
    (tmp_path / "train.parquet").rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    with pytest.raises(UserError) as error:
        open_source("parquet", tmp_path)
    assert "so that no manifest can name its rows. Rename it." in sentence(error)


def test_files_that_cannot_be_used_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no Parquet file under"):
        open_source("parquet", tmp_path)
    write(tmp_path, "x.parquet", "version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError) as error:
        open_source("parquet", tmp_path)
    assert "is no Parquet file, or a truncated or damaged one" in sentence(error)
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(UserError) as error:
        open_source("parquet", tmp_path)
    assert "has no pictures: its columns are 'text'" in sentence(error)
    write_parquet(tmp_path / "out/real.parquet", [0, 1], ANIMALS)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/train.parquet").symlink_to(tmp_path / "out/real.parquet")
    with pytest.raises(UserError, match=r"is a link to .*real\.parquet, outside"):
        open_source("parquet", tmp_path / "root")


def test_the_fingerprint_is_of_labels_not_of_pictures(tmp_path: Path) -> None:
    found = set()
    for labels, plain in (([0, 1], False), ([0, 1], True), ([1, 1], False)):
        write_parquet(tmp_path / "train.parquet", labels, ANIMALS, plain=plain)
        found.add(open_source("parquet", tmp_path).fingerprint())
    assert len(found) == 2


def test_cifar10_has_make_cifars_ids_and_clean_labels(tmp_path: Path) -> None:
    data = tiny_cifar()
    write_cifar(tmp_path, data)
    source = open_source("cifar10", tmp_path)
    found = by_id(source)
    assert source.tasks()["class"].classes == CLASSES
    assert list(source.label_sets()) == ["class_clean"]
    labels = {split: [int(label) for label in data.labels(split)] for split in ("train", "test")}
    expected = {f"{split}_{row:05d}": label for split, some in labels.items() for row, label in enumerate(some)}
    assert {name: sample.values["class_clean"] for name, sample in found.items()} == expected
    assert all(sample.whole and sample.status == "ok" for sample in found.values())
    assert found["test_00000"].image.startswith("plain_text/test-")
    as_manifest(source, tmp_path)
    with pytest.raises(UserError, match="There is no CIFAR-10 in"):
        open_source("cifar10", _empty(tmp_path))


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"
