"""Names in a file find the samples that they mean, or nobody; what becomes of each row is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from import_files import EXPRESSION, column, faces, imported, names, raf, text
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.manifest import Manifest
from noisyfer.relabel.importing import ImportOptions, collect, import_labels
from noisyfer.relabel.importing.join import AMBIGUOUS, NOBODY, Joiner
from noisyfer.relabel.sources.annotations import IMAGE_SUFFIXES, SPLIT_NAMES

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

IDS = ["train_00001", "10/a.jpg", "val/x", "test/x", "é", "1/same", "2/same", "p/q/r/deep", "w_aligned"]
IMAGES = [
    "o/train_00001.jpg",
    "M/10/a.jpg",
    "val/x.png",
    "test/x.png",
    "i/é.jpg",
    "1/s.jpg",
    "2/s.jpg",
    "p/q/r/d.jpg",
    "w.jpg",
]
SPLITS = ["train", "train", "val", "test", *["train"] * 5]


def joiner(by: str = "auto", allowed: list[bool] | None = None) -> Joiner:
    return Joiner(pa.array(IDS), pa.array(IMAGES), SPLITS, by, None if allowed is None else np.array(allowed))


@pytest.mark.parametrize(
    ("key", "row", "rule"),
    [
        ("train_00001", 0, "id"),
        ("10/a.jpg", 1, "id"),
        ("train_00001.jpg", 0, "id without suffix"),
        ("./train_00001.PNG", 0, "id without suffix"),
        ("10\\a", 1, "id without suffix"),
        ("M//10/./a.jpg", 1, "image path"),
        ("o/train_00001.bmp", 0, "image path without suffix"),
        ("/mnt/p/q/r/d.jpeg", 7, "last three parts of the path"),
        ("/mnt/z/10/a.jpg", 1, "last two parts of the path"),
        ("/mnt/1/s.jpg", 5, "last two parts of the path"),
        ("elsewhere/d.jpg", 7, "file name"),
        ("/x/train_00001_aligned.jpg", 0, "file name but for '_aligned'"),
        ("e\u0301", 4, "id"),
        ("s.jpg", AMBIGUOUS, None),
        ("far/s.jpg", AMBIGUOUS, None),
        ("train/d.jpg", 7, "file name"),
        ("val/d.jpg", NOBODY, None),
        ("/data/TEST/train_00001.jpg", NOBODY, None),
        ("nobody.jpg", NOBODY, None),
        ("", NOBODY, None),
        (".jpg", NOBODY, None),
        ("/", NOBODY, None),
    ],
)
def test_names_are_joined_by_the_first_rule_that_finds_one_sample(key: str, row: int, rule: str | None) -> None:
    found = joiner()
    assert found.rows([key]).tolist() == [row]
    assert found.joined_by == ({} if rule is None else {rule: 1})
    assert joiner().rows([key, "train_00001", key]).tolist() == [row, 0, row]


def test_only_ids_or_only_files_or_only_a_split() -> None:
    keys = ["train_00001", "o/train_00001.jpg", "10/a.jpg", "a.jpg"]
    assert joiner("id").rows(keys).tolist() == [0, NOBODY, 1, NOBODY]
    assert joiner("file").rows(keys).tolist() == [0, 0, 1, 1]
    assert joiner(allowed=[False] + [True] * 8).rows(keys).tolist() == [NOBODY, NOBODY, 1, 1]
    assert joiner(allowed=[place != 6 for place in range(9)]).rows(["s.jpg"]).tolist() == [5]


def slow_rows(keys: list[str], ids: list[str], images: list[str], splits: list[str]) -> list[int]:
    """The rules once more, one name and one sample at a time."""

    def path(name: str) -> str:
        name = name.replace("\\", "/")
        while "//" in name or "/./" in name:
            name = name.replace("//", "/").replace("/./", "/")
        return name.removeprefix("./")

    def stem(name: str) -> str:
        head, dot, suffix = path(name).rpartition(".")
        ends = dot and head and not head.endswith("/") and "/" not in suffix
        return head if ends and f".{suffix.lower()}" in IMAGE_SUFFIXES else path(name)

    def tail(count: int, name: str) -> str:
        parts = stem(name).split("/")
        return "/".join(parts[-count:]) if len(parts) >= count else ""

    rules = [
        (ids, lambda name: name, False),
        (ids, stem, False),
        (images, path, False),
        (images, stem, False),
        *[(images, lambda name, count=count: tail(count, name), True) for count in (3, 2, 1)],
        (images, lambda name: tail(1, name).removesuffix("_aligned"), True),
    ]
    result = []
    for key in keys:
        found = NOBODY
        for samples, form, coarse in rules:
            same = [row for row, sample in enumerate(samples) if form(key) and form(sample) == form(key)]
            if len(same) == 1 and coarse:
                spoken = [
                    SPLIT_NAMES[part.casefold()] for part in path(key).split("/")[:-1] if part.casefold() in SPLIT_NAMES
                ]
                if spoken and spoken[-1] != splits[same[0]]:
                    continue
            if len(same) == 1:
                found = same[0]
                break
            found = AMBIGUOUS if same else found
        result.append(found)
    return result


PART = st.sampled_from(["a", "b", "a.jpg", "b.png", "a_aligned.jpg", "val", "Train", ".", "", "x.y", "ü"])
NAME = st.lists(PART, min_size=1, max_size=4).map("/".join)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(NAME, NAME, st.sampled_from(["train", "val"])), min_size=1, max_size=6),
    st.lists(st.one_of(NAME, NAME.map(lambda name: name.replace("/", "\\"))), max_size=6),
)
def test_the_join_is_what_the_rules_say_one_name_at_a_time(
    samples: list[tuple[str, str, str]], keys: list[str]
) -> None:
    ids, images, splits = (list(column) for column in zip(*samples, strict=True))
    found = Joiner(pa.array(ids), pa.array(images), splits, "auto").rows(keys)
    assert found.tolist() == slow_rows(keys, ids, images, splits)


def test_rows_that_find_no_sample_are_counted_and_named_and_too_many_are_refused(tmp_path: Path) -> None:
    manifest = faces(tmp_path / "m.parquet", ["a", "b"], ["1/x.jpg", "2/x.jpg"])
    lines = ["id,expression", "a,sad", *[f"c{number},happy" for number in range(7)], "x,fear"]
    path = text(tmp_path / "l.csv", "\n".join(lines))
    with pytest.raises(
        UserError, match=r"Of the 9 names in .*l\.csv, 7 \('c0', .* are no sample's and 1 \('x'\) are several"
    ) as error:
        imported(manifest, path)
    assert "first id is 'a', its image '1/x.jpg'" in sentence(error)
    report = imported(manifest, path, max_unmatched=0.9)
    assert names(report.manifest, "expression_me") == {"a": "sad", "b": None}
    file = report.files[0]
    assert (file.unmatched.count, file.unmatched.first) == (7, [f"'c{number}'" for number in range(5)])
    assert file.ambiguous.first == ["'x'"]
    assert report.sets[0].unlabelled.first == ["b"]
    told = report.manifest.label_set("expression_me").provenance["files"][0]
    assert (told["matched"], told["unmatched"], told["ambiguous"], told["joined_by"]) == (1, 7, 1, {"id": 1})
    with pytest.raises(UserError, match="nothing to add"):
        imported(
            manifest, text(tmp_path / "n.csv", "id,expression\nq,sad\n"), max_unmatched=1, out=tmp_path / "n.parquet"
        )


def test_by_position_only_where_the_numbers_fit(tmp_path: Path) -> None:
    manifest = raf(tmp_path / "m.parquet", train=4, test=2)
    path = text(tmp_path / "l.csv", "label\n" + "".join(f"{number}\n" for number in (3, 2, 1, 0)))
    with pytest.raises(UserError, match="column of ids or images"):
        imported(manifest, path, format="csv")
    report = imported(manifest, path, by="position", format="csv")
    assert column(report.manifest, "expression_me") == [3, 2, 1, 0, None, None]
    assert report.files[0].joined_by == {"position": 4}
    for split in ("test", ""):
        short = text(tmp_path / "s.csv", "label\n1\n2\n3\n")
        with pytest.raises(UserError, match=r"has 3 rows") as error:
            imported(manifest, short, by="position", format="csv", split=split, out=tmp_path / "s.parquet")
        sentence(error)
    equal = raf(tmp_path / "e.parquet", train=4, test=4)
    with pytest.raises(UserError, match="Choose one with --split"):
        imported(equal, path, by="position", format="csv", out=tmp_path / "t.parquet")
    chosen = imported(equal, path, by="position", format="csv", split="test", out=tmp_path / "t.parquet")
    assert column(chosen.manifest, "expression_me") == [*[None] * 4, 3, 2, 1, 0]
    people = text(tmp_path / "p.csv", "image,annotator,label\nx,a,1\n")
    with pytest.raises(UserError, match="row by row"):
        imported(manifest, people, by="position", out=tmp_path / "u.parquet")


@pytest.mark.parametrize(("which", "expected"), [("first", "sad"), ("last", "anger")])
def test_contradicting_labels_are_refused_unless_one_is_chosen(tmp_path: Path, which: str, expected: str) -> None:
    manifest = faces(tmp_path / "m.parquet", ["a", "b", "c"])
    rows = ["a,sad", "b,happy", "a,fear", "b.jpg,happy", "a,anger", "c,"]
    first = text(tmp_path / "1.csv", "\n".join(["id,expression", *rows]))
    with pytest.raises(
        UserError, match=r"2 labels of 'expression' contradict another .* for 'a' there are sad and fear"
    ) as error:
        imported(manifest, first)
    sentence(error)
    report = imported(manifest, first, duplicates=which)
    assert names(report.manifest, "expression_me") == {"a": expected, "b": "happy", "c": None}
    assert (report.repeated, report.contradictions.count, report.contradictions.first) == (1, 2, ["a"])
    assert report.files[0].missing == 1


def test_contradictions_between_files_and_of_pairs(tmp_path: Path) -> None:
    manifest = faces(tmp_path / "m.parquet", ["a", "b"])
    one = text(tmp_path / "1.txt", "a.jpg 0.5 0.25\nb.jpg 0 0\n")
    two = text(tmp_path / "2.txt", "a.jpg 0.5 0.5\nb.jpg 0 0\n")
    with pytest.raises(UserError, match=r"there are \[0.5, 0.25\] and \[0.5, 0.5\]"):
        imported(manifest, one, two)
    assert column(imported(manifest, one, two, duplicates="last").manifest, "arousal_me") == [0.5, 0.0]


def test_too_many_annotators_or_two_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = faces(tmp_path / "m.parquet", ["a"])
    for lines, words in (
        (["a,w 1,sad", "a,w_1,sad"], "'w 1' and 'w_1' would both be called 'w_1'"),
        (["a,!,sad"], "no letter or digit"),
    ):
        path = text(tmp_path / "l.csv", "\n".join(["image,annotator,label", *lines]))
        with pytest.raises(UserError, match=words) as error:
            imported(manifest, path, annotator="")
        sentence(error)
    path = text(tmp_path / "l.csv", "image,annotator,label\na,x,sad\na,,sad\na,y,fear\n")
    report = imported(manifest, path, annotator="")
    assert report.files[0].unusable.first == ["'a': no annotator"]
    monkeypatch.setattr(collect, "MAX_ANNOTATORS", 1)
    with pytest.raises(UserError, match="more than 1 annotators") as error:
        imported(manifest, path, annotator="", out=tmp_path / "o.parquet")
    sentence(error)


def test_the_old_manifest_stays_and_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    manifest = raf(tmp_path / "m.parquet")
    before = manifest.path.read_bytes()
    path = text(tmp_path / "l.csv", "id,expression\ntrain_00001,sad\n")
    report = imported(manifest, path)
    assert manifest.path.read_bytes() == before
    assert report.manifest.header.parents[0]["file"] == "m.parquet"
    with pytest.raises(UserError, match=r"is there already\. Give another name") as error:
        imported(manifest, path)
    sentence(error)
    imported(manifest, path, overwrite=True)
    options = ImportOptions(annotator="me")
    assert import_labels(manifest, [path], options=options).manifest.path == tmp_path / "m_with_me.parquet"
    with pytest.raises(UserError, match=r"m_with_me\.parquet is there already"):
        import_labels(manifest, [path], options=options)
    again = imported(Manifest.open(manifest.path), path, out=manifest.path, overwrite=True)
    assert list(again.manifest.header.label_sets) == ["expression_human", "expression_me"]
    with pytest.raises(UserError, match="'expression_me' already"):
        imported(Manifest.open(manifest.path), path, overwrite=True)


@pytest.mark.parametrize(
    ("annotator", "kind", "expected"),
    [
        ("clean", "", "human"),
        ("clean", "imported", "imported"),
        ("me", "", "imported"),
        ("me", "model", "model"),
    ],
)
def test_the_kind_of_what_others_are_scored_against_is_human_unless_said(
    annotator: str, kind: str, expected: str, tmp_path: Path
) -> None:
    manifest, path = raf(tmp_path / "m.parquet"), text(tmp_path / "l.csv", "id,expression\ntrain_00001,sad\n")
    found = imported(manifest, path, annotator=annotator, kind=kind).manifest.header.label_sets
    assert found[f"expression_{annotator}"].kind == expected


def test_a_file_that_names_human_makes_a_set_of_that_kind_too(tmp_path: Path) -> None:
    path = text(tmp_path / "l.csv", "id,annotator,valence,arousal\na,human,0.5,0\na,w1,0.1,0\n")
    found = imported(faces(tmp_path / "m.parquet", ["a"]), path, annotator="").manifest.header.label_sets
    assert {name: each.kind for name, each in found.items() if each.task == "va"} == {
        "va_human": "human",
        "va_w1": "imported",
    }


def test_the_task_is_chosen_or_told_apart(tmp_path: Path) -> None:
    manifest = faces(tmp_path / "m.parquet", ["a"])
    path = text(tmp_path / "l.csv", "id,label,valence,arousal\na,happy,0.5,0\n")
    both = imported(manifest, path).manifest
    assert list(both.header.label_sets) == ["expression_human", "expression_me", "va_me"]
    assert both.header.tasks["expression"] == EXPRESSION
    for task, expected in (("va", "va_me"), ("expression", "expression_me")):
        found = imported(manifest, path, task=task, out=tmp_path / f"{task}.parquet").manifest
        assert list(found.header.label_sets) == ["expression_human", expected]
    with pytest.raises(UserError, match="no task 'class' with classes") as error:
        imported(manifest, path, task="class", out=tmp_path / "c.parquet")
    sentence(error)
    only = text(tmp_path / "o.csv", "id,expression\na,happy\n")
    with pytest.raises(UserError, match="holds no labels of the task 'va'") as error:
        imported(manifest, only, task="va", out=tmp_path / "c.parquet")
    sentence(error)


def test_an_import_into_a_folder_of_shards_is_a_folder(tmp_path: Path) -> None:
    from manifest_rows import sharded

    manifest = sharded(tmp_path / "shards")
    path = text(tmp_path / "l.csv", "id,class,annotator\ntrain_00003,frog,x\ntrain_00019,cat,x\n")
    report = imported(manifest, path, annotator="", out=tmp_path / "new")
    assert report.manifest.path.is_dir()
    assert [row for row, value in enumerate(column(report.manifest, "class_x")) if value is not None] == [3, 19]
    report.manifest.validate()
