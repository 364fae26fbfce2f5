"""Where sources are found, what all of them promise, and `noisyfer sources`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from messages import sentence
from noisyfer.cli import main
from noisyfer.core.errors import UserError
from noisyfer.relabel.sources import SOURCES, SourceOptions, find_root
from source_files import affectnet_row, write_affectnet, write_raf

NAMES = ["affectnet", "affectnet-npy", "cifar10", "fer2013", "folder", "parquet", "raf"]


def test_the_sources_are_those_of_the_design() -> None:
    assert list(SOURCES) == NAMES
    with pytest.raises(UserError, match="Did you mean 'affectnet'"):
        SOURCES["afectnet"]


@pytest.mark.parametrize("name", NAMES)
def test_each_says_its_layout_and_where_to_ask_and_what_is_missing(name: str, here: Path) -> None:
    source = SOURCES[name]
    assert source.layout
    assert source.obtain.endswith(".")
    empty = here / "empty"
    empty.mkdir()
    with pytest.raises(UserError) as error:
        source(empty).check()
    assert "nothing" in sentence(error)
    with pytest.raises(UserError) as error:
        find_root(name, None)
    told = sentence(error)
    assert f"datasets/{name} does not exist" in told
    assert source.obtain in told
    assert ("make-faces" in told and "not for science" in told) == (name in ("raf", "affectnet"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("option", ["contempt", "labels"])
def test_an_option_without_use_is_refused(name: str, option: str, tmp_path: Path) -> None:
    options = SourceOptions(**{option: {"contempt": True, "labels": tmp_path / "x.csv"}[option]})
    used = {"affectnet", "affectnet-npy", "fer2013", "folder", "parquet"} if option == "contempt" else {"folder"}
    if name in used:
        SOURCES[name](tmp_path, options)
        return
    with pytest.raises(UserError) as error:
        SOURCES[name](tmp_path, options)
    assert f"--{option} was given" in sentence(error)


def test_the_usual_places_in_their_order(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "datasets/raf").mkdir(parents=True)
    assert find_root("raf", None) == Path("datasets/raf")
    monkeypatch.setenv("NOISYFER_DATA", str(here / "data"))
    assert find_root("raf", None) == Path("datasets/raf")
    (here / "data/raf").mkdir(parents=True)
    assert find_root("raf", None) == here / "data/raf"
    assert find_root("raf", here) == here
    with pytest.raises(UserError, match="There is no folder nowhere"):
        find_root("raf", Path("nowhere"))
    with pytest.raises(UserError, match=r"neither .*data/fer2013 nor datasets/fer2013 exists"):
        find_root("fer2013", None)


def test_the_command_says_what_is_here(here: Path) -> None:
    write_raf(here / "datasets/raf/basic", ["train_00001.jpg 5"])
    (here / "datasets/affectnet").mkdir()
    said = CliRunner().invoke(main, ["sources"])
    assert said.exit_code == 0
    assert "→ here: datasets/raf" in said.output
    assert "→ here, but not as it should be. There is no AffectNet under datasets/affectnet" in said.output
    assert "→ not here: looked for datasets/fer2013" in said.output
    write_affectnet(here / "datasets/affectnet", [affectnet_row()])
    found = {entry["name"]: entry for entry in json.loads(CliRunner().invoke(main, ["sources", "--json"]).output)}
    assert list(found) == NAMES
    assert found["affectnet"]["root"] == "datasets/affectnet"
    assert found["affectnet"]["problem"] is None
    assert found["affectnet"]["options"] == ["contempt"]
    assert found["fer2013"]["root"] is None
