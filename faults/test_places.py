"""Odd names, long names, names that differ in case only, a locale without letters, a clock that runs backwards."""

from __future__ import annotations

import os
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from harness import contents, environment, partial, run
from noisyfer.manifest import Manifest
from scenes import DIGITS, QUICK, SCENES, stage
from steps import quickly

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*")

ShortOf = Callable[[object, Iterable[object]], None]

NAMES = {
    "space": "a b  c",
    "quotes": 'it\'s "so" `called`',
    "newline": "two\nlines",
    "composed": unicodedata.normalize("NFC", "Übergröße é"),
    "decomposed": unicodedata.normalize("NFD", "Übergröße é"),
    "glob": "[x]*?{y}",
    "shell": "$HOME;&|<>",
    "percent": "%s%d%20#1",
    "right-to-left": "שלום",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_with_an_odd_name_is_worked_in(name: str, inputs: Path, tmp_path: Path, short_of: ShortOf) -> None:
    """A table, an import, a page and a second look, all below such a folder and with its name in theirs."""
    short_of(name, ("quotes", "newline", "decomposed"))
    work = stage(inputs, tmp_path / NAMES[name] / "work", ("labels.csv",))
    made, added = f"{NAMES[name]}/m {NAMES[name]}.parquet", f"{NAMES[name]}/added.parquet"
    for words in (
        ("make-cifar", "--data", "digits", "--out", made),
        ("show", made, "--check"),
        ("import", made, "labels.csv", "--as", "a", "--out", added),
        ("inspect", added, "--out", f"{NAMES[name]}/page.html"),
        ("show", added, "--check"),
    ):
        ended = quickly(work, *words)
        assert ended.code == 0, ended.told
    assert partial(work) == []


def test_a_name_that_is_no_text_is_a_sentence(inputs: Path, tmp_path: Path) -> None:
    """Arrow opens files by text; a working folder of such a name does no harm."""
    name = os.fsdecode(b"caf\xe9")
    work = stage(inputs, tmp_path / name / "work", ())
    refused = quickly(work, "make-cifar", "--data", "digits", "--out", f"{name}/m.parquet")
    assert refused.is_a_sentence(), refused.told
    assert "is no UTF-8" in refused.err
    assert quickly(work, "make-cifar", "--data", "digits", "--out", "m.parquet").code == 0
    assert quickly(work, "show", "m.parquet", "--check").code == 0


def test_composed_and_decomposed_names_are_two(inputs: Path, tmp_path: Path) -> None:
    """As the file system has them: nothing is renamed, and nothing is found under the other form."""
    work = stage(inputs, tmp_path / "forms" / "work", ())
    ended = quickly(work, "make-cifar", "--data", "digits", "--out", f"{NAMES['composed']}.parquet")
    assert ended.code == 0, ended.told
    missing = quickly(work, "show", f"{NAMES['decomposed']}.parquet")
    assert missing.is_a_sentence(), missing.told


@pytest.mark.parametrize("length", [200, 1000, 3900, 4000, 4200])
def test_a_long_path_works_or_is_a_sentence(length: int, inputs: Path, tmp_path: Path, short_of: ShortOf) -> None:
    short_of(length, (1000, 4000))
    work = stage(inputs, tmp_path / "long" / "work", ())
    parts = ["d" * 199] * (length // 200)
    target = "/".join(parts)[: length - 10] + "/m.parquet"
    ended = quickly(work, "make-cifar", "--data", "digits", "--out", target)
    if ended.code == 0:
        assert length < 4200
        assert quickly(work, "show", target, "--check").code == 0
    else:
        assert ended.is_a_sentence(), ended.told
        assert "File name too long" in ended.err
        assert not list(work.rglob("*.parquet"))
    assert length > 1000 or ended.code == 0
    shutil.rmtree(work)


def test_a_name_of_256_bytes_is_a_sentence(inputs: Path, tmp_path: Path) -> None:
    work = stage(inputs, tmp_path / "long" / "work", ())
    ended = quickly(work, "make-cifar", "--data", "digits", "--out", "x" * 256)
    assert ended.is_a_sentence(), ended.told
    assert list(work.iterdir()) == []


def test_pictures_whose_names_differ_in_case_are_two_rows(inputs: Path, tmp_path: Path) -> None:
    work = stage(inputs, tmp_path / "case" / "work", ("raf.ckpt", "datasets"))
    pictures = sorted((work / "datasets" / "raf").rglob("*.jpg"))[:3]
    (work / "photos").mkdir()
    for picture, name in zip(pictures, ("a.jpg", "A.jpg", "A.JPG"), strict=True):
        shutil.copy(picture, work / "photos" / name)
    if len(list((work / "photos").iterdir())) < 3:
        pytest.skip("this file system does not tell upper from lower case")
    words = (
        "relabel",
        "--source",
        "folder",
        "--root",
        "photos",
        "--whole",
        "--model",
        "raf.ckpt",
        "--out",
        "m.parquet",
    )
    ended = quickly(work, *words)
    assert ended.code == 0, ended.told
    manifest = Manifest.open(work / "m.parquet")
    manifest.validate()
    assert len(set(manifest.read(["image"])["image"].to_pylist())) == 3


def test_annotators_whose_names_differ_in_case_are_two_or_refused(inputs: Path, tmp_path: Path) -> None:
    work = stage(inputs, tmp_path / "case" / "work", ("data_manifests", "labels.csv"))
    assert quickly(work, "import", DIGITS, "labels.csv", "--as", "anna", "--out", "one.parquet").code == 0
    ended = quickly(work, "import", "one.parquet", "labels.csv", "--as", "Anna", "--out", "two.parquet")
    if ended.code:
        assert ended.is_a_sentence(), ended.told
    else:
        manifest = Manifest.open(work / "two.parquet")
        manifest.validate()
        assert {"class_anna", "class_Anna"} <= set(manifest.header.label_sets)


@pytest.mark.parametrize(
    "words",
    [
        ("show", DIGITS, "--check"),
        ("methods",),
        ("sources",),
        ("bench", "--help"),
        ("bench", "--manifest", DIGITS, *QUICK, "--method", "vgg-all"),
        ("sweep", "runs/none", "--list"),
        ("aggregate", DIGITS, "--out", "dæta/é.parquet", "--method", "dawid-skene"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_locale_without_letters(words: tuple[str, ...], inputs: Path, tmp_path: Path, short_of: ShortOf) -> None:
    """As in a container: LC_ALL=C, and Python told not to help itself."""
    short_of(words[:2], (("show", DIGITS), ("bench", "--help"), ("aggregate", DIGITS)))
    work = stage(inputs, tmp_path / "locale" / "work", ("data_manifests",))
    bare = environment(LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
    ended = run(work, *words, env=bare)
    assert "Traceback" not in ended.err, ended.told
    assert ended.code == 0 or ended.is_a_sentence(), ended.told
    # there is no such sweep, and a name of other letters is no text to Python here
    assert ended.code == (1 if words[0] in ("sweep", "aggregate") else 0), ended.told


def backwards() -> None:
    """A clock of the day that goes back an hour at every look; the one that only counts goes on."""
    now = time.time()

    def earlier() -> float:
        nonlocal now
        now -= 3600
        return now

    time.time = earlier
    time.time_ns = lambda: int(earlier() * 1e9)


@pytest.mark.parametrize("name", ["make-cifar", "relabel", "bench", "report", "import", "review"])
def test_a_clock_that_runs_backwards_changes_nothing(
    name: str, inputs: Path, tmp_path: Path, short_of: ShortOf
) -> None:
    short_of(name, ("relabel", "bench"))
    scene = next(scene for scene in SCENES if scene.name == name)
    found = []
    for turn, first in enumerate[Callable[[], None] | None]((None, backwards)):
        work = stage(inputs, tmp_path / f"clock{turn}" / "work", scene.needs)
        ended = quickly(work, *scene.words, first=first)
        assert ended.code == 0, ended.told
        found.append(contents(work))
    assert found[0] == found[1]


def test_files_from_the_future_are_read_like_others(inputs: Path, tmp_path: Path) -> None:
    work = tmp_path / "future" / "work"
    shutil.copytree(inputs / "data_manifests", work / "data_manifests")
    for path in work.rglob("*"):
        os.utime(path, (4e9, 4e9))
    for _ in range(2):  # the second time the run is there, with files that are older than what it read
        ended = quickly(work, "bench", "--manifest", DIGITS, *QUICK, "--method", "vgg-all")
        assert ended.code == 0, ended.told
