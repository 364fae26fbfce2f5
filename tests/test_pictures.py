"""The pictures that references lead to: every kind of file, any order, and the reason where there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cifar_files as build
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cifar_files import LAYOUTS, TINY, member, png, read_all, tar_of
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.images import digits, parquet, pictures, reader
from noisyfer.images.align import read_face
from noisyfer.images.cifar import open_cifar10
from noisyfer.images.decode import UnreadableImage
from noisyfer.images.pictures import PictureReader
from noisyfer.images.reader import read_images


def picture(number: int, side: int = 8) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)


def fetch(root: Path, *references: str) -> list[Any]:
    with PictureReader(root) as opened:
        return opened.fetch(references)


def failure(root: Path, reference: str) -> UnreadableImage:
    found = fetch(root, reference)[0]
    assert isinstance(found, UnreadableImage)
    assert found.reference == reference
    return found


# ---- plain files


def test_a_plain_file_is_its_path(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b#c.png").write_bytes(png(picture(0)))
    paths = fetch(tmp_path, "a/b#c.png", "./a//b#c.png")
    assert paths == [tmp_path / "a" / "b#c.png"] * 2


@pytest.mark.parametrize(
    "reference", ["", "../a.png", "a/../../a.png", "/etc/passwd", "C:/a.png", "a\\b.png", "a\0b.png", "../f.parquet#1"]
)
def test_a_reference_out_of_the_root_is_refused(reference: str, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "a.png").write_bytes(png(picture(0)))
    found = fetch(tmp_path / "root", reference)[0]
    assert found.status == "refused"
    assert "\n" not in str(found)
    assert "\0" not in str(found)


def test_a_link_out_of_the_root_is_refused_and_one_within_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(png(picture(0)))
    (root / "in.png").write_bytes(png(picture(1)))
    (root / "far.png").symlink_to(tmp_path / "secret.png")
    (root / "near.png").symlink_to("in.png")
    found = failure(root, "far.png")
    assert found.status == "refused"
    assert "outside the dataset's root" in found.reason
    assert fetch(root, "near.png") == [root / "near.png"]


def test_folders_are_resolved_for_links_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk of the network each folder from `/` down would be asked for once more for every picture."""
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    for file in (root / "a" / "in.png", tmp_path / "secret" / "out.png"):
        file.write_bytes(b"")
    resolved: list[Path] = []
    resolve = Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda path: (resolved.append(path), resolve(path))[1])
    with PictureReader(root) as opened:
        assert opened.fetch(["a/in.png"] * 3 + ["./a/in.png"]) == [root / "a" / "in.png"] * 4
        assert resolved == []
        (root / "a").rename(root / "b")
        (root / "a").symlink_to("b")
        assert opened.fetch(["a/in.png"]) == [root / "a" / "in.png"]
        (root / "a").unlink()
        (root / "a").symlink_to(tmp_path / "secret")  # no answer from before is believed
        assert opened.fetch(["a/out.png"])[0].status == "refused"
    assert resolved


def test_a_root_that_is_another_link_now_is_no_reason_to_refuse(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"")
    (tmp_path / "two" / "b.png").symlink_to("a.png")
    (tmp_path / "two" / "c.png").symlink_to(tmp_path / "one" / "a.png")
    root = tmp_path / "now"
    root.symlink_to("one")
    assert fetch(root, "a.png") == [root / "a.png"]
    root.unlink()
    root.symlink_to("two")
    assert fetch(root, "a.png", "b.png") == [root / "a.png", root / "b.png"]
    assert failure(root, "c.png").status == "refused"


def test_what_is_not_there_is_missing_and_the_others_are_given(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(picture(0)))
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    found = fetch(tmp_path, "b.png", "a.png", "folder.png", "pipe.png", "none.parquet#3")
    assert [getattr(each, "status", "ok") for each in found] == ["missing", "ok", "missing", "missing", "missing"]
    assert found[4].reference == "none.parquet#3"


def test_a_root_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder or archive") as caught:
        fetch(tmp_path / "nowhere", "a.png")
    sentence(caught)
    assert fetch(tmp_path / "nowhere", "digits#0")[0].shape == (32, 32, 3)
    assert fetch(tmp_path / "nowhere") == []


# ---- Parquet


def write_parquet(path: Path, count: int, group: int, nulls: tuple[int, ...] = (), *, plain: bool = False) -> None:
    contents = [None if row in nulls else png(picture(row)) for row in range(count)]
    if plain:
        column = pa.array(contents, pa.binary())
    else:
        column = pa.array([{"bytes": content, "path": f"{row}"} for row, content in enumerate(contents)])
    pq.write_table(pa.table({"image": column, "label": range(count)}), path, row_group_size=group)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.integers(0, 29), max_size=40),
    group=st.sampled_from([1, 4, 30]),
    part=st.sampled_from([1, 3, 100]),
    plain=st.booleans(),
)
def test_rows_of_parquet_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], group: int, part: int, plain: bool
) -> None:
    root = tmp_path_factory.mktemp("parquet")
    write_parquet(root / "a.parquet", 30, group, plain=plain)
    with pytest.MonkeyPatch.context() as patch, PictureReader(root) as opened:
        patch.setattr(parquet, "MAX_PART_ROWS", part)
        for start in range(0, len(rows), 7):
            wanted = rows[start : start + 7]
            assert opened.fetch([f"a.parquet#{row}" for row in wanted]) == [png(picture(row)) for row in wanted]


def test_rows_in_ascending_order_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "a.parquet", 60, 20)
    monkeypatch.setattr(parquet, "MAX_PART_ROWS", 5)
    groups = []
    original = parquet.PictureColumn._parts_of
    monkeypatch.setattr(
        parquet.PictureColumn, "_parts_of", lambda self, group: groups.append(group) or original(self, group)
    )
    with PictureReader(tmp_path) as opened:
        for start in range(0, 60, 4):
            opened.fetch([f"a.parquet#{row}" for row in range(start, start + 4)])
        assert groups == [0, 1, 2]
        opened.fetch(["a.parquet#45", "a.parquet#42"])
        assert groups == [0, 1, 2, 2]


def test_parts_of_a_row_group_are_small_where_its_pictures_are_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(tmp_path / "a.parquet", 40, 40)
    monkeypatch.setattr(parquet, "PART_BYTES", 3 * len(png(picture(0))))
    with PictureReader(tmp_path) as opened:
        opened.fetch(["a.parquet#20"])
        held = opened._open["a.parquet"]
        assert isinstance(held, parquet.PictureColumn)
        assert 1 <= len(held._part) <= 4


def test_a_row_without_a_picture_fails_alone(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", 6, 3, nulls=(2,))
    found = fetch(tmp_path, "a.parquet#1", "a.parquet#2", "a.parquet#9")
    assert found[0] == png(picture(1))
    assert (found[1].status, found[1].reference) == ("unreadable", "a.parquet#2")
    assert (found[2].status, found[2].reference) == ("missing", "a.parquet#9")
    assert "6 images, 0 to 5" in found[2].reason
    with pytest.raises(UnreadableImage, match="row holds no picture"):
        read_all(tmp_path, ["a.parquet#1", "a.parquet#2"])


def test_a_damaged_parquet_file_is_an_error(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", 30, 10)
    good = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "text.parquet").write_text("no Parquet")
    (tmp_path / "short.parquet").write_bytes(good[:-50])
    pq.write_table(pa.table({"label": [1, 2]}), tmp_path / "other.parquet")
    for file, said in (("text", "no Parquet file"), ("short", "no Parquet file"), ("other", "expected 'img'")):
        with pytest.raises(UserError, match=said) as caught:
            fetch(tmp_path, f"{file}.parquet#0")
        assert not isinstance(caught.value, UnreadableImage)
        assert f"{file}.parquet" in sentence(caught)


def test_a_damaged_page_is_an_error_where_its_checksum_tells(tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([png(picture(row)) for row in range(30)], pa.binary())})
    pq.write_table(table, tmp_path / "a.parquet", write_page_checksum=True, compression="none", use_dictionary=False)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.parquet.*damaged"):
        fetch(tmp_path, *(f"a.parquet#{row}" for row in range(30)))


# ---- CIFAR-10, digits, archives


@pytest.mark.parametrize("layout", ["python", "python archive", "binary", "parquet in shards"])
@pytest.mark.parametrize("held", [1, 4])
def test_pictures_of_cifar_in_any_order(
    layout: str, held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "HELD_FILES", held)
    cifar = open_cifar10(LAYOUTS[layout](tmp_path))
    references, truth = cifar.references("train") + cifar.references("test"), np.r_[TINY.train_images, TINY.test_images]
    chosen = np.random.default_rng(0).integers(0, len(truth), 60)
    with PictureReader(cifar.root) as opened:
        for part in np.split(chosen, 6):
            found = opened.fetch([references[row] for row in part])
            faces = [read_face(source, "x", None, 32) for source in found]  # type: ignore[arg-type]
            assert np.array_equal(faces, truth[part])
            assert len(opened._open) <= held


def test_digits_and_files_in_one_list(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(picture(0)))
    found = fetch(tmp_path, "digits#3", "a.png", "digits#1797")
    assert np.array_equal(found[0], digits.digit_pixels(np.array([3]))[0])
    assert found[1] == tmp_path / "a.png"
    assert found[2].status == "missing"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    entries = [member(f"x/{number}.png", png(picture(number))) for number in range(12)]
    return tar_of([*entries, member("x/empty.png", b"")], tmp_path / "p.tar.gz")


def test_files_of_an_archive_in_its_order_come_in_one_pass(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    original = pictures.members
    monkeypatch.setattr(pictures, "members", lambda *about: passes.append(1) or original(*about))
    with PictureReader(archive) as opened:
        for start in range(0, 12, 3):
            numbers = range(start, start + 3)
            assert opened.fetch([f"x/{number}.png" for number in numbers]) == [png(picture(n)) for n in numbers]
        assert len(passes) == 1
        assert opened.fetch(["x/empty.png", "x/2.png", "x/11.png"]) == [b"", png(picture(2)), png(picture(11))]
        missing = opened.fetch(["x/1.png", "x/none.png"])
    assert missing[0] == png(picture(1))
    assert isinstance(missing[1], UnreadableImage)
    assert missing[1].status == "missing"


def test_the_order_of_reading_is_that_of_the_files(archive: Path, tmp_path: Path) -> None:
    with PictureReader(archive) as opened:
        assert opened.order(["x/5.png", "x/none.png", "./x/1.png", "x/3.png"]) == [2, 3, 0, 1]
    write_parquet(tmp_path / "a.parquet", 3, 3)
    with PictureReader(tmp_path) as opened:
        references = ["a.parquet#2", "p.png", "b.parquet#0", "a.parquet#1", "q.png", "./a.parquet#0"]
        assert opened.order(references) == [5, 3, 0, 2, 1, 4]


# ---- the reader for whole lists


def test_lists_are_read_by_the_same_code_as_single_pictures(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", 10, 4)
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(png(picture(number, 60)))
    references = [name for number in range(10) for name in (f"{number}.png", f"a.parquet#{9 - number}", "digits#5")]
    eyes = [None if place % 4 == 0 else (2.0 + place / 9, 2.0, 5.5 + place / 9, 3.0) for place in range(30)]
    result = np.zeros((30, 24, 24, 3), np.uint8)
    for positions, pixels in read_images(tmp_path, references, 24, eyes):
        result[positions] = pixels
    for place, source in enumerate(fetch(tmp_path, *references)):
        assert np.array_equal(result[place], read_face(source, "x", eyes[place], 24)), references[place]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_pixels_do_not_depend_on_the_threads(threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(70):
        (tmp_path / f"{number}.png").write_bytes(png(picture(number, 40)))
    references = [f"{number}.png" for number in range(70)] * 2
    monkeypatch.setattr(reader, "THREADS", threads)
    monkeypatch.setattr(reader, "_PART", 3)
    found = read_all(tmp_path, references, 40)
    assert all(np.array_equal(found[place], picture(place % 70, 40)) for place in range(140))


def test_an_image_that_cannot_be_read_ends_the_reading_with_its_sentence(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(png(picture(number)))
    (tmp_path / "7.png").write_bytes(b"")
    (tmp_path / "9.png").unlink()
    references = [f"{number}.png" for number in range(40)]
    with pytest.raises(UnreadableImage, match=r"'9\.png'"):
        read_all(tmp_path, references[8:])
    with pytest.raises(UnreadableImage, match=r"'7\.png'"):
        read_all(tmp_path, references[:9])
    (tmp_path / "7.png").write_bytes(png(picture(7)))
    with pytest.raises(UnreadableImage) as caught:
        list(read_images(tmp_path, references[:2], 8, [None, (1.0, 1.0, 1.0, 1.0)]))
    assert caught.value.status == "bad_landmarks"


def test_a_batch_with_one_row_too_few_still_names_the_row(tmp_path: Path) -> None:
    cifar = open_cifar10(build.write_binary(tmp_path, TINY))
    beyond = cifar.references("test")[0].replace("#0", "#4")
    assert failure(cifar.root, beyond).status == "missing"


def test_a_row_of_a_single_picture_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    found = failure(tmp_path, "a.jpg#1")
    assert (found.status, "no packed file" in found.reason) == ("unreadable", True)
