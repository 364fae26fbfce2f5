"""What sources share: csv files, safe references, unique ids, eyes."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.images.references import canonical, split_reference
from noisyfer.manifest import _UNSAFE_IMAGE
from noisyfer.relabel.sources.annotations import UniqueIds, csv_rows, eyes_of_68, hash_files, number, safe_reference
from source_files import landmarks, write

CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda text: "\0" not in text)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_what_a_csv_writer_writes_is_read_back(rows: list[tuple[str, str]], bom: bool, ends: str) -> None:
    import tempfile

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator=ends, quoting=csv.QUOTE_ALL)
    writer.writerows([("Left", "b", "c"), *((a, "x", b) for a, b in rows)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(b"\xef\xbb\xbf" * bom + stream.getvalue().encode())
        found = [row for _, row in csv_rows(path, ["c", "left"])]
    assert found == [{"left": a.strip(), "c": b.strip()} for a, b in rows]


def test_lines_are_numbered_and_blank_ones_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'a,b\r\n1,"x, y"\r\n\r\n  \r\n2\r\n')
    assert list(csv_rows(path, ["a"], ["b", "c"])) == [(2, {"a": "1", "b": "x, y"}), (5, {"a": "2"})]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"img,b\n1,2\n", "lacks the column 'a'. It has the columns 'img', 'b'; expected 'a', 'b', perhaps 'c'"),
        (b"x;y\n1;2\n", "lacks the columns 'a', 'b'. It has the columns 'x;y'"),
        (b"", "It has the columns none;"),
        (b"a,b,A\n1,2,3\n", "has the column 'a' more than once"),
        ("a,b\n".encode("utf-16"), "is a text in UTF-16"),
        (b'a,b\n1,2\n3,"' + b"x" * 2**20 + b"\n", "cannot be read as csv (field larger than field limit"),
        (b"a,b\n1,\x00\n" + b"y" * 2**21, "Line 3 of"),
    ],
)
def test_a_csv_that_cannot_be_used_is_a_sentence(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(UserError) as error:
        list(csv_rows(write(tmp_path, "a.csv", content), ["a", "b"], ["c"]))
    assert expected in sentence(error)


def test_a_csv_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*no\.csv: No such file"):
        list(csv_rows(tmp_path / "no.csv", ["a"]))


def test_broken_bytes_in_a_csv_do_not_stop_it(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b"a\n\xff\xfe\n1\n")
    assert [row["a"] for _, row in csv_rows(path, ["a"])] == ["\ufffd\ufffd", "1"]


@given(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
        st.lists(st.sampled_from(["..", ".", "/", "\\", "a", "C:", "#1", "..#12", "\0"]), max_size=8).map("".join),
        st.lists(st.sampled_from(["..", "a", "", "C:", "..#1"]), max_size=5).map("/".join),
    )
)
def test_a_reference_is_safe_for_a_manifest_whatever_the_annotation_says(text: str) -> None:
    reference, problem = safe_reference(text)
    assert not re.search(_UNSAFE_IMAGE, reference)
    assert reference == canonical(reference)
    if canonical(split_reference(text)[0]) is None:
        assert problem is not None
    if problem is None:
        assert safe_reference(reference) == (reference, None)
    else:
        assert reference.split("/")[0].startswith("refused")


@given(st.lists(st.text("ab.# é", min_size=1, max_size=5).filter(lambda part: part.strip(".")), min_size=1, max_size=4))
def test_ordinary_paths_stay_as_they_are(parts: list[str]) -> None:
    path = "/".join([*parts, "x.jpg"])
    assert safe_reference(path) == (path, None)


def test_paths_that_leave_the_root_are_named() -> None:
    assert safe_reference("a//./b.jpg") == ("a/b.jpg", None)
    reference, problem = safe_reference("../../etc/passwd")
    assert reference == "refused/etc/passwd"
    assert problem == "its path '../../etc/passwd' is empty, absolute or leads out of the dataset"
    assert safe_reference("/etc/passwd")[0] == "refused/etc/passwd"
    assert safe_reference("C:\\x\\..\\y.jpg")[0] == "refused/C:/x/y.jpg"
    assert safe_reference("")[0] == "refused"


@given(st.lists(st.sampled_from(["a", "a~2", "a~2~2", "a~3", "b"]), max_size=30))
def test_ids_become_unique_and_the_first_keeps_its_own(wanted: list[str]) -> None:
    unique = UniqueIds()
    found = [unique(name) for name in wanted]
    assert len(set(found)) == len(found)
    assert all(name.startswith(asked) for name, asked in zip(found, wanted, strict=True))
    if wanted:
        assert found[0] == wanted[0]


def test_the_second_and_third_of_an_id_are_numbered() -> None:
    unique = UniqueIds()
    assert [unique(name) for name in ("a", "a", "b", "a", "a~2")] == ["a", "a~2", "b", "a~3", "a~2~2"]


def test_the_eyes_are_the_means_of_six_points_each() -> None:
    points = landmarks((40, 50), (80.5, 52))
    assert eyes_of_68(points) == pytest.approx((40, 50, 80.5, 52))
    assert eyes_of_68(points[:-2]) is None
    assert eyes_of_68([*points[:80], float("nan"), *points[81:]]) is None


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1,5", "--1"])
def test_what_is_no_finite_number_is_none(text: str) -> None:
    assert number(text) is None


def test_the_hash_is_over_names_contents_and_what_else_counts(tmp_path: Path) -> None:
    write(tmp_path, "a", "12")
    write(tmp_path, "b", "3")
    first = hash_files(tmp_path, ["a", "b"], {"x": "1"})
    assert first == hash_files(tmp_path, ["a", "b"], {"x": "1"})
    write(tmp_path, "c", "1")
    write(tmp_path, "d", "23")
    others = [(["b", "a"], {"x": "1"}), (["a", "b"], {"x": "2"}), (["c", "d"], {"x": "1"}), (["a"], {"x": "1"})]
    assert len({first, *(hash_files(tmp_path, files, more) for files, more in others)}) == 5
    with pytest.raises(UserError, match="Cannot read"):
        hash_files(tmp_path, ["no"])
