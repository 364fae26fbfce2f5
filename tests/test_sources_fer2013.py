"""FER2013 and the votes of FER+."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.relabel.sources import EXPRESSIONS
from noisyfer.relabel.sources.ferplus import COLUMNS, count_votes
from source_files import as_manifest, by_id, open_source, touch, write

PIXELS = " ".join(["7"] * 2304)
OURS = "angry disgust fear happy sad surprise neutral".split()  # noqa: SIM905


def write_csv(root: Path, *rows: str) -> None:
    write(root, "fer2013.csv", "\r\n".join(["emotion,pixels,Usage", *rows]) + "\r\n")


def write_votes(root: Path, *rows: str) -> None:
    write(root, "fer2013new.csv", "\n".join([",".join(COLUMNS), *rows]) + "\n")


def row(emotion: object = 3, usage: str = "Training") -> str:
    return f"{emotion},{PIXELS},{usage}"


def test_rows_of_the_csv_are_references_and_ids_go_by_name(tmp_path: Path) -> None:
    write_csv(tmp_path, *(row(index) for index in range(7)), "", row(0, "PublicTest"), row(0, "PrivateTest"))
    found = list(by_id(open_source("fer2013", tmp_path)).values())
    names = [EXPRESSIONS[sample.values["expression_human"]] for sample in found[:7]]
    assert names == ["anger", *OURS[1:]]
    assert [sample.split for sample in found[6:]] == ["train", "val", "test"]
    assert [sample.image for sample in found] == [f"fer2013.csv#{index}" for index in range(9)]
    assert found[8].id == "fer0000008"
    assert all(sample.whole for sample in found)
    as_manifest(open_source("fer2013", tmp_path), tmp_path)


def test_the_reference_leads_to_the_rows_own_picture(tmp_path: Path) -> None:
    from noisyfer.images.pictures import PictureReader

    pictures = [" ".join([str(level)] * 2304) for level in (10, 20, 30)]
    write_csv(
        tmp_path, f"3,{pictures[0]},Training", "", f"3,{pictures[1]},Training", "  ", f"3,{pictures[2]},PublicTest"
    )
    source = open_source("fer2013", tmp_path)
    with PictureReader(source.root) as reader:
        found = reader.fetch([sample.image for sample in source.samples()])
    assert [int(np.asarray(picture).mean()) for picture in found] == [10, 20, 30]


@pytest.mark.parametrize("place", ["fer2013.csv", "", ".."])
def test_the_root_may_be_the_csv_its_folder_or_the_one_above(tmp_path: Path, place: str) -> None:
    write_csv(tmp_path / "fer2013", row())
    source = open_source("fer2013", tmp_path / "fer2013" / place if place != ".." else tmp_path)
    (sample,) = source.samples()
    assert (source.root / sample.image.partition("#")[0]).is_file()


def test_broken_rows_are_rows_with_a_status(tmp_path: Path) -> None:
    write_csv(tmp_path, row(7), row("x"), row(1, "Trainig"), "3")
    found = list(by_id(open_source("fer2013", tmp_path)).values())
    assert [sample.status for sample in found] == ["bad_row"] * 4
    assert found[0].detail == "line 2: its emotion is '7'; a number from 0 to 6 was expected"
    assert found[2].detail == "line 4: its Usage is 'Trainig'; one of Training, PublicTest, PrivateTest was expected"
    assert found[2].values == {"expression_human": EXPRESSIONS.index("disgust")}
    as_manifest(open_source("fer2013", tmp_path), tmp_path)


@pytest.mark.parametrize(
    "lines",
    [
        [f'3,"{PIXELS}\n",Training'],
        [f'3,"1\n{PIXELS}",Training'],
        [f'{row()},"a note\nof two lines"'],
        [f'{row()},a note,"and a cell that the header has not\n"'],
        ["\N{NO-BREAK SPACE}", row()],
        ['""""', row()],
    ],
)
def test_rows_that_cannot_be_counted_by_lines_stop_it(tmp_path: Path, lines: list[str]) -> None:
    write(tmp_path, "fer2013.csv", "\n".join(["emotion,pixels,Usage,notes", row(), "", *lines, row()]) + "\n")
    with pytest.raises(UserError) as error:
        list(open_source("fer2013", tmp_path).samples())
    assert "one row a line was expected" in sentence(error)


def test_a_header_over_several_lines_stops_it(tmp_path: Path) -> None:
    write(tmp_path, "fer2013.csv", f'emotion,pixels,Usage,"a\nnote"\n{row()}\n')
    with pytest.raises(UserError, match="one row a line was expected"):
        list(open_source("fer2013", tmp_path).samples())


VOTES = [
    # neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, NF → label, probs
    ("4,1,1,0,0,0,0,4,0,0", "neutral", [4 / 6, 1 / 6, 0, 1 / 6, 0, 0, 0]),
    ("0,8,0,0,0,0,0,0,2,0", "happy", [0, 1, 0, 0, 0, 0, 0]),
    ("0,0,0,3,3,0,4,0,0,0", "fear", [0, 0, 0.3, 0, 0.4, 0, 0.3]),
    ("0,0,0,0,5,5,0,0,0,0", "disgust", [0, 0, 0, 0, 0, 0.5, 0.5]),
    ("2,2,0,0,0,0,0,0,6,0", None, None),
    ("0,0,0,0,0,0,0,0,0,10", None, None),
    ("4,0,0,0,0,0,0,6,0,0", None, None),
    ("0,0,0,0,0,0,0,0,0,0", None, None),
]


@pytest.mark.parametrize(("votes", "label", "probs"), VOTES)
def test_the_majority_is_the_label_and_shares_are_over_the_classes(
    votes: str, label: str | None, probs: list[float] | None
) -> None:
    counted = count_votes(dict(zip(COLUMNS[2:], votes.split(","), strict=True)), contempt=False)
    assert counted.problem is None
    assert (None if counted.label is None else EXPRESSIONS[counted.label]) == label
    assert counted.probs == (None if probs is None else pytest.approx(probs))


def test_contempt_counts_where_it_is_asked_for() -> None:
    counted = count_votes(dict(zip(COLUMNS[2:], ["4", *"0000006", "0", "0"], strict=True)), contempt=True)
    assert counted.label == 7
    assert counted.probs == pytest.approx([0.4, 0, 0, 0, 0, 0, 0, 0.6])


def test_votes_become_a_second_label_set(tmp_path: Path) -> None:
    write_csv(tmp_path, row(), row(0, "PublicTest"), row(0, "PrivateTest"))
    write_votes(
        tmp_path,
        "Training,fer0000000.png,4,1,1,0,0,0,0,4,0,0",
        "PublicTest,,0,0,0,0,0,0,0,0,0,10",
        "PrivateTest,fer0000002.png,0,0,0,0,x,0,0,0,0,0",
    )
    source = open_source("fer2013", tmp_path)
    manifest = as_manifest(source, tmp_path)
    assert manifest.header.label_sets["expression_ferplus"].annotator == "ferplus"
    rows = manifest.read().to_pylist()
    assert rows[0]["expression_ferplus"] == 0
    assert rows[0]["expression_ferplus_probs"] == pytest.approx([4 / 6, 1 / 6, 0, 1 / 6, 0, 0, 0])
    assert rows[1]["expression_ferplus"] is rows[1]["expression_ferplus_probs"] is None
    assert rows[1]["status"] == "ok"
    assert (rows[2]["status"], rows[2]["expression_human"]) == ("bad_row", EXPRESSIONS.index("anger"))
    assert "line 4 of fer2013new.csv: its votes for 'anger' are 'x'" in rows[2]["detail"]


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        (["Training,,0,0,0,0,0,0,0,0,0,0"], "fer2013new.csv ends after 1 rows"),
        (["Training,,0,0,0,0,0,0,0,0,0,0"] * 3, "fer2013.csv ends after 2 rows"),
        (["PublicTest,,0,0,0,0,0,0,0,0,0,0"] * 2, "is of 'PublicTest', and row 0 of fer2013.csv of 'Training'"),
        (["Training,fer0000001.png,0,0,0,0,0,0,0,0,0,0"] * 2, "is about 'fer0000001.png'; 'fer0000000.png' was"),
    ],
)
def test_votes_that_are_of_other_rows_are_not_joined(tmp_path: Path, votes: list[str], expected: str) -> None:
    write_csv(tmp_path, row(), row())
    write_votes(tmp_path, *votes)
    with pytest.raises(UserError) as error:
        list(open_source("fer2013", tmp_path).samples())
    assert expected in sentence(error)
    assert "a row for each row" in str(error.value)


def test_folders_of_images(tmp_path: Path) -> None:
    touch(tmp_path, "train/angry/2.jpg", "train/angry/10.jpg", "test/happy/a.png", "train/misc/x.jpg", "notes/y.jpg")
    source = open_source("fer2013", tmp_path)
    found = by_id(source)
    assert list(found) == ["test/happy/a.png", "train/angry/10.jpg", "train/angry/2.jpg", "train/misc/x.jpg"]
    assert found["test/happy/a.png"].split == "test"
    assert found["train/angry/2.jpg"].values == {"expression_human": EXPRESSIONS.index("anger")}
    assert found["train/misc/x.jpg"].status == "bad_row"
    assert all(sample.whole for sample in found.values())
    as_manifest(source, tmp_path)
    write_votes(tmp_path)
    with pytest.raises(UserError, match="cannot be joined with images in folders"):
        open_source("fer2013", tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        open_source("fer2013", tmp_path)
    assert "'fer2013.csv'" in sentence(error)
    assert "Kaggle" in str(error.value)
    write(tmp_path, "fer2013.csv", "emotion,Usage\n3,Training\n")
    with pytest.raises(UserError, match="lacks the column 'pixels'"):
        open_source("fer2013", tmp_path)


def test_the_fingerprint_is_of_both_csv_files(tmp_path: Path) -> None:
    write_csv(tmp_path, row())
    first = open_source("fer2013", tmp_path).fingerprint()
    write_votes(tmp_path, "Training,,0,0,0,0,0,0,0,0,0,0")
    second = open_source("fer2013", tmp_path).fingerprint()
    write_csv(tmp_path, row(1))
    assert len({first, second, open_source("fer2013", tmp_path).fingerprint()}) == 3
