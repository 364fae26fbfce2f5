"""RAF-DB."""

from __future__ import annotations

from pathlib import Path

import pytest
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.relabel.sources import EXPRESSIONS, Source
from noisyfer.relabel.sources.raf import Raf
from source_files import as_manifest, by_id, open_source, touch, write, write_raf

EYES = "30.5\t40\n70\t42.25\n50\t60\n35\t80\n66\t81\n0\n1\n2\n"
NAMES = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")


def test_ids_are_mapped_by_name_and_the_split_is_the_prefix(tmp_path: Path) -> None:
    lines = [f"train_{label:05d}.jpg {label}" for label in range(1, 8)] + ["test_0001.jpg 4"]
    write_raf(tmp_path / "basic", lines, {"train_00001": EYES})
    found = by_id(open_source("raf", tmp_path))
    assert list(found) == [*(f"train_{label:05d}" for label in range(1, 8)), "test_0001"]
    assert [EXPRESSIONS[found[f"train_{label:05d}"].values["expression_human"]] for label in range(1, 8)] == list(NAMES)
    assert (found["test_0001"].split, found["train_00001"].split) == ("test", "train")
    assert found["train_00001"].image == "basic/Image/original/train_00001.jpg"
    assert found["train_00001"].eyes == (30.5, 40.0, 70.0, 42.25)
    assert not found["train_00001"].whole
    as_manifest(open_source("raf", tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("place", "root", "prefix"),
    [
        ("basic", "", "basic/"),
        ("basic", "basic", ""),
        ("rafd/basic", "", "rafd/basic/"),
        ("rafd/basic", "rafd", "basic/"),
    ],
)
@pytest.mark.parametrize("images", ["original", "original/imgs"])
def test_the_root_may_be_one_of_several_folders(
    tmp_path: Path, place: str, root: str, prefix: str, images: str
) -> None:
    write_raf(tmp_path / place, ["train_00001.jpg 5"], {"train_00001": EYES}, images)
    sample = by_id(open_source("raf", tmp_path / root))["train_00001"]
    assert sample.image == f"{prefix}Image/{images}/train_00001.jpg"
    assert (tmp_path / root / sample.image).exists()
    assert sample.eyes is not None


@pytest.mark.parametrize("images", ["aligned", "aligned/imgs"])
def test_aligned_pictures_are_taken_whole_where_there_are_no_originals(tmp_path: Path, images: str) -> None:
    write_raf(tmp_path / "basic", ["train_00001.jpg 5"], {"train_00001": EYES}, images)
    touch(tmp_path, f"basic/Image/{images}/train_00001_aligned.jpg")
    (tmp_path / "basic/Image/original").mkdir()
    sample = by_id(open_source("raf", tmp_path))["train_00001"]
    assert sample.image == f"basic/Image/{images}/train_00001_aligned.jpg"
    assert sample.whole
    assert sample.eyes is None
    touch(tmp_path, "basic/Image/original/train_00001.jpg")
    assert not by_id(open_source("raf", tmp_path))["train_00001"].whole


@pytest.mark.parametrize(
    "text", ["", "30 40\n70 42\n", EYES.replace("42.25", "x"), EYES.replace("40\n", "\n"), "nan nan\n" * 5]
)
def test_without_usable_landmarks_the_detector_decides(tmp_path: Path, text: str) -> None:
    write_raf(tmp_path / "basic", ["train_00001.jpg 5", "train_00002.jpg 5"], {"train_00001": text})
    for sample in by_id(open_source("raf", tmp_path)).values():
        assert (sample.eyes, sample.whole, sample.status) == (None, False, "ok")


def test_broken_lines_are_rows_with_a_status(tmp_path: Path) -> None:
    lines = ["\ufefftrain_1.jpg 1\r", "", "train_2.jpg 0", "train_3.jpg", "photo_4.jpg 3", "train_5.jpg 1 2"]
    lines += ["../../etc/passwd 3", "/train_7.jpg 3", "train_1.jpg 2"]
    write_raf(tmp_path / "basic", lines)
    found = by_id(open_source("raf", tmp_path))
    said = {name: (sample.status, sample.detail) for name, sample in found.items()}
    expected = "a number from 1 to 7 was expected"
    assert said["train_1"] == said["train_1~2"] == ("ok", None)
    assert said["train_2"] == ("bad_row", f"line 3 of the list gives it the class '0'; {expected}")
    assert said["train_3"] == ("bad_row", f"line 4 of the list gives it the class ''; {expected}")
    assert said["photo_4"][0] == "bad_row"
    assert "neither train_ nor test_" in str(said["photo_4"][1])
    assert said["train_5"] == ("bad_row", f"line 6 of the list gives it the class '1 2'; {expected}")
    assert said["passwd"][0] == said["train_7"][0] == "refused"
    assert found["passwd"].image == "refused/etc/passwd"
    assert len(found) == 8
    as_manifest(open_source("raf", tmp_path), tmp_path)


def test_rows_are_counted_without_reading_landmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["train_1.jpg 1", "", "  ", "test_1.jpg 2", "test_2.jpg", "photo.jpg 3", "../test_3.jpg 3", "/test_4.jpg 1"]
    write_raf(tmp_path / "basic", lines)
    source = open_source("raf", tmp_path)
    expected = [Source.rows(source, split) for split in (None, "train", "val", "test")]
    assert expected[0] == 6
    monkeypatch.delattr(Raf, "_eyes")
    assert [source.rows(split) for split in (None, "train", "val", "test")] == expected


def test_what_is_missing_is_named_with_where_to_ask_for_it(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        open_source("raf", tmp_path)
    told = sentence(error)
    assert "'basic/EmoLabel/list_patition_label.txt'" in told
    assert "found nothing" in told
    assert "Shan Li and Weihong Deng" in told
    assert "make-faces" in told
    write(tmp_path, "basic/EmoLabel/list_patition_label.txt", "train_00001.jpg 5\n")
    (tmp_path / "basic/Image/original").mkdir(parents=True)
    with pytest.raises(UserError) as error:
        open_source("raf", tmp_path)
    assert "images in 'basic/Image/original' or 'basic/Image/aligned'" in sentence(error)


def test_a_changed_annotation_changes_the_fingerprint_and_an_image_does_not(tmp_path: Path) -> None:
    write_raf(tmp_path / "basic", ["train_00001.jpg 5"], {"train_00001": EYES})
    first = open_source("raf", tmp_path).fingerprint()
    write(tmp_path, "basic/Image/original/train_00001.jpg", "another")
    assert open_source("raf", tmp_path).fingerprint() == first
    write(tmp_path, "basic/Annotation/manual/train_00001_manu_attri.txt", EYES.replace("40", "41"))
    second = open_source("raf", tmp_path).fingerprint()
    write(tmp_path, "basic/EmoLabel/list_patition_label.txt", "train_00001.jpg 4\n")
    assert len({first, second, open_source("raf", tmp_path).fingerprint()}) == 3
