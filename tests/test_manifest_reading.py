"""Views and batches have the chosen rows and columns, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifest_rows import HEADER, rows, sentence, sharded
from noisyfer.core.errors import UserError
from noisyfer.core.schema import arrow_schema, sample_columns
from noisyfer.manifest import Manifest, write_manifest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


def test_a_view_has_the_chosen_splits_and_label_sets_only(manifest: Manifest) -> None:
    view = manifest.select(splits=["val", "test"], label_sets=["va_net"])
    expected = [row for row in rows(20).to_pylist() if row["split"] in ("val", "test")]
    assert view.rows == len(expected) == 10
    read = view.read()
    assert read.column_names == [*sample_columns(faces=False), "valence_net", "arousal_net"]
    assert read["id"].to_pylist() == [row["id"] for row in expected]
    labels = view.labels("va_net")
    assert labels.present.tolist() == [None not in (row["valence_net"], row["arousal_net"]) for row in expected]
    assert list(view.header.label_sets) == ["va_net"]
    assert manifest.rows == 20


def test_a_view_without_rows_is_empty_and_keeps_its_types(manifest: Manifest) -> None:
    assert manifest.select(splits=[]).rows == 0
    empty = manifest.select(splits=["train"]).select(splits=["test"])
    assert empty.rows == 0
    assert empty.read().schema == arrow_schema(HEADER)
    for name in HEADER.label_sets:
        labels = empty.labels(name)
        assert len(labels.values) == len(labels.present) == 0
    assert empty.labels("va_net").values.shape == (0, 2)
    empty.validate()
    assert str(empty.to_pandas()["class_net"].dtype) == "Int16"


def test_a_view_of_a_view_never_grows(manifest: Manifest) -> None:
    view = manifest.select(splits=["train", "val"], label_sets=["class_clean"])
    assert view.select(splits=["val", "test"]).splits == ("val",)
    assert view.select().splits == ("train", "val")
    with pytest.raises(UserError, match="no label set"):
        view.select(label_sets=["class_net"])


def test_labels_are_read_in_the_order_of_a_views_sets(manifest: Manifest) -> None:
    view = manifest.select(label_sets=["va_net", "class_clean"])
    assert view.read().column_names[5:] == ["valence_net", "arousal_net", "class_clean"]


@pytest.mark.parametrize("folder", [False, True])
def test_batches_are_bounded_and_together_all_rows(tmp_path: Path, folder: bool) -> None:
    opened = sharded(tmp_path / "m") if folder else write_manifest(tmp_path / "m", HEADER, [rows(20)])
    for view in (opened, opened.select(["train"]), opened.select(["train"]).select(label_sets=[])):
        for batch_rows in (1, 3, 7, 1000):
            batches = list(view.batches(batch_rows=batch_rows))
            assert all(0 < batch.num_rows <= batch_rows for batch in batches)
            ids = [found for batch in batches for found in batch.column("id").to_pylist()]
            assert ids == view.read(["id"])["id"].to_pylist()
    columns = ["class_clean", "id"]
    assert all(batch.schema.names == columns for batch in opened.select(["val"]).batches(columns))


def test_an_unknown_name_is_answered_with_all_names_and_the_nearest(manifest: Manifest) -> None:
    for action in (manifest.label_set, manifest.labels, lambda name: manifest.select(label_sets=[name])):
        text = sentence(manifest.path, lambda action=action: action("class_nett"))
        assert "Did you mean 'class_net'? Known: class_clean, class_net, va_net." in text
    with pytest.raises(UserError, match=r"Did you mean 'train'\? Known: test, train, val\."):
        manifest.select(splits=["trian"])
    for read in (manifest.read, manifest.to_pandas, lambda names: list(manifest.batches(names))):
        text = sentence(manifest.path, lambda read=read: read(["class_cleen"]))
        assert "Did you mean 'class_clean'?" in text
        assert "arousal_net, class_clean" in text
