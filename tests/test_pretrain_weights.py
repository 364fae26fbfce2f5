"""VGG-Face's weights as a start, and the command that pretrains, makes the manifest and then the labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from noisyfer.cli import main
from noisyfer.core.files import sha256_file
from noisyfer.manifest import Manifest
from noisyfer.models.networks import VGGTrunk
from noisyfer.relabel.teacher_files import read_description
from noisyfer.training.initial import load_convolutions
from PIL import Image
from pretrain_world import CLASSES, colour, torchvisions, vgg_face


@pytest.mark.parametrize("name", ["{layer}.{kind}".format, "module.{layer}.{kind}".format, torchvisions])
def test_the_convolutions_of_vgg_face_go_where_they_belong(name: Any, tmp_path: Path) -> None:
    torch.save(vgg_face(name=name), tmp_path / "vgg_face.pth")
    trunk = VGGTrunk(32, 1 / 16, 8)
    before = [parameter.clone() for parameter in trunk.hidden.parameters()]
    assert load_convolutions(trunk, tmp_path / "vgg_face.pth") == 13
    layers = [module.requires_grad_(False) for module in trunk.convolutions if isinstance(module, torch.nn.Conv2d)]
    assert [float(layer.weight[0, 0, 0, 0]) for layer in layers] == [number + 0.5 for number in range(13)]
    assert [float(layer.bias[0]) for layer in layers if layer.bias is not None] == [
        -number - 0.5 for number in range(13)
    ]
    assert all(torch.equal(old, new) for old, new in zip(before, trunk.hidden.parameters(), strict=True))


def noisyfer(*arguments: str | Path) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_makes_the_manifest_the_teacher_and_then_the_labels(here: Path) -> None:
    for number in range(40):
        folder = here / "photos" / CLASSES[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colour(number)[2]).save(folder / f"{number}.png")
    relabelled = noisyfer("relabel", "--source", "folder", "--root", "photos", "--whole", "--out", "own.parquet")
    assert relabelled.exit_code == 0, relabelled.output
    arguments = ("pretrain", "--manifest", "own.parquet", "--out", "own.ckpt", "--preset", "smoke", "--epochs", "2")
    first = noisyfer(*arguments, "--balance")
    assert first.exit_code == 0, first.output
    assert "epoch 2/2 val expression accuracy" in first.output
    assert "Wrote own.ckpt" in first.output
    header = read_description(here / "own.ckpt")
    assert header.training["settings"]["sampling"] == "balanced"
    assert not header.align
    again = noisyfer(*arguments, "--balance")
    assert "own.ckpt was finished before" in again.output
    other = noisyfer(*arguments)
    assert other.exit_code == 1
    assert "sampling: balanced → plain" in other.stderr
    labelled = noisyfer("relabel", "--source", "folder", "--root", "photos", "--whole", "--model", "own.ckpt")
    assert labelled.exit_code == 0, labelled.output
    manifest = Manifest.open(here / "data_manifests" / "folder_by_own.parquet")
    provenance = manifest.header.label_sets["expression_own"].provenance
    assert provenance["checkpoint_sha256"] == sha256_file(here / "own.ckpt")
    assert provenance["figures"] == json.loads(json.dumps(header.figures))
    assert manifest.labels("expression_own").present.all()


def test_the_command_says_what_to_give(here: Path) -> None:
    for arguments, told in (
        ((), "either --source NAME or --manifest FILE"),
        (("--source", "raf", "--manifest", "m.parquet"), "either --source NAME or --manifest FILE"),
        (("--source", "raff"), "no source named 'raff'. Did you mean 'raf'"),
        (("--manifest", "m.parquet", "--contempt"), "has its label sets already"),
        (("--source", "raf", "--batch", "many"), "batch_size is 'many'; a whole number"),
        (("--source", "raf", "--arch", "vgg", "--size", "48"), "vgg is defined for"),
        (("--source", "raf", "--set", "learning_rate"), "not of the form key=value"),
    ):
        result = noisyfer("pretrain", "--out", "t.ckpt", *arguments)
        assert result.exit_code == 1, result.output
        assert told in result.stderr
    assert not list(here.iterdir())
