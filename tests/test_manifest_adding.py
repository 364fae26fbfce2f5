"""A label set is added beside the old ones, which stay as they were, or is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from manifest_rows import FLIP, HEADER, contents, rows, sharded
from noisyfer.manifest import Dataset, LabelSet, Manifest, ManifestError, write_manifest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.mark.parametrize("folder", [False, True])
def test_an_added_label_set_is_there_in_order_and_the_old_ones_are_bit_for_bit_the_same(
    tmp_path: Path, folder: bool
) -> None:
    opened = sharded(tmp_path / "m") if folder else write_manifest(tmp_path / "m", HEADER, [rows(20)])
    before, fingerprint = opened.read(), opened.fingerprint
    labels = [None if number % 6 == 0 else number % 3 for number in range(20)]
    added = opened.with_label_set(FLIP, {"label": labels}, tmp_path / "n")
    assert added.path.is_dir() == folder
    assert added.header.parents == ({"file": "m", "sha256": fingerprint},)
    assert added.header.label_sets == {**HEADER.label_sets, "class_flip20": FLIP}
    assert added.read(["class_flip20"])["class_flip20"].to_pylist() == labels
    assert added.read(before.column_names).equals(before)
    assert opened.fingerprint == Manifest.open(tmp_path / "m").fingerprint == fingerprint
    added.validate()


@pytest.mark.parametrize("folder", [False, True])
def test_a_label_set_can_be_added_in_place(tmp_path: Path, folder: bool) -> None:
    opened = sharded(tmp_path / "m") if folder else write_manifest(tmp_path / "m", HEADER, [rows(20)])
    before, fingerprint = opened.read(), opened.fingerprint
    added = opened.with_label_set(FLIP, {"label": np.arange(20) % 3}, tmp_path / "m")
    assert Manifest.open(tmp_path / "m").header.parents == ({"file": "m", "sha256": fingerprint},)
    assert added.read(before.column_names).equals(before)
    assert added.labels("class_flip20").values.tolist() == [number % 3 for number in range(20)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    "values",
    [
        [None, 2, 1, 0],
        np.array([np.nan, 2, 1, 0]),
        np.ma.MaskedArray([9, 2, 1, 0], mask=[True, False, False, False]),
        pd.Series([None, 2, 1, 0], dtype="Int16"),
        pd.Series([None, 2, 1, 0]),
        pa.array([None, 2, 1, 0]),
        pa.chunked_array([[None, 2], [1, 0]]),
    ],
    ids=["list", "NaN", "masked", "pandas", "pandas float", "arrow", "chunks"],
)
def test_labels_come_from_anything_that_arrow_converts(path: Path, values: Any) -> None:
    added = write_manifest(path, HEADER, [rows(4)]).with_label_set(FLIP, {"label": values}, path)
    assert added.read(["class_flip20"])["class_flip20"].to_pylist() == [None, 2, 1, 0]


@pytest.mark.parametrize("kind", [np.float32, np.float64, list])
def test_probabilities_come_as_a_matrix_or_as_rows(path: Path, kind: Any) -> None:
    matrix = np.array([[0.5, 0.25, 0.25], [0, 0, 1]])
    probs = [*matrix.tolist(), None] if kind is list else matrix.astype(kind)
    labels = [0, 2, None] if kind is list else [0, 2]
    label_set = LabelSet.categorical("class", "new", "model", {}, probs=True)
    opened = write_manifest(path, HEADER, [rows(len(labels))])
    added = opened.with_label_set(label_set, {"probs": probs, "label": labels}, path)
    assert added.read(["class_new_probs"])["class_new_probs"].to_pylist()[:2] == matrix.tolist()
    added.validate()


def test_a_view_becomes_a_manifest_of_its_own_rows(manifest: Manifest, tmp_path: Path) -> None:
    view = manifest.select(splits=["val"], label_sets=["va_net"])
    added = view.with_label_set(FLIP, {"label": [1] * 5}, tmp_path / "n.parquet")
    assert added.rows == 5
    assert list(added.header.label_sets) == ["va_net", "class_flip20"]
    assert added.read(["id"])["id"].to_pylist() == view.read(["id"])["id"].to_pylist()


PROBS = LabelSet.categorical("class", "new", "model", {}, probs=True)
MOOD = LabelSet.valence_arousal("new", "model", {})
THIRD = [1 / 3] * 3


@pytest.mark.parametrize(
    ("label_set", "columns", "found"),
    [
        (FLIP, {"label": [0] * 19}, "19 entries"),
        (FLIP, {"label": [0] * 21}, "21 entries"),
        (FLIP, {"label": [3] * 20}, "20 labels out of range, such as 3; class ids 0 to 2"),
        (FLIP, {"label": [-1] * 20}, "such as -1"),
        (FLIP, {"label": [70000] * 20}, "int16"),
        (FLIP, {"label": [0.5] * 20}, "int16"),
        (FLIP, {"label": ["cat"] * 20}, "int16"),
        (FLIP, {"label": [object()] * 20}, "int16"),
        (FLIP, {"label": 5}, "int16"),
        (FLIP, {}, "nothing"),
        (FLIP, {"label": [0] * 20, "probs": [THIRD] * 20}, "label, probs"),
        (PROBS, {"label": [0] * 20}, "label, probs was expected"),
        (PROBS, {"label": [0] * 20, "probs": [[0.5, 0.5]] * 20}, "rows of 2 probabilities; 3 were expected"),
        (PROBS, {"label": [0] * 20, "probs": np.ones((20, 3))}, "sum to 1"),
        (PROBS, {"label": [0] * 20, "probs": [[1.5, -0.5, 0]] * 20}, "in [0, 1]"),
        (PROBS, {"label": [0] * 20, "probs": [[1, 0, float("nan")]] * 20}, "in [0, 1]"),
        (MOOD, {"valence": [0] * 20, "arousal": [1.01] * 20}, "[-1, 1]"),
        (MOOD, {"valence": [0] * 20, "arousal": [float("-inf")] * 20}, "[-1, 1]"),
        (MOOD, {"valence": [1e39] * 20, "arousal": [0] * 20}, "[-1, 1]"),
        (LabelSet.categorical("class", "clean", "human", {}), {"label": [0] * 20}, "'class_clean' already"),
        (LabelSet.categorical("mood", "x", "human", {}), {"label": [0] * 20}, "'mood'"),
        (LabelSet.categorical("va", "x", "human", {}), {"label": [0] * 20}, "valence"),
        (LabelSet("new", "class", "x", "human", {"label": "class_net"}), {"label": [0] * 20}, "'class_net'"),
        (LabelSet("new", "class", "x", "human", {"label": "id"}), {"label": [0] * 20}, "every sample"),
        (LabelSet("new", "class", "x", "human", {"label": ""}), {"label": [0] * 20}, "empty"),
        (LabelSet("new", "class", "", "human", {"label": "x"}), {"label": [0] * 20}, "empty"),
        (LabelSet("new", "class", "x", "robot", {"label": "x"}), {"label": [0] * 20}, "robot"),
        (LabelSet("né", "class", "x", "human", {"label": "x"}), {"label": [0] * 20}, "letters, digits"),
        (LabelSet.categorical("class", "x", "model", {"rate": float("nan")}), {"label": [0] * 20}, "JSON"),
        (LabelSet.categorical("class", "x", "model", {"rate": np.float32(1)}), {"label": [0] * 20}, "JSON"),
        (LabelSet.categorical("class", "x", "model", {"name": "\ud800"}), {"label": [0] * 20}, "JSON"),
    ],
)
def test_a_label_set_that_does_not_fit_is_refused_and_nothing_is_written(
    manifest: Manifest, label_set: LabelSet, columns: dict[str, Any], found: str
) -> None:
    before = contents(manifest.path.parent)
    with pytest.raises(ManifestError) as error:
        manifest.with_label_set(label_set, columns, manifest.path.parent / "n.parquet")
    assert found in str(error.value)
    assert str(error.value).endswith(".")
    assert contents(manifest.path.parent) == before


def test_the_images_are_found_from_the_new_place_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "animals").mkdir()
    first = write_manifest(tmp_path / "manifests" / "m.parquet", HEADER, [rows(2)])
    assert first.root.resolve() == tmp_path / "animals"
    monkeypatch.chdir(tmp_path)
    for source in (first, Manifest.open("manifests/m.parquet")):
        for out in (tmp_path / "n.parquet", Path("deep/er/n.parquet"), tmp_path / "animals" / "n.parquet", "n.parquet"):
            moved = source.with_label_set(FLIP, {"label": [0, 1]}, out)
            assert moved.root.resolve() == tmp_path / "animals"
            assert not Path(moved.header.dataset.root).is_absolute()
    kept = first.with_label_set(FLIP, {"label": [0, 1]}, tmp_path / "manifests" / "n.parquet")
    assert kept.header.dataset.root == "../animals"
    for root in ("", str(tmp_path / "animals")):
        header = replace(HEADER, dataset=Dataset("animals", root))
        other = write_manifest(tmp_path / "o.parquet", header, [rows(2)])
        assert other.with_label_set(FLIP, {"label": [0, 1]}, "deep/o.parquet").header.dataset.root == root
