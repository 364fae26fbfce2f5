"""Any folder of images, with and without labels."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.images.references import canonical
from noisyfer.relabel.sources import EXPRESSIONS, Sample
from noisyfer.relabel.sources.walk import safe_name, walk
from source_files import as_manifest, by_id, open_source, touch, write


def labels_of(found: dict[str, Sample]) -> dict[str, str | None]:
    ids = {name: sample.values.get("expression_human") for name, sample in found.items()}
    return {name: None if index is None else EXPRESSIONS[index] for name, index in ids.items()}


def test_images_are_found_at_any_depth_in_a_fixed_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPG", "b/c/d/1.png", "a.webp", "z.jpg", "b/1.jpeg", ".hidden.jpg", ".git/x.jpg", "b/notes.txt")
    source = open_source("folder", tmp_path)
    assert list(by_id(source)) == ["a.webp", "z.jpg", "b/1.jpeg", "b/2.JPG", "b/c/d/1.png"]
    assert source.tasks() == source.label_sets() == {}
    assert {sample.split for sample in source.samples()} == {"train"}
    as_manifest(source, tmp_path)


def test_the_walk_goes_deeper_than_python_recurses(tmp_path: Path) -> None:
    deep = "/".join(["d"] * 1100)
    here = os.getcwd()  # noqa: PTH109
    os.chdir(tmp_path)
    try:
        for _ in range(1100):
            os.mkdir("d")  # noqa: PTH102
            os.chdir("d")
        Path("x.jpg").touch()
    finally:
        os.chdir(here)
    try:
        assert [found.path for found in walk(tmp_path)] == [f"{deep}/x.jpg"]
    finally:  # Python's own removal of folders recurses
        subprocess.run(["rm", "-r", str(tmp_path / "d")], check=True)


def test_folders_named_like_expressions_are_classes(tmp_path: Path) -> None:
    touch(tmp_path, "Happiness/a.jpg", "angry/deep/b.jpg", "joy/c.jpg", "contempt/d.jpg", "misc/e.jpg", "f.jpg")
    source = open_source("folder", tmp_path)
    found = by_id(source)
    expected = {"Happiness/a.jpg": "happy", "angry/deep/b.jpg": "anger", "joy/c.jpg": "happy"}
    assert labels_of(found) == {**dict.fromkeys(found), **expected}
    assert found["misc/e.jpg"].status == "bad_row"
    assert found["misc/e.jpg"].detail == "its folder 'misc' is no expression, and those beside it are"
    assert {found[name].status for name in ("contempt/d.jpg", "f.jpg")} == {"ok"}
    assert open_source("folder", tmp_path, contempt=True).tasks()["expression"].classes[7] == "contempt"
    assert by_id(open_source("folder", tmp_path, contempt=True))["contempt/d.jpg"].values == {"expression_human": 7}
    as_manifest(source, tmp_path)


def test_folders_named_like_splits_are_splits_and_classes_lie_below(tmp_path: Path) -> None:
    touch(tmp_path, "train/happy/a.jpg", "Valid/sad/b.jpg", "test/neutral/c.jpg", "test/d.jpg")
    found = by_id(open_source("folder", tmp_path))
    assert {name: sample.split for name, sample in found.items()} == {
        "train/happy/a.jpg": "train",
        "Valid/sad/b.jpg": "val",
        "test/neutral/c.jpg": "test",
        "test/d.jpg": "test",
    }
    assert labels_of(found) == {
        "train/happy/a.jpg": "happy",
        "Valid/sad/b.jpg": "sad",
        "test/neutral/c.jpg": "neutral",
        "test/d.jpg": None,
    }


@pytest.mark.parametrize(
    ("paths", "labelled", "splits"),
    [
        (["wrapper/inner/happy/a.jpg", "wrapper/inner/sad/b.jpg"], 2, {"train"}),
        (["wrapper/test/happy/a.jpg", "wrapper/test/sad/b.jpg"], 2, {"test"}),
        (["happy/a.jpg", "misc/b.jpg"], 0, {"train"}),
        (["happy/a.jpg", "joy/b.jpg"], 0, {"train"}),
        (["2019/happy/a.jpg", "2020/sad/b.jpg"], 0, {"train"}),
        (["train/a.jpg", "holiday/b.jpg"], 0, {"train"}),
        (["test/a.jpg", "holiday/b.jpg"], 0, {"train"}),
    ],
)
def test_what_folders_mean(tmp_path: Path, paths: list[str], labelled: int, splits: set[str]) -> None:
    touch(tmp_path, *paths)
    found = by_id(open_source("folder", tmp_path))
    assert sum(bool(sample.values) for sample in found.values()) == labelled
    assert {sample.split for sample in found.values()} == splits
    assert {sample.status for sample in found.values()} == {"ok"}


def test_links_and_names_that_no_manifest_can_hold(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    touch(outside, "secret.jpg")
    touch(root, "a.jpg")
    (root / "out").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "file.jpg").symlink_to(outside / "secret.jpg")
    (root / "broken.jpg").symlink_to(root / "nowhere.jpg")
    for name in (b"x\xff.jpg", b"x\xfe.jpg", b"back\\slash.jpg", b"c:1.png"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).touch()
    found = by_id(open_source("folder", root))
    statuses = {name: sample.status for name, sample in found.items()}
    # where a linked file leads is found out by whoever opens it
    assert {name: statuses[name] for name in ("a.jpg", "file.jpg", "broken.jpg")} == dict.fromkeys(
        ("a.jpg", "file.jpg", "broken.jpg"), "ok"
    )
    assert statuses["out"] == statuses["loop"] == "refused"
    assert sorted(statuses.values()) == ["bad_row"] * 4 + ["ok"] * 3 + ["refused"] * 2
    as_manifest(open_source("folder", root), tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "c:1.png",
        "Z:/1.png",
        "c:",
        "a/c:1.png",
        "cc:1.png",
        "é:1.png",
        "1:1.png",
        "a\\b",
        "a\0b",
        "c:a\\b",
        "a#1/x#2.png",
    ],
)
def test_safe_names_are_those_that_references_may_have(path: str) -> None:
    assert (safe_name(path) == path) == (canonical(path) is not None)
    assert canonical(safe_name(path)) == safe_name(path)


def test_names_that_begin_like_a_drive_stay_apart_and_go_into_a_manifest(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(root, "c:1.png", "c?1.png", "d:/a.png", "e/c:1.png")
    (root / "f:").symlink_to(tmp_path)
    found = by_id(open_source("folder", root))
    assert [sample.status for sample in found.values()] == ["bad_row", "ok", "refused", "bad_row", "ok"]
    assert "begins like a drive" in str(next(iter(found.values())).detail)
    as_manifest(open_source("folder", root), tmp_path)


def test_a_csv_labels_images_and_the_others_have_none(tmp_path: Path) -> None:
    touch(tmp_path, "happy/a.jpg", "sad/b.jpg", "sad/c.jpg")
    rows = "image,expression,split,valence,arousal\nsad/./b.jpg,Anger,validation,0.5,-1\ngone.jpg,fear,,,\n"
    labels = write(tmp_path, "labels.csv", b"\xef\xbb\xbf" + rows.encode())
    source = open_source("folder", tmp_path, labels=labels)
    found = by_id(source)
    assert list(found) == ["sad/b.jpg", "gone.jpg", "happy/a.jpg", "sad/c.jpg"]
    assert labels_of(found) == {"sad/b.jpg": "anger", "gone.jpg": "fear", "happy/a.jpg": None, "sad/c.jpg": None}
    assert (found["sad/b.jpg"].split, found["gone.jpg"].split) == ("val", "train")
    assert (found["sad/b.jpg"].values["valence_human"], found["sad/b.jpg"].values["arousal_human"]) == (0.5, -1)
    assert {sample.status for sample in found.values()} == {"ok"}  # what is missing is found out when it is opened
    as_manifest(source, tmp_path)


@pytest.mark.parametrize("by_annotator", [True, False])
def test_several_annotators_are_several_label_sets_however_the_lines_are_ordered(
    tmp_path: Path, by_annotator: bool
) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    lines = ["a.jpg,anna,happy", "b.jpg,anna,sad", "a.jpg,ben,fear", "b.jpg,ben,"]
    lines = lines if by_annotator else [lines[0], lines[2], lines[1], lines[3]]
    labels = write(tmp_path, "l.csv", "image,annotator,expression\n" + "\n".join(lines))
    source = open_source("folder", tmp_path, labels=labels)
    assert list(source.label_sets()) == ["expression_anna", "expression_ben"]
    assert {name: sample.values for name, sample in by_id(source).items()} == {
        "a.jpg": {"expression_anna": 1, "expression_ben": 4},
        "b.jpg": {"expression_anna": 2},
    }
    as_manifest(source, tmp_path)


def test_broken_lines_of_a_csv_are_rows_with_a_status(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}.jpg" for name in "abcdefgh"))
    rows = {
        "a.jpg,joyous,,,": "line 2: 'joyous' is no expression",
        "b.jpg,happy,2,0,": "line 3: its valence and arousal are 2, 0; two numbers in [-1, 1] were expected",
        "c.jpg,happy,,0.5,": "line 4: its valence and arousal are nothing, 0.5;",
        "d.jpg,happy,nan,0,": "line 5: its valence and arousal are nan, 0;",
        "e.jpg,happy,,,exam": "line 6: its split is 'exam'; train, val or test was expected",
        "../../etc/passwd,happy,,,": "its path '../../etc/passwd' is empty, absolute or leads out of the dataset",
        ",happy,,,": "its path '' is empty",
    }
    text = "\n".join(["image,expression,valence,arousal,split", *rows, "f.jpg,happy,,,", "f.jpg,sad,,,", "g.jpg"])
    source = open_source("folder", tmp_path, labels=write(tmp_path, "l.csv", text))
    found = list(by_id(source).values())
    for sample, problem in zip(found, rows.values(), strict=False):
        assert problem in str(sample.detail)
        assert sample.status == ("refused" if "path" in problem else "bad_row")
    rest = {sample.id: (sample.status, sample.detail) for sample in found[len(rows) :]}
    assert rest["f.jpg"] == ("bad_row", "line 10: 'human' has labelled it otherwise before")
    assert rest["g.jpg"] == rest["h.jpg"] == ("ok", None)
    assert len(found) == 10
    as_manifest(source, tmp_path)


def test_contempt_in_a_csv_is_a_class_only_where_it_is_asked_for(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    labels = write(tmp_path, "l.csv", "image,expression\na.jpg,Contempt\n")
    (sample,) = open_source("folder", tmp_path, labels=labels).samples()
    assert (sample.values, sample.status) == ({}, "ok")
    (sample,) = open_source("folder", tmp_path, labels=labels, contempt=True).samples()
    assert sample.values == {"expression_human": 7}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file,expression\na,b\n", "lacks the column 'image'"),
        ("image,split\na,train\n", "has no label for its images"),
        ("image,valence\na,0\n", "has no label for its images"),
        ("image,expression,annotator\na,happy,the boss\n", "names the annotator 'the boss'; letters, digits"),
        ("image,expression,annotator\n" + "".join(f"a,sad,w{i}\n" for i in range(101)), "more than 100 annotators"),
    ],
)
def test_a_csv_that_cannot_be_used_is_a_sentence(tmp_path: Path, text: str, expected: str) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(UserError) as error:
        open_source("folder", tmp_path, labels=write(tmp_path, "l.csv", text))
    assert expected in sentence(error)


def test_refused_rows_keep_their_own_ids_beside_a_folder_of_that_name(tmp_path: Path) -> None:
    touch(tmp_path, "refused/x.jpg")
    labels = write(tmp_path, "l.csv", "image,expression\n../x.jpg,sad\n/x.jpg,sad\n../x.jpg,sad\n")
    found = by_id(open_source("folder", tmp_path, labels=labels))
    assert {name: sample.status for name, sample in found.items()} == {
        "refused/x.jpg": "refused",
        "refused/x.jpg~2": "refused",
        "refused/x.jpg~3": "ok",
    }


def test_a_folder_without_images_is_a_sentence(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt")
    with pytest.raises(UserError) as error:
        open_source("folder", tmp_path)
    assert "There is no image under" in sentence(error)
    assert "found a.txt" in str(error.value)
    with pytest.raises(UserError, match="is a file; --root must name a folder"):
        open_source("folder", tmp_path / "a.txt")


def test_the_fingerprint_is_of_names_and_the_csv(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    first = open_source("folder", tmp_path).fingerprint()
    write(tmp_path, "a.jpg", "content")
    assert open_source("folder", tmp_path).fingerprint() == first
    labels = write(tmp_path, "l.csv", "image,expression\na.jpg,sad\n")
    second = open_source("folder", tmp_path, labels=labels).fingerprint()
    write(tmp_path, "l.csv", "image,expression\na.jpg,happy\n")
    third = open_source("folder", tmp_path, labels=labels).fingerprint()
    touch(tmp_path, "b.jpg")
    assert len({first, second, third, open_source("folder", tmp_path).fingerprint()}) == 4
