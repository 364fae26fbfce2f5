"""make-faces: two layouts to the byte, one state under expression and valence/arousal, annotators with habits."""

from __future__ import annotations

import csv
import hashlib
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from messages import sentence
from noisyfer.cli import main
from noisyfer.core.errors import UserError
from noisyfer.relabel.drawn import artists
from noisyfer.relabel.drawn.layouts import LAYOUTS
from noisyfer.relabel.drawn.make import FacesOptions, make_faces
from noisyfer.relabel.drawn.worlds import AFFECTNET, RAF, draw_sample, sample_state
from noisyfer.relabel.sources import EXPRESSIONS, SOURCES
from PIL import Image

WORLDS = {world.name: world for world in (RAF, AFFECTNET)}

N = 8
PLACES = {  # written out once more: the documented positions
    **{"happy": (0.8, 0.3), "sad": (-0.6, -0.3), "surprise": (0.1, 0.8), "fear": (-0.6, 0.8)},
    **{"disgust": (-0.7, 0.3), "anger": (-0.6, 0.7), "contempt": (-0.5, 0.2)},
}
RAF_NAMES = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")
HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, no_waiting_for_the_disk: None) -> Path:
    """Both datasets, drawn in one process."""
    out = tmp_path_factory.mktemp("drawn")
    make_faces(out, FacesOptions(n=N, seed=3, workers=1))
    return out


def truth(out: Path, name: str) -> list[dict[str, str]]:
    with (out / f"{name}-truth.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def contents(root: Path) -> dict[str, str]:
    """Every file below a folder with its SHA-256."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def folder_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_raf_is_laid_out_to_the_byte(drawn: Path) -> None:
    basic = drawn / "raf" / "basic"
    raw = (basic / "EmoLabel" / "list_patition_label.txt").read_bytes()
    lines = raw.decode("ascii").split("\n")
    assert lines.pop() == ""
    expected = [f"train_{number:05d}" for number in range(1, N + 1)]
    expected += [f"test_{number:04d}" for number in range(1, N // 4 + 1)]
    assert [line.rpartition(".jpg ")[0] for line in lines] == expected
    assert all(re.fullmatch(r"(train_\d{5}|test_\d{4})\.jpg [1-7]", line) for line in lines)
    assert folder_names(basic / "Image" / "original") == {f"{name}.jpg" for name in expected}
    assert folder_names(basic / "Image" / "aligned") == {f"{name}_aligned.jpg" for name in expected}
    assert folder_names(basic / "Annotation" / "manual") == {f"{name}_manu_attri.txt" for name in expected}
    assert folder_names(basic) == {"EmoLabel", "Image", "Annotation"}
    sizes = set()
    for name in expected:
        with Image.open(basic / "Image" / "aligned" / f"{name}_aligned.jpg") as aligned:
            assert (aligned.format, aligned.mode, aligned.size) == ("JPEG", "RGB", (100, 100))
        with Image.open(basic / "Image" / "original" / f"{name}.jpg") as original:
            assert (original.format, original.mode) == ("JPEG", "RGB")
            sizes.add(original.size)
        text = (basic / "Annotation" / "manual" / f"{name}_manu_attri.txt").read_text(encoding="ascii")
        assert re.fullmatch(r"(\d+\.\d{3}\t\d+\.\d{3}\n){5}[01]\n[0-2]\n[0-4]\n", text)
        (left, right, nose, mouth_left, mouth_right) = (
            tuple(map(float, line.split("\t"))) for line in text.split("\n")[:5]
        )
        assert left[0] < nose[0] < right[0] or abs(nose[0] - (left[0] + right[0]) / 2) < 60
        assert mouth_left[0] < mouth_right[0]
        assert max(left[1], right[1]) < max(mouth_left[1], mouth_right[1])
        assert all(0 <= x < original.width and 0 <= y < original.height for x, y in (left, right, nose))
    assert len(sizes) > N // 2


def test_affectnet_is_laid_out_to_the_byte(drawn: Path) -> None:
    root = drawn / "affectnet"
    row = re.compile(
        r"\d+/[0-9a-f]{56}\.jpg,\d+,\d+,\d+,\d+,(-?\d+\.\d{2};){135}-?\d+\.\d{2},(10|[0-9]),"
        r"(-?[01]\.\d{6}|-2),(-?[01]\.\d{6}|-2)"
    )
    listed = set()
    for name, count in (("training.csv", N), ("validation.csv", N // 4)):
        header, *lines, last = (root / name).read_bytes().decode("ascii").split("\n")
        assert (header, last, len(lines)) == (HEADER, "", count)
        for line in lines:
            assert row.fullmatch(line)
            path, left, top, width, height, points = line.split(",")[:6]
            listed.add(path)
            with Image.open(root / "Manually_Annotated_Images" / path) as image:
                assert (image.format, image.mode) == ("JPEG", "RGB")
                assert 0 < int(left) + int(width) <= image.width
                assert 0 < int(top) + int(height) <= image.height
            assert np.array(points.split(";"), dtype=float).reshape(-1, 2).shape == (68, 2)
    images = root / "Manually_Annotated_Images"
    assert {str(path.relative_to(images)) for path in images.rglob("*.jpg")} == listed
    assert folder_names(root) == {"training.csv", "validation.csv", "Manually_Annotated_Images", "drawn.json"}


@pytest.mark.parametrize(("kind", "valence"), [(8, r"-?[01]\.\d{6}"), (9, "-2"), (10, "-2")])
def test_affectnets_answers_for_no_expression(kind: int, valence: str, tmp_path: Path) -> None:
    index = next(index for index in range(2000) if sample_state(AFFECTNET, 0, "train", index)[1] == kind)
    layout = LAYOUTS["affectnet"]
    for folder in layout.folders(0, "train", [index]):
        (tmp_path / folder).mkdir(parents=True)
    row = layout.write(tmp_path, 0, "train", index)
    assert re.search(rf",{kind},{valence},{valence}$", row.line)
    assert (row.expression is None) == (kind == 10)
    assert len(row.truth.split(",")) == 15


def test_the_sources_read_what_the_annotators_said(drawn: Path) -> None:
    for name in WORLDS:
        source = SOURCES[name](drawn / name)
        source.check()
        samples = {sample.id: sample for sample in source.samples()}
        rows = {row["id"].removesuffix(".jpg"): row for row in truth(drawn, name)}
        assert {found.removesuffix(".jpg") for found in samples} == set(rows)
        for found, sample in samples.items():
            row = rows[found.removesuffix(".jpg")]
            assert sample.status == "ok"
            assert sample.split == row["split"]
            assert sample.eyes is not None
            label = sample.values.get("expression_human")
            annotated = row["annotated"] if row["annotated"] != "contempt" else ""
            assert ("" if label is None else EXPRESSIONS[label]) == annotated


def test_both_truths_follow_from_one_state(drawn: Path) -> None:
    seen = 0
    for name in WORLDS:
        for row in truth(drawn, name):
            if not row["expression"]:
                continue
            levels = {emotion: float(row[emotion]) for emotion in PLACES}
            total = sum(levels.values())
            expected = "neutral" if total < 0.3 else max(levels, key=lambda emotion: levels[emotion])
            assert row["expression"] == expected
            x = sum(level * PLACES[emotion][0] for emotion, level in levels.items())
            y = sum(level * PLACES[emotion][1] for emotion, level in levels.items())
            outside = max(1.0, math.sqrt(x * x + y * y))
            assert float(row["valence"]) == pytest.approx(x / outside, abs=1e-5)
            assert float(row["arousal"]) == pytest.approx(y / outside, abs=1e-5)
            assert float(row["intensity"]) == pytest.approx(min(1.0, total), abs=1e-5)
            seen += 1
    assert seen > N  # two datasets, few of whose images show no face


def test_the_truth_has_a_row_for_every_image_in_the_order_of_the_lists(drawn: Path) -> None:
    lines = (drawn / "raf" / "basic" / "EmoLabel" / "list_patition_label.txt").read_text().splitlines()
    rows = truth(drawn, "raf")
    assert [row["id"] for row in rows] == [line.partition(".jpg")[0] for line in lines]
    assert [RAF_NAMES[int(line[-1]) - 1] for line in lines] == [row["annotated"] for row in rows]
    with (drawn / "affectnet" / "training.csv").open(newline="") as stream:
        listed = [row["subDirectory_filePath"] for row in csv.DictReader(stream)]
    assert [row["id"] for row in truth(drawn, "affectnet") if row["split"] == "train"] == listed


def test_several_processes_draw_the_same_bytes_and_another_seed_others(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artists, "CHUNK", 1)  # more pieces than are handed out at once
    make_faces(tmp_path / "a", FacesOptions(n=N, seed=3, workers=2))
    assert contents(tmp_path / "a") == contents(drawn)
    other, mine = (draw_sample(RAF, seed, "train", 0).image for seed in (4, 3))
    assert other.tobytes() != mine.tobytes()


def test_an_image_does_not_depend_on_how_many_are_drawn(drawn: Path, tmp_path: Path) -> None:
    make_faces(tmp_path, FacesOptions(n=3, seed=3, workers=1))
    for name in ("raf", "affectnet"):
        images = {path: digest for path, digest in contents(tmp_path / name).items() if path.endswith((".jpg", ".txt"))}
        images.pop("basic/EmoLabel/list_patition_label.txt", None)
        more = contents(drawn / name)
        assert len(images) >= 4
        assert all(more[path] == digest for path, digest in images.items())


def test_a_folder_that_was_not_drawn_is_left_alone(drawn: Path, tmp_path: Path) -> None:
    real = tmp_path / "raf" / "basic" / "EmoLabel" / "list_patition_label.txt"
    real.parent.mkdir(parents=True)
    real.write_text("train_00001.jpg 5\n")
    before = contents(tmp_path)
    with pytest.raises(UserError) as error:
        make_faces(tmp_path, FacesOptions(n=2, workers=1))
    text = sentence(error)
    assert "was not made by make-faces" in text
    assert str(tmp_path / "raf") in text
    assert contents(tmp_path) == before


def test_a_drawn_folder_is_replaced_unless_something_was_put_into_it(tmp_path: Path) -> None:
    make_faces(tmp_path, FacesOptions(n=2, workers=1))
    make_faces(tmp_path, FacesOptions(n=1, workers=1))
    assert folder_names(tmp_path / "raf" / "basic" / "Image" / "original") == {"train_00001.jpg", "test_0001.jpg"}
    (tmp_path / "affectnet" / "mine.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(UserError) as error:
        make_faces(tmp_path, FacesOptions(n=2, workers=1))
    assert "with 4 files and now has 5" in sentence(error)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "words"), [({"n": 0}, "n is 0"), ({"n": 40_000}, "n is 40000"), ({"workers": -1}, "workers")]
)
def test_options_out_of_range_are_sentences(options: dict[str, int], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        make_faces(tmp_path, FacesOptions(**options))
    assert words in sentence(error)
    assert not list(tmp_path.iterdir())


def test_a_killed_process_leaves_nothing_and_is_told(tmp_path: Path) -> None:
    def kill(*_: object) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(UserError) as error:
        make_faces(tmp_path, FacesOptions(n=200, workers=2), kill)
    assert "was killed" in sentence(error)
    assert folder_names(tmp_path) == {".lock"}


def test_what_a_killed_command_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".tmp-0123abcd-raf"
    left.mkdir()
    (left / "half.jpg").write_bytes(b"half")
    make_faces(tmp_path, FacesOptions(n=1, workers=1))
    assert not left.exists()


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from noisyfer.cli import main; main()", "make-faces"]
    job = subprocess.Popen(
        [*command, "--out", str(tmp_path), "--n", "3000", "--workers", "1"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # a background job's children would ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".tmp-*-raf/basic/Image/original/*.jpg")) and time.monotonic() < until:
        time.sleep(0.02)
    job.send_signal(signal.SIGINT)
    _, told = job.communicate(timeout=60)
    assert (job.returncode, told.count("\n")) == (130, 1)
    assert "Nothing half-written is left" in told
    assert folder_names(tmp_path) == {".lock"}


def test_the_command_prints_counts_and_the_annotators_errors_and_writes_a_sheet(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from noisyfer.relabel.drawn import sheet

    monkeypatch.setattr(sheet, "COLUMNS", 1)
    done = CliRunner().invoke(main, ["make-faces", "--n", "4", "--workers", "1", "--sheet", "sheet.png"])
    assert done.exit_code == 0, done.output
    for words in (
        "raf: class counts",
        "affectnet: class counts",
        "its annotator (columns) against the truth (rows)",
        "datasets/raf-truth.csv",
        "for trying the tool, not for science",
    ):
        assert words in done.output
    with Image.open(here / "sheet.png") as found:
        pixels = np.asarray(found.convert("RGB"), dtype=float)
    rows = pixels[sheet._HEAD :].reshape(8, sheet.CELL, -1, 3)
    faces = rows[:, :, sheet._LABEL : sheet._LABEL + sheet.CELL]
    assert np.all(faces.reshape(8, -1).std(axis=1)[:7] > 8)  # RAF-DB has no contempt
    assert rows[7, :, -sheet.CELL :].std() > 8
    again = CliRunner().invoke(main, ["make-faces", "--n", "0"])
    assert (again.exit_code, again.output.count("\n")) == (1, 1)
