"""Exported label sets: what is in the csv, and that it comes back as it was."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from import_files import column, faces, imported
from manifest_rows import HEADER, rows, sharded
from messages import sentence
from noisyfer.cli import main
from noisyfer.core.errors import UserError
from noisyfer.manifest import LabelSet, Manifest, Task, write_manifest
from noisyfer.relabel.exporting import export_labels

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_class_names_numbers_and_empty_cells(manifest: Manifest, tmp_path: Path) -> None:
    assert export_labels(manifest, tmp_path / "l.csv") == 20
    found = read(tmp_path / "l.csv")
    assert list(found[0]) == ["id", "split", "image", "class_clean", "class_net", "valence_net", "arousal_net"]
    assert list(found[0].values()) == ["train_00000", "train", "train/0.png", "cat", "", "", ""]
    assert list(found[7].values()) == ["train_00007", "val", "train/7.png", "dog", "dog", "0.875", "-0.5"]


def test_chosen_sets_and_splits_of_a_folder_of_shards(tmp_path: Path) -> None:
    manifest = sharded(tmp_path / "m")
    assert export_labels(manifest.path, tmp_path / "l.csv", labels=["va_net", "class_clean"], splits=["val"]) == 5
    found = read(tmp_path / "l.csv")
    assert [row["id"] for row in found] == [f"train_{number:05d}" for number in (3, 7, 11, 15, 19)]
    assert list(found[0])[3:] == ["valence_net", "arousal_net", "class_clean"]


def test_the_hubs_metadata_csv(manifest: Manifest, tmp_path: Path) -> None:
    export_labels(manifest, tmp_path, format="imagefolder", labels=["class_clean"])
    found = read(tmp_path / "metadata.csv")
    assert found[1] == {"file_name": "train/1.png", "split": "test", "class_clean": "dog"}
    with pytest.raises(UserError, match=r"'metadata\.csv' only") as error:
        export_labels(manifest, tmp_path / "labels.csv", format="imagefolder")
    sentence(error)
    dashed = faces(tmp_path / "d.parquet", ["a"], ["-x/a.jpg"])
    export_labels(dashed, tmp_path / "metadata.csv", format="imagefolder", overwrite=True)
    assert read(tmp_path / "metadata.csv")[0]["file_name"] == "./-x/a.jpg"
    packed = faces(tmp_path / "p.parquet", ["a"], ["a.parquet#0"])
    with pytest.raises(UserError, match="one file an image") as error:
        export_labels(packed, tmp_path / "sub" / "metadata.csv", format="imagefolder")
    sentence(error)
    assert not (tmp_path / "sub" / "metadata.csv").exists()


def test_what_does_not_exist_or_does_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "l.csv"
    for options, words in (
        ({"labels": ["class_cleen"]}, "Did you mean 'class_clean'"),
        ({"splits": ["training"]}, "Did you mean 'train'"),
        ({"format": "xlsx"}, "Known: csv, imagefolder"),
    ):
        with pytest.raises(UserError, match=words):
            export_labels(manifest, out, **options)
    out.write_text("mine")
    with pytest.raises(UserError, match="is there already") as error:
        export_labels(manifest, out)
    sentence(error)
    assert out.read_text() == "mine"
    export_labels(manifest, out, overwrite=True)
    assert len(read(out)) == 20


def test_cells_are_no_formulas(tmp_path: Path) -> None:
    ids = ["=1+1", "+a", "-b", "@c", "\td", "'=e", "plain"]
    header = HEADER.__class__(HEADER.dataset, {"class": Task("class", "categorical", ("-x", "=y"))}, {})
    sets = {"class_a": LabelSet.categorical("class", "a", "human", {})}
    header = header.__class__(header.dataset, header.tasks, sets)
    manifest = faces(tmp_path / "m.parquet", ids, [f"{name}.jpg" for name in ids], header=header)
    export_labels(manifest, tmp_path / "l.csv")
    for row in read(tmp_path / "l.csv"):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())
    report = imported(manifest, tmp_path / "l.csv", columns={"id": "id", "class": "class_a"})
    assert column(report.manifest, "class_me") == column(manifest, "class_a")


SOME_ID = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]) | st.sampled_from(",\"'=+-@\n"), max_size=8
)
LABELS = st.tuples(st.none() | st.integers(0, 2), st.none() | st.tuples(*[st.floats(-1, 1, width=32)] * 2))


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(SOME_ID.map(lambda name: name.strip() or "x"), LABELS, min_size=1, max_size=6))
def test_what_was_exported_comes_back(
    tmp_path_factory: pytest.TempPathFactory, samples: dict[str, tuple[int | None, tuple[float, float] | None]]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    table = rows(len(samples))
    classes = [label for label, _ in samples.values()]
    va = [pair for _, pair in samples.values()]
    columns = table.to_pydict()
    columns |= {"id": list(samples), "class_clean": classes}
    columns |= {"valence_net": [pair and pair[0] for pair in va], "arousal_net": [pair and pair[1] for pair in va]}
    manifest = write_manifest(folder / "m.parquet", HEADER, [table.from_pydict(columns, schema=table.schema)])
    export_labels(manifest, folder / "l.csv")
    wanted = {"id": "id", "class": "class_clean", "valence": "valence_net", "arousal": "arousal_net"}
    if not any(label is not None for label in classes) and not any(va):
        with pytest.raises(UserError, match="nothing to add"):
            imported(manifest, folder / "l.csv", columns=wanted)
        return
    found = imported(manifest, folder / "l.csv", columns=wanted).manifest
    for old, new, there in (
        ("class_clean", "class_me", any(label is not None for label in classes)),
        ("valence_net", "valence_me", any(va)),
        ("arousal_net", "arousal_me", any(va)),
    ):
        if there:
            assert column(found, new) == column(manifest, old)


def test_the_command(here: Path) -> None:
    write_manifest(here / "m.parquet", HEADER, [rows(20)])
    done = CliRunner().invoke(
        main, ["export-labels", "m.parquet", "--out", "l.csv", "--labels", "class_clean", "--split", "test,val"]
    )
    assert done.exit_code == 0, done.output
    assert done.output == "Written: 10 rows to l.csv\n"
    done = CliRunner().invoke(main, ["export-labels", "m.parquet", "--out", ".", "--format", "imagefolder"])
    assert "Written: 20 rows to metadata.csv" in done.output
