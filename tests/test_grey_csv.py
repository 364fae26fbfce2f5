"""FER2013's csv as a packed file: the pixels of any row in every form of the file, and what is wrong with a bad one."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from messages import sentence
from noisyfer.core.errors import UserError
from noisyfer.images import grey_csv
from noisyfer.images.decode import UnreadableImage
from noisyfer.images.pictures import PictureReader


def fetch(root: Path, *references: str) -> list[Any]:
    with PictureReader(root) as opened:
        return opened.fetch(references)


def grey(row: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(row).integers(0, 256, (48, 48), dtype=np.uint8)


def csv_line(row: int) -> str:
    return f"{row % 7},{' '.join(map(str, grey(row).ravel()))},Training"


FORMS = {
    "as published": lambda lines: "\n".join(["emotion,pixels,Usage", *lines, ""]).encode(),
    "without a last line end": lambda lines: "\n".join(["emotion,pixels,Usage", *lines]).encode(),
    "CRLF": lambda lines: "\r\n".join(["emotion,pixels,Usage", *lines, ""]).encode(),
    "BOM": lambda lines: "\n".join(["pixels", *(line.split(",")[1] for line in lines), ""]).encode("utf-8-sig"),
    "blank lines": lambda lines: "\n\n".join(["emotion,pixels,Usage", *lines, "", " ", '""', ""]).encode(),
    "quoted": lambda lines: "\n".join(
        ['"emotion","pixels","Usage"', *('"{}","{}","{}"'.format(*line.split(",")) for line in lines)]
    ).encode(),
    "other columns": lambda lines: "\n".join(
        ["Usage, Pixels ,note", *('{2},{1},"a, b"'.format(*line.split(",")) for line in lines)]
    ).encode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("block", [100, 2**23])
def test_rows_of_fer2013s_csv(form: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grey_csv, "_BLOCK", block)
    (tmp_path / "fer.csv").write_bytes(FORMS[form]([csv_line(row) for row in range(5)]))
    with PictureReader(tmp_path) as opened:
        for rows in ([0, 1, 2, 3, 4], [3, 0, 3], [4]):
            for row, found in zip(rows, opened.fetch([f"fer.csv#{row}" for row in rows]), strict=True):
                assert isinstance(found, np.ndarray)
                assert np.array_equal(found, np.repeat(grey(row)[..., None], 3, axis=2))
        beyond = opened.fetch(["fer.csv#5"])[0]
    assert isinstance(beyond, UnreadableImage)
    assert (beyond.status, beyond.reference) == ("missing", "fer.csv#5")
    assert "5 images, 0 to 4" in beyond.reason


def test_blank_lines_are_no_rows_for_the_csv_module_either(tmp_path: Path) -> None:
    """The labels come through Python's csv module, the pixels do not: both must count alike."""
    (tmp_path / "fer.csv").write_bytes(FORMS["blank lines"]([csv_line(row) for row in range(5)]))
    with (tmp_path / "fer.csv").open(newline="") as stream:
        rows = [row for row in csv.reader(stream) if len(row) > 1 or "".join(row).strip()]
    with PictureReader(tmp_path) as opened:
        opened.fetch(["fer.csv#0"])
        assert len(opened._open["fer.csv"]) == len(rows) - 1 == 5


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        ("1 2 3", "it has 3 pixels; 2,304 were expected"),
        ("", "it has 0 pixels"),
        (" ".join(["256"] * 2304), "hold 256; numbers from 0 to 255"),
        (" ".join(["-1"] * 2304), "hold '-1'"),
        (" ".join(["1.5"] * 2304), "hold '1.5'"),
        (" ".join(["nan"] * 2304), "hold 'nan'"),
        (" ".join(["1_0"] * 2304), "hold '1_0'"),
        (" ".join(["9" * 5000] * 2304), "more than the"),
        ("1 " * 400_000, "it has 400,000 pixels"),
        ("   ", "it has 0 pixels"),
        (" ".join(["0"] * 2303 + ["9" * 30]), "hold 1000000000; numbers from 0 to 255"),
        (" ".join(["0"] * 2303 + ["12345"]), "hold 12345; numbers"),
    ],
)
def test_pixels_that_are_none_fail_alone(pixels: str, said: str, tmp_path: Path) -> None:
    lines = ["emotion,pixels,Usage", csv_line(0), f"3,{pixels},Training", csv_line(2), ""]
    (tmp_path / "fer.csv").write_text("\n".join(lines))
    found = fetch(tmp_path, "fer.csv#0", "fer.csv#1", "fer.csv#2")
    assert isinstance(found[0], np.ndarray)
    assert np.array_equal(found[2][..., 0], grey(2))
    assert found[1].status == "unreadable"
    assert found[1].reference == "fer.csv#1"
    assert said in found[1].reason or "field larger than field limit" in found[1].reason
    assert "\n" not in str(found[1])


def test_a_row_that_ends_before_its_pixels_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "fer.csv").write_text("emotion,pixels,Usage\n3\n" + csv_line(1))
    found = fetch(tmp_path, "fer.csv#0", "fer.csv#1")
    assert "1 cells and no 'pixels'" in found[0].reason
    assert isinstance(found[1], np.ndarray)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no line at all"),
        (b"emotion,Usage\n1,Training\n", "'emotion', 'Usage'; expected FER2013's emotion,pixels,Usage"),
        (b"emotion,pixels,Usage\r1,2 3,Training\r", "carriage returns within lines"),
        (b"x" * (2**20 + 5), "more than the 1,048,576 bytes"),
    ],
)
def test_a_csv_of_another_kind_is_an_error(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "fer.csv").write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        fetch(tmp_path, "fer.csv#0")
    assert not isinstance(caught.value, UnreadableImage)
    assert "fer.csv" in sentence(caught)


def test_pixels_are_read_at_once_and_not_one_by_one(tmp_path: Path) -> None:
    """Python's own `int` is what takes long; reading all of them in numpy takes a tenth of the time."""
    text = csv_line(0).split(",")[1]
    called = 0

    def count(*_: object) -> None:
        nonlocal called
        called += 1

    sys.setprofile(count)
    try:
        found = grey_csv._picture(text)
    finally:
        sys.setprofile(None)
    assert np.array_equal(found[..., 0], grey(0))
    assert called < 200
