"""`noisyfer methods`, for people and for programs."""

from __future__ import annotations

import json

from click.testing import CliRunner
from noisyfer.benchmark.catalogue import catalogue
from noisyfer.cli import main
from noisyfer.models.methods import METHODS


def test_every_method_says_what_it_is_and_where_it_is_from() -> None:
    entries = {entry.name: entry for entry in catalogue()}
    assert list(entries) == list(METHODS)
    for entry in entries.values():
        assert entry.summary.endswith(".")
        assert any(character.isdigit() for character in entry.paper), entry.name
        assert all(option["meaning"] for option in entry.options.values())
    assert len({entry.summary for entry in entries.values()}) == len(entries)


def test_the_list_is_for_reading() -> None:
    said = CliRunner().invoke(main, ["methods"])
    assert said.exit_code == 0
    assert "proposed-no-joint" in said.output
    assert "learns from the true label set: classes, valence and arousal" in said.output
    assert "classes, valence and arousal; an encoder with feature maps" in said.output
    assert "several devices" in said.output


def test_one_method_is_shown_with_all_options() -> None:
    said = CliRunner().invoke(main, ["methods", "sce"])
    assert said.exit_code == 0
    assert "gce" not in said.output
    words = " ".join(said.output.split())
    assert "learning_rate Adam's learning rate [0.0001]" in words
    assert "precision arithmetic of a step: fp32, bf16 (autocast of the networks), or on a GPU tf32 [fp32]" in words
    assert "compile let torch" in words
    one = json.loads(CliRunner().invoke(main, ["methods", "sce", "--json"]).output)
    assert one["name"] == "sce"
    assert one["run_options"]["agreement_images"]["default"] == 10_000
    unknown = CliRunner().invoke(main, ["methods", "sc"])
    assert unknown.exit_code == 1
    assert "sce" in unknown.output


def test_the_json_is_for_programs() -> None:
    found = {entry["name"]: entry for entry in json.loads(CliRunner().invoke(main, ["methods", "--json"]).output)}
    assert set(found) == set(METHODS)
    assert found["proposed"]["options"]["lambda"]["default"] == 0.8
    assert found["proposed-no-joint"]["options"]["weight_joint"]["default"] == 0
    assert found["scn"]["uses"]["continuous"] is False
    assert found["eac"]["uses"]["maps"] is True
    assert "hidden" not in found["eac"]["options"]
