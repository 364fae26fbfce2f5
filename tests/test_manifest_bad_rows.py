"""Rows that contradict the schema get a sentence when they are written, checked or read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest_rows import HEADER, rows, sentence, with_column
from noisyfer.images.references import canonical, split_reference
from noisyfer.manifest import Manifest, write_manifest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


def test_rows_that_do_not_fit_are_refused_and_nothing_is_written(path: Path) -> None:
    good = rows(3)
    class_net = good.column_names.index("class_net")
    bad = {
        "'id' with null values": good.set_column(0, "id", pa.array(["a", None, "b"])),
        '"image"': good.drop_columns(["image"]),
        "'cat'": good.set_column(class_net, "class_net", pa.array(["cat"] * 3)),
        "40000 not in range": good.set_column(class_net, "class_net", pa.array([40000] * 3)),
        "was truncated": good.set_column(class_net, "class_net", pa.array([0.5] * 3)),
    }
    for found, table in bad.items():
        assert found in sentence(path, lambda table=table: write_manifest(path, HEADER, [good, table]))
        assert list(path.parent.iterdir()) == []


INVALID = {
    "equal ids": (with_column("id", pa.array(["a", "b", "a", "a"])), "2 ids occur more than once"),
    "missing id": (with_column("id", pa.array(["a", None])), "column 'id' has missing values"),
    "missing split": (with_column("split", pa.array(["train", None])), "column 'split' has missing values"),
    "missing image": (with_column("image", pa.array(["a", None])), "column 'image' has missing values"),
    "missing status": (with_column("status", pa.array(["ok", None])), "column 'status' has missing values"),
    "unknown split": (
        with_column("split", pa.array(["train", "dev"])),
        "a split 'dev'; train, val, test were expected",
    ),
    "a split of two lines": (with_column("split", pa.array(["train", "a\nb"])), "a split 'a\\nb'; train, val, test"),
    "label too large": (with_column("class_net", pa.array([0, 3, 5], pa.int16())), "2 labels out of range, such as 3"),
    "label negative": (with_column("class_clean", pa.array([0, -1], pa.int16())), "1 labels out of range, such as -1"),
    "valence NaN": (with_column("valence_net", pa.array([0, np.nan, 0, 0], pa.float32())), "such as [nan, -0.25]"),
    "arousal ∞": (with_column("arousal_net", pa.array([0, np.inf, 0, 0], pa.float32())), "inf]; valence and arousal"),
    "valence 1.5": (with_column("valence_net", pa.array([0, 1.5, 0, 0], pa.float32())), "such as [1.5, -0.25]"),
    "no text": (with_column("id", pa.array([b"a", b"\xff"]).cast(pa.binary()).view(pa.string())), "UTF8"),
}
PROBABILITIES = ([0.5, 0.5, 0.5], [1.5, -0.5, 0.0], [np.nan, 1.0, 0.0], [np.inf, 0.0, 0.0], [None, 0.5, 0.5])
for _wrong in PROBABILITIES:
    INVALID[f"probabilities {_wrong}"] = (
        with_column("class_net_probs", pa.array([None, _wrong], pa.list_(pa.float32()))),
        "1 rows of probabilities such as [",
    )
INVALID["too few probabilities"] = (
    with_column("class_net_probs", pa.array([None, [0.5, 0.5]], pa.list_(pa.float32()))),
    "rows of 2 probabilities; 3 were expected",
)
UNSAFE = (
    "/etc/passwd",
    "../x",
    "a/../../x",
    "a/..",
    "..",
    "\\x",
    "a\\..\\b",
    "C:/x",
    "c:x",
    "a\0b",
    "",
    ".",
    "..#5",
    "./",
)
for _image in UNSAFE:
    INVALID[f"image {_image!r}"] = (with_column("image", pa.array(["a", _image])), f"image {_image!r} of sample")


@pytest.mark.parametrize("name", INVALID)
def test_rows_that_contradict_the_schema_are_a_sentence_when_they_are_checked(name: str, path: Path) -> None:
    build, found = INVALID[name]
    build(path)
    opened = Manifest.open(path)
    assert found in sentence(path, opened.validate)


@pytest.mark.parametrize("column", ["id", "detail"])
def test_a_text_that_is_none_is_a_sentence_when_it_is_read(column: str, path: Path) -> None:
    with_column(column, pa.array([b"a", b"\xff"]).view(pa.string()))(path)
    for action in (Manifest.open(path).read, lambda: list(Manifest.open(path).batches([column]))):
        assert "UTF8" in sentence(path, action)


def test_labels_out_of_range_are_a_sentence_when_they_are_read(path: Path) -> None:
    with_column("class_net", pa.array([0, 3, 5], pa.int16()))(path)
    assert "'class_net'" in sentence(path, lambda: Manifest.open(path).labels("class_net"))
    assert Manifest.open(path).labels("class_clean").present.all()


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("a./\\#1:C\0\n~ü"), max_size=7))
def test_the_check_and_the_reader_of_images_refuse_the_same_references(reference: str) -> None:
    """Two places decide what a safe reference is: a vectorised one for all rows, and the one that opens files."""
    from noisyfer.manifest import _UNSAFE_IMAGE

    refused = pa.compute.match_substring_regex(pa.array([reference]), _UNSAFE_IMAGE)[0].as_py()
    assert refused == (canonical(split_reference(reference)[0]) is None)
