"""Converted manifests, read by the libraries they are for; and names that lead nowhere."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from messages import sentence
from noisyfer import api
from noisyfer.cli import main
from noisyfer.core.errors import UserError
from noisyfer.manifest import Dataset, Header, LabelSet, Manifest, Task, write_manifest
from noisyfer.relabel import convert_formats
from noisyfer.relabel.convert import convert
from noisyfer.relabel.convert_pictures import Pictures
from PIL import Image

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

CLASSES = ("=cat", "../dog")
IDS = ["a/b.jpg", "../../etc/passwd", "A_B.jpg", "=1+1", "x" * 300, "dotted.name.", "no face"]
SETS = {
    "class_human": LabelSet.categorical("class", "human", "human", {}),
    "class_net": LabelSet.categorical("class", "net", "model", {}, probs=True),
    "va_net": LabelSet.valence_arousal("net", "model", {}),
}
HEADER = Header(
    Dataset("animals", root="photos"),
    {"class": Task("class", "categorical", CLASSES), "va": Task("va", "continuous")},
    SETS,
    faces=True,
)


def picture(number: int) -> np.ndarray[Any, Any]:
    return np.full((20 + number, 30, 3), 30 * number, np.uint8)


def columns() -> dict[str, Any]:
    count = len(IDS)
    boxes = {f"face_{side}": [None, 2.0 + place, *[None] * (count - 2)] for place, side in enumerate(SIDES)}
    empty = ("face_score", "eye_left_x", "eye_left_y", "eye_right_x", "eye_right_y", "face_image")
    return {
        "id": IDS,
        "split": ["train", "train", "val", "test", "test", "train", "train"],
        "image": [f"{number}.{'jpg' if number == 1 else 'bmp' if number == 2 else 'png'}" for number in range(count)],
        "status": ["ok"] * (count - 1) + ["no_face"],
        "detail": [None] * count,
        **boxes,
        **{name: [None] * count for name in empty},
        "class_human": [0, 1, None, 0, 1, None, 1],
        "class_net": [1, None, 0, 0, 0, 0, None],
        "class_net_probs": [[0.25, 0.75], None, *[[1.0, 0.0]] * 4, None],
        "valence_net": [0.5, None, -1.0, 0.0, 0.0, 0.0, None],
        "arousal_net": [0.25, None, 1.0, None, 0.0, 0.0, None],
    }


SIDES = ("left", "top", "right", "bottom")
PLAIN = ["a_b_jpg", "etc_passwd", "A_B_jpg", "1_1", "x" * 80, "dotted_name"]
KEYS = [f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:16]}" for plain, name in zip(PLAIN, IDS, strict=False)]


@pytest.fixture
def animals(here: Path) -> Manifest:
    """Seven samples with strange names, one of them without a usable picture."""
    (here / "photos").mkdir()
    made = columns()
    for number, name in enumerate(made["image"]):
        Image.fromarray(picture(number)).save(here / "photos" / name)
    kinds = {"face_image": pa.string(), "class_human": pa.int16(), "class_net": pa.int16()}
    floats = [name for name in made if name.startswith(("face_", "eye_", "valence", "arousal")) and name not in kinds]
    kinds |= dict.fromkeys(floats, pa.float32()) | {"class_net_probs": pa.list_(pa.float32()), "detail": pa.string()}
    table = pa.table({name: pa.array(values, kinds.get(name)) for name, values in made.items()})
    return write_manifest(here / "animals.parquet", HEADER, [table])


def keys(path: Path, ids: list[str]) -> list[str]:
    """The names of samples with these ids, all of them of one picture."""
    Image.fromarray(picture(0)).save(path.parent / "one.png")
    count = len(ids)
    rows = {"id": ids, "split": ["train"] * count, "image": ["one.png"] * count, "status": ["ok"] * count}
    table = pa.table(
        {
            **{name: pa.array(values, pa.string()) for name, values in rows.items()},
            "detail": pa.nulls(count, pa.string()),
        }
    )
    manifest = write_manifest(path, Header(Dataset("ones", root="."), {}, {}), [table])
    return [record.key for record in Pictures(manifest, path.parent, None)]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_hubs_parquet_in_datasets_duckdb_and_pandas(animals: Manifest, here: Path) -> None:
    duckdb, datasets = pytest.importorskip("duckdb"), pytest.importorskip("datasets")
    done = CliRunner().invoke(main, ["convert", "animals.parquet", "--to", "hf", "--out", "hub"])
    assert done.exit_code == 0, done.output
    assert "Written: 6 samples to hub\n1 samples without a usable picture were left out.\n" in done.output
    names = ("train", "validation", "test")
    assert files(here / "hub") == {f"data/{name}-00000-of-00001.parquet" for name in names}
    loaded = datasets.load_dataset(str(here / "hub"), cache_dir=str(here / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 3, "validation": 1, "test": 2}
    train = loaded["train"]
    assert train["id"] == [IDS[0], IDS[1], IDS[5]]
    assert train.features["class_human"].names == list(CLASSES)
    assert train["class_human"] == [0, 1, None]
    assert train["class_net_probs"][:2] == [[0.25, 0.75], None]
    assert np.array_equal(np.array(train[0]["image"]), picture(0))
    glob = str(here / "hub" / "data" / "*.parquet")
    found = duckdb.sql(f"select class_net, count(*) from '{glob}' group by all order by all").fetchall()
    assert found == [(0, 4), (1, 1), (None, 1)]
    frame = pd.read_parquet(here / "hub" / "data" / "test-00000-of-00001.parquet")
    assert frame["id"].tolist() == IDS[3:5]
    assert np.array_equal(np.array(Image.open(io.BytesIO(frame["image"][0]["bytes"]))), picture(3))


def test_an_image_folder_in_datasets(animals: Manifest, here: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = convert(animals, "imagefolder", "folder", labels=["class_human", "va_net"])
    assert (made.rows, made.left_out) == (6, 1)
    assert files(here / "folder") == {
        *(f"{split}/metadata.parquet" for split in ("train", "val", "test")),
        *(f"train/{key}" for key in (f"{KEYS[0]}.png", f"{KEYS[1]}.jpg", f"{KEYS[5]}.png")),
        *(f"val/{KEYS[2]}.png", f"test/{KEYS[3]}.png", f"test/{KEYS[4]}.png"),
    }
    # a JPEG is taken as it is, a BMP becomes PNG
    assert (here / "folder" / "train" / f"{KEYS[1]}.jpg").read_bytes() == (here / "photos" / "1.jpg").read_bytes()
    assert np.array_equal(np.array(Image.open(here / "folder" / "val" / f"{KEYS[2]}.png")), picture(2))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(here / "folder"), cache_dir=str(here / "cache"))
    train = loaded["train"]
    assert train["class_human"] == ["=cat", "../dog", None]
    assert train["valence_net"] == [0.5, None, 0.0]
    assert loaded["val" if "val" in loaded else "validation"]["class_human"] == [None]
    assert np.array_equal(np.array(train[0]["image"]), picture(0))


def test_webdataset_reads_the_tars(animals: Manifest, here: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    convert(animals, "webdataset", "tars")
    assert files(here / "tars") == {"classes.json", *(f"{split}-000000.tar" for split in ("train", "val", "test"))}
    assert json.loads((here / "tars" / "classes.json").read_text()) == {"class": list(CLASSES)}
    rows = list(webdataset.WebDataset(str(here / "tars" / "train-000000.tar"), shardshuffle=False).decode("rgb8"))
    assert [row["__key__"] for row in rows] == [KEYS[0], KEYS[1], KEYS[5]]
    assert np.array_equal(rows[0]["png"], picture(0))
    assert rows[0]["json"]["id"] == IDS[0]
    assert rows[0]["json"]["labels"] == {
        "class_human": {"id": 0, "class": "=cat"},
        "class_net": {"id": 1, "class": "../dog"},
        "va_net": {"valence": 0.5, "arousal": 0.25},
    }
    assert rows[1]["json"]["labels"] == {"class_human": {"id": 1, "class": "../dog"}, "class_net": None, "va_net": None}


def test_coco_has_a_category_a_class_and_an_annotation_a_label(animals: Manifest, here: Path) -> None:
    convert(animals, "coco", "coco")
    document = json.loads((here / "coco" / "annotations" / "train.json").read_text())
    assert document["categories"] == [
        {"id": 1, "name": "=cat", "supercategory": "class"},
        {"id": 2, "name": "../dog", "supercategory": "class"},
    ]
    assert [(each["file_name"], each["height"], each["sample"]) for each in document["images"]] == [
        (f"images/train/{KEYS[0]}.png", 20, IDS[0]),
        (f"images/train/{KEYS[1]}.jpg", 21, IDS[1]),
        (f"images/train/{KEYS[5]}.png", 25, IDS[5]),
    ]
    assert document["images"][0]["affect"] == {"va_net": {"valence": 0.5, "arousal": 0.25}}
    told = [(each["image_id"], each["category_id"], each["label_set"]) for each in document["annotations"]]
    numbers = [each["id"] for each in document["images"]]
    assert told == [
        (numbers[0], 1, "class_human"),
        (numbers[0], 2, "class_net"),
        (numbers[1], 2, "class_human"),
        (numbers[2], 1, "class_net"),
    ]
    assert [each["id"] for each in document["annotations"]] == [1, 2, 3, 4]
    assert document["annotations"][0]["bbox"] == [0, 0, 30, 20]
    assert document["annotations"][2]["bbox"] == [2, 3, 2, 2]  # the face's
    for split in ("train", "val", "test"):
        for each in json.loads((here / "coco" / "annotations" / f"{split}.json").read_text())["images"]:
            assert (here / "coco" / each["file_name"]).is_file()


def test_csv_is_the_one_of_export_labels(animals: Manifest, here: Path) -> None:
    assert api.convert("animals.parquet", "csv", "a.csv", labels="class_human", split="train,test").rows == 6
    api_csv = (here / "a.csv").read_bytes()
    done = CliRunner().invoke(
        main,
        ["export-labels", "animals.parquet", "--labels", "class_human", "--split", "train,test", "--out", "b.csv"],
    )
    assert done.exit_code == 0, done.output
    assert api_csv == (here / "b.csv").read_bytes()


@pytest.mark.parametrize("to", ["imagefolder", "hf", "webdataset", "coco"])
def test_a_picture_that_cannot_be_read_leaves_nothing(to: str, animals: Manifest, here: Path) -> None:
    before = files(here)
    for spoil, words in (
        (lambda file: file.write_bytes(b"none"), "is no image"),
        (lambda file: file.unlink(), "no such file"),
        (lambda file: file.symlink_to("/etc/hostname"), "outside the dataset's root"),
    ):
        file = here / "photos" / "5.png"
        spoil(file)
        with pytest.raises(UserError, match=words) as error:
            convert(animals, to, "out")
        sentence(error)
        assert files(here) | {"photos/5.png"} == before
        assert not (here / "out").exists()


def test_what_is_there_stays_and_unknown_names_are_answered(animals: Manifest, here: Path) -> None:
    (here / "mine").mkdir()
    for to, out, more, words in (
        ("hf", "mine", {}, "mine is there already"),
        ("csv", "animals.parquet", {}, "is there already"),
        ("hub", "out", {}, "no format to convert to named 'hub'.*Known: coco, csv, hf, imagefolder, webdataset"),
        ("hf", "out", {"labels": ["class_humn"]}, "Did you mean 'class_human'"),
        ("hf", "out", {"splits": ["tran"]}, "Did you mean 'train'"),
    ):
        with pytest.raises(UserError, match=words) as error:
            convert(animals, to, out, **more)
        sentence(error)
    assert not (here / "out").exists()


def test_a_reference_out_of_the_root_is_not_followed(animals: Manifest, here: Path) -> None:
    (here / "photos" / "0.png").rename(here / "0.png")
    made = columns()
    made["image"][0] = "../0.png"
    table = animals.read()
    table = table.set_column(table.column_names.index("image"), "image", pa.array(made["image"]))
    hostile = write_manifest(here / "h.parquet", HEADER, [table])
    with pytest.raises(UserError, match="could lead out of the dataset's root"):
        convert(hostile, "webdataset", "out")
    assert not (here / "out").exists()


def test_the_same_manifest_gives_the_same_tars(animals: Manifest, here: Path) -> None:
    for name in ("one", "two"):
        convert(animals, "webdataset", name)
    assert (here / "one" / "train-000000.tar").read_bytes() == (here / "two" / "train-000000.tar").read_bytes()


def test_ids_that_are_names_stay_and_others_are_marked_whatever_stands_beside_them(here: Path) -> None:
    clean = ["train_00017", "IMG-1", "a", "sample", "x" * 80]
    assert keys(here / "clean.parquet", clean) == clean
    photos = [f"写真/{chr(0x4E00 + number)}/顔.jpg" for number in range(300)]
    ids = ["写", "a/b", "a_b", "_a_b", *photos]
    made = keys(here / "m.parquet", ids)
    assert len({key.casefold() for key in made}) == len(ids)
    assert made[2] == "a_b"
    assert all(re.fullmatch("jpg-[0-9a-f]{16}", key) for key in made[4:])
    assert made[1] == "a_b-c14cddc033f64b9d"
    assert made[0].startswith("sample-")
    assert keys(here / "reversed.parquet", ids[::-1]) == made[::-1]  # which they were not when numbers were counted up


def test_no_two_ids_have_one_name_where_case_does_not_count(here: Path) -> None:
    (marked,) = keys(here / "one.parquet", ["a/b"])
    ids = ["Ab", "aB", "ab", "c", "a/b", "A/b", marked, marked.upper()]
    made = keys(here / "m.parquet", ids)
    assert len({key.casefold() for key in made}) == len(ids)
    assert [made[2], made[3], made[4]] == ["ab", "c", marked]


@pytest.mark.parametrize("kind", [pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.string_view()], ids=str)
def test_ids_may_be_stored_as_other_tools_store_texts(kind: pa.DataType, here: Path) -> None:
    ids = ["Ab", "ab", "c/d"]
    made = keys(here / "m.parquet", ids)
    table = pq.read_table(here / "m.parquet")
    place = table.column_names.index("id")
    pq.write_table(table.set_column(place, "id", table["id"].cast(kind)), here / "other.parquet")
    other = Manifest.open(here / "other.parquet")
    assert [record.key for record in Pictures(other, here, None)] == made
    assert made[1] == "ab"


def test_an_id_that_comes_twice_is_refused(here: Path) -> None:
    with pytest.raises(UserError, match="1 ids occur more than once") as error:
        keys(here / "m.parquet", ["a/b", "c", "a/b"])
    sentence(error)


def test_nothing_is_held_of_tars_that_are_full(animals: Manifest, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert_formats, "SHARD_BYTES", 1)
    made: list[weakref.ref[tarfile.TarFile]] = []
    held: list[int] = []
    opened = tarfile.open

    def noted(*args: Any, **options: Any) -> tarfile.TarFile:
        archive = opened(*args, **options)
        made.append(weakref.ref(archive))
        return archive

    def look(*_: int) -> None:
        archives = [archive for reference in made if (archive := reference()) is not None]
        held.append(len(archives))
        assert not any(archive.getmembers() for archive in archives)

    monkeypatch.setattr(tarfile, "open", noted)
    convert(animals, "webdataset", "tars", progress=look)
    assert (len(made), max(held)) == (6, 3)
    monkeypatch.undo()
    names = ("train-000000", "train-000001", "train-000002", "val-000000", "test-000000", "test-000001")
    assert files(here / "tars") == {"classes.json", *(f"{name}.tar" for name in names)}
    with tarfile.open(here / "tars" / "train-000002.tar") as archive:
        assert archive.getnames() == [f"{KEYS[5]}.png", f"{KEYS[5]}.json"]
