"""AffectNet in its two releases."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.relabel.sources.vocabulary import vocabulary
from source_files import AFFECTNET_COLUMNS, affectnet_row, as_manifest, by_id, landmarks, open_source, write
from source_files import write_affectnet as write_files

EIGHT = vocabulary(contempt=True)


def test_rows_have_labels_eyes_boxes_and_splits(tmp_path: Path) -> None:
    write_files(tmp_path, [affectnet_row("103/a.jpg", 6, 0.5, -0.25)], [affectnet_row("1/b.jpg", 3, -1, 1)])
    source = open_source("affectnet", tmp_path)
    found = by_id(source)
    first = found["103/a.jpg"]
    assert first.image == "Manually_Annotated_Images/103/a.jpg"
    assert (first.split, found["1/b.jpg"].split) == ("train", "val")
    assert first.values == {"expression_human": 6, "valence_human": 0.5, "arousal_human": -0.25}
    assert first.eyes == pytest.approx((40, 50, 80, 52))
    assert first.box == (10, 20, 110, 130)
    assert list(source.label_sets()) == ["expression_human", "va_human"]
    assert source.tasks()["expression"].classes == EIGHT[:7]
    as_manifest(source, tmp_path)


@pytest.mark.parametrize("contempt", [False, True])
def test_contempt_is_kept_when_asked_for_and_8_to_10_are_no_expression(tmp_path: Path, contempt: bool) -> None:
    write_files(tmp_path, [affectnet_row(f"1/{index}.jpg", index) for index in range(11)])
    source = open_source("affectnet", tmp_path, contempt=contempt)
    found = by_id(source)
    labels = [found[f"1/{index}.jpg"].values.get("expression_human") for index in range(11)]
    assert labels == [0, 1, 2, 3, 4, 5, 6, 7 if contempt else None, None, None, None]
    assert {sample.status for sample in found.values()} == {"ok"}
    assert source.tasks()["expression"].classes == EIGHT[: 7 + contempt]
    as_manifest(source, tmp_path)


def test_minus_two_is_no_valence_and_arousal(tmp_path: Path) -> None:
    write_files(tmp_path, [affectnet_row("1/a.jpg", 1, -2, -2), affectnet_row("1/b.jpg", 1, 0.5, "-2.0")])
    for sample in by_id(open_source("affectnet", tmp_path)).values():
        assert (sample.values, sample.status) == ({"expression_human": 1}, "ok")


BAD = {
    "1/class.jpg": (affectnet_row("1/class.jpg", 11), "its expression is '11'; a number from 0 to 10 was expected"),
    "1/word.jpg": (affectnet_row("1/word.jpg", "happy"), "its expression is 'happy'"),
    "1/half.jpg": (affectnet_row("1/half.jpg", 1.5), "its expression is '1.5'"),
    "1/nan.jpg": (
        affectnet_row("1/nan.jpg", 1, "nan"),
        "its valence and arousal are 'nan' and '-0.25'; numbers in [-1",
    ),
    "1/wide.jpg": (affectnet_row("1/wide.jpg", 1, 0, 1.5), "its valence and arousal are '0' and '1.5'"),
    "1/short.jpg": ("1/short.jpg,1,2,3", "it has 4 of 9 fields"),
}


def test_broken_rows_are_rows_with_a_status(tmp_path: Path) -> None:
    write_files(tmp_path, [row for row, _ in BAD.values()])
    found = by_id(open_source("affectnet", tmp_path))
    for line, (name, (_, problem)) in enumerate(BAD.items(), start=2):
        assert found[name].status == "bad_row"
        assert f"line {line} of training.csv: {problem}" in str(found[name].detail)
    assert "expression_human" in found["1/nan.jpg"].values
    as_manifest(open_source("affectnet", tmp_path), tmp_path)


def test_lines_that_end_before_their_path_are_bad_rows(tmp_path: Path) -> None:
    write_files(tmp_path, [affectnet_row()])
    names = AFFECTNET_COLUMNS.split(",")
    cells = dict(zip(names, affectnet_row("1/a.jpg", 4).split(","), strict=True))
    ordered = [*reversed(names)]
    rows = [",".join(cells[name] for name in ordered[:count]) for count in (9, 3, 3)]
    write(tmp_path, "training.csv", "\n".join([",".join(ordered), *rows]) + "\n")
    source = open_source("affectnet", tmp_path)
    found = by_id(source)
    assert found["1/a.jpg"].status == "ok"
    for line, name in ((3, "refused"), (4, "refused~2")):
        assert found[name].status == "bad_row"
        assert found[name].detail == f"line {line} of training.csv: it has 3 of 9 fields"
        assert found[name].image == "refused"
        assert found[name].values == {"expression_human": 4, "valence_human": 0.5, "arousal_human": -0.25}
    as_manifest(source, tmp_path)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "C:/x.jpg", "a\\..\\b.jpg", "", "1/../../x.jpg"])
def test_paths_out_of_the_root_are_refused_rows(tmp_path: Path, path: str) -> None:
    write_files(tmp_path, [affectnet_row(path), affectnet_row(path)])
    source = open_source("affectnet", tmp_path)
    for sample in by_id(source).values():
        assert sample.status == "refused"
        assert sample.image.startswith("refused")
    as_manifest(source, tmp_path)


def test_broken_landmarks_and_boxes_leave_the_face_to_the_detector(tmp_path: Path) -> None:
    row = affectnet_row().split(",")
    rows = [",".join([f"1/{index}.jpg", *face, *row[6:]]) for index, face in enumerate((
        ("x", "1", "2", "3", "1;2;3"), ("1", "1", "0", "3", ""), ("1", "1", "2", "3", row[5].replace("50", "fifty")),
    ))]  # fmt: skip
    write_files(tmp_path, rows)
    found = list(by_id(open_source("affectnet", tmp_path)).values())
    assert [sample.eyes for sample in found] == [None] * 3
    assert [sample.box for sample in found] == [None, None, (1, 1, 3, 4)]
    assert {sample.status for sample in found} == {"ok"}


def test_repeated_rows_get_numbered_ids_over_both_lists(tmp_path: Path) -> None:
    write_files(tmp_path, [affectnet_row("1/a.jpg", 1), affectnet_row("1/a.jpg", 2)], [affectnet_row("1/a.jpg", 3)])
    found = by_id(open_source("affectnet", tmp_path))
    assert {name: sample.values["expression_human"] for name, sample in found.items()} == {
        "1/a.jpg": 1,
        "1/a.jpg~2": 2,
        "1/a.jpg~3": 3,
    }
    assert len({sample.image for sample in found.values()}) == 1


def test_columns_go_by_name_with_bom_crlf_and_quotes(tmp_path: Path) -> None:
    write_files(tmp_path, [affectnet_row("x.jpg")])
    cells = dict(zip(AFFECTNET_COLUMNS.split(","), affectnet_row('1/"q"').split(","), strict=True))
    cells["subDirectory_filePath"] = '"1/a, b.jpg"'
    names = sorted(cells)
    text = f"extra,{','.join(names)}\r\n0,{','.join(cells[name] for name in names)}\r\n"
    write(tmp_path, "training.csv", b"\xef\xbb\xbf" + text.encode())
    found = by_id(open_source("affectnet", tmp_path))
    assert found["1/a, b.jpg"].values["valence_human"] == 0.5
    assert found["1/a, b.jpg"].eyes is not None


@pytest.mark.parametrize(
    "lists", ["", "Manually_Annotated_file_lists", "Manually_Annotated/Manually_Annotated_file_lists"]
)
@pytest.mark.parametrize("images", ["Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images"])
@pytest.mark.parametrize("name", ["validation.csv", "validate.csv"])
def test_the_archives_own_folders_are_found_and_one_list_is_enough(
    tmp_path: Path, lists: str, images: str, name: str
) -> None:
    (tmp_path / images).mkdir(parents=True)
    write(tmp_path / lists, name, f"{AFFECTNET_COLUMNS}\n{affectnet_row('7/a.jpg')}\n")
    found = by_id(open_source("affectnet", tmp_path))
    assert found["7/a.jpg"].image == f"{images}/7/a.jpg"
    assert found["7/a.jpg"].split == "val"


def test_what_is_missing_is_named_with_where_to_ask_for_it(tmp_path: Path) -> None:
    write(tmp_path, "readme.txt", "")
    with pytest.raises(UserError) as error:
        open_source("affectnet", tmp_path)
    told = sentence(error)
    assert "'training.csv' or 'validation.csv' or 'validate.csv'" in told
    assert "found readme.txt" in told
    assert "Mahoor, University of Denver" in told
    assert "make-faces" in told
    write(tmp_path, "training.csv", "a\n")
    with pytest.raises(UserError, match="no folder with AffectNet's images"):
        open_source("affectnet", tmp_path)
    (tmp_path / "Manually_Annotated_Images").mkdir()
    write(tmp_path, "training.csv", AFFECTNET_COLUMNS.replace("valence", "val") + "\n")
    with pytest.raises(UserError) as error:
        open_source("affectnet", tmp_path)
    assert "lacks the column 'valence'. It has the columns 'subDirectory_filePath'" in sentence(error)


STREAMS = """
import resource, sys
from pathlib import Path
from noisyfer.relabel.sources import SOURCES
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = SOURCES["affectnet"](Path(sys.argv[1]))
samples = source.samples()
for _ in range(1000): next(samples)
before = peak()
count = 1000 + sum(1 for _ in samples)
print(count, peak() - before)
"""


def test_rows_stream(tmp_path: Path) -> None:
    """70 bytes an id are held of rows that have a kilobyte each in the csv; 450,000 take 30 MB, measured so."""
    rows, row = 25_000, affectnet_row("DIR/0123456789abcdef.jpg")
    write_files(tmp_path, [row.replace("DIR", str(number)) for number in range(rows)])
    output = subprocess.run([sys.executable, "-c", STREAMS, str(tmp_path)], capture_output=True, text=True, check=True)
    count, kilobytes = map(int, output.stdout.split())
    assert count == rows
    assert kilobytes * 1024 < 150 * rows


def write_npy(root: Path, index: int, exp: Any, val: Any, aro: Any, lnd: Any, *, image: bool = True) -> None:
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "images").mkdir(exist_ok=True)
    for kind, value in (("exp", exp), ("val", val), ("aro", aro), ("lnd", lnd)):
        if value is not None:
            np.save(root / "annotations" / f"{index}_{kind}.npy", value)
    if image:
        (root / "images" / f"{index}.jpg").write_bytes(b"")


def test_npy_texts_and_numbers_are_read_alike(tmp_path: Path) -> None:
    points = np.array(landmarks((40, 50), (80, 52)))
    write_npy(tmp_path / "train_set", 10, np.array("7"), np.array("-0.5"), np.array("0.25"), points)
    write_npy(
        tmp_path / "train_set",
        9,
        np.array(6),
        np.float32(-0.5),
        np.array([0.25]),
        np.asfortranarray(points.reshape(68, 2)),
    )
    write_npy(tmp_path / "val_set", 9, np.array(b"3"), np.array("-2"), np.array("-2"), points.astype(str))
    source = open_source("affectnet-npy", tmp_path, contempt=True)
    found = by_id(source)
    assert list(found) == ["train_set/9", "train_set/10", "val_set/9"]  # by number
    va = {"valence_human": -0.5, "arousal_human": 0.25}
    assert found["train_set/9"].values == {"expression_human": 6, **va}
    assert found["train_set/10"].values == {"expression_human": 7, **va}
    assert found["val_set/9"].values == {"expression_human": 3}
    assert found["val_set/9"].split == "val"
    assert found["train_set/9"].image == "train_set/images/9.jpg"
    for sample in found.values():
        assert sample.eyes == pytest.approx((40, 50, 80, 52))
    as_manifest(source, tmp_path)


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("executed",))


def test_npy_annotations_that_are_broken_missing_or_dangerous_are_bad_rows(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, zero = tmp_path / "train_set", np.array(0.0)
    write_npy(root, 1, None, zero, zero, None)
    write_npy(root, 2, np.array([1, 2]), zero, zero, np.zeros((5, 2)))
    write_npy(root, 3, np.array(3), zero, zero, None, image=False)
    write_npy(root, 4, np.array(12), zero, zero, None)
    write_npy(root, 5, np.array(1), zero, zero, None)
    np.save(root / "annotations/5_exp.npy", np.array([Evil()], object), allow_pickle=True)
    write_npy(root, 6, np.array(1), zero, zero, None)
    (root / "annotations/6_lnd.npy").write_bytes(pickle.dumps(Evil()))
    write_npy(root, 7, np.array(1), zero, zero, None)
    (root / "annotations/7_val.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'")
    (root / "images/8.jpg").write_bytes(b"")
    found = by_id(open_source("affectnet-npy", tmp_path))
    statuses = {name.split("/")[1]: sample.status for name, sample in found.items()}
    bad = dict.fromkeys("124578", "bad_row")
    assert statuses == {**bad, "3": "ok", "6": "ok"}
    assert found["train_set/1"].detail == "1_exp.npy is missing or holds no single number"
    assert "'12'; a number from 0 to 10" in str(found["train_set/4"].detail)
    assert found["train_set/6"].eyes is None
    assert "executed" not in capfd.readouterr().out


@pytest.mark.parametrize("character", [b"\xff\xff\xff\xff", b"\x00\x00\x11\x00", b"\x00\xd8\x00\x00"])
def test_npy_texts_of_no_characters_are_unreadable_values(tmp_path: Path, character: bytes) -> None:
    damaged, zero = np.frombuffer(character, "<U1"), np.array(0.0)
    write_npy(tmp_path / "train_set", 1, damaged, zero, zero, np.repeat(damaged, 136))
    source = open_source("affectnet-npy", tmp_path)
    (sample,) = source.samples()
    assert (sample.status, sample.eyes) == ("bad_row", None)
    assert sample.detail == "1_exp.npy is missing or holds no single number"
    as_manifest(source, tmp_path)


def test_npy_missing_sets_are_named(tmp_path: Path) -> None:
    (tmp_path / "train_set/images").mkdir(parents=True)
    with pytest.raises(UserError) as error:
        open_source("affectnet-npy", tmp_path)
    assert "'train_set/images' with 'train_set/annotations'" in sentence(error)


def test_fingerprints_follow_the_annotations(tmp_path: Path) -> None:
    write_npy(tmp_path / "train_set", 1, np.array(1), np.array(0.5), np.array(0.5), None)
    first = open_source("affectnet-npy", tmp_path).fingerprint()
    (tmp_path / "train_set/images/1.jpg").write_bytes(b"x")
    assert open_source("affectnet-npy", tmp_path).fingerprint() == first
    np.save(tmp_path / "train_set/annotations/1_val.npy", np.array(0.25))
    assert open_source("affectnet-npy", tmp_path).fingerprint() != first
    write_files(tmp_path, [affectnet_row()])
    second = open_source("affectnet", tmp_path).fingerprint()
    write_files(tmp_path, [affectnet_row(expression=4)])
    assert open_source("affectnet", tmp_path).fingerprint() != second
