"""Runs that start from someone's convolutions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from noisyfer.benchmark.run import Plan, execute, plan_run
from noisyfer.core.errors import UserError
from noisyfer.manifest import Manifest
from noisyfer.models.networks import VGGTrunk
from torch import Tensor, nn

NAMES = [f"conv{block}_{place}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for place in range(1, count + 1)]
TINY = {"train_images": 64, "test_images": 20, "agreement_images": 20, "epochs": 1, "learning_rate": 1e-9}


def vgg_face(width: float) -> dict[str, Tensor]:
    """A state dict under VGG-Face's names, with its fully connected layers, which are not wanted."""
    torch.manual_seed(5)
    layers = [layer for layer in VGGTrunk(32, width).convolutions if isinstance(layer, nn.Conv2d)]
    named = {
        f"{name}.{kind}": getattr(layer, kind) + 0.01
        for name, layer in zip(NAMES, layers, strict=True)
        for kind in ("weight", "bias")
    }
    return {**named, "fc6.weight": torch.ones(3, 3), "fc6.bias": torch.ones(3)}


def plan(manifest: Path, out: Path, init: Path | None, method: str = "proposed") -> Plan:
    return plan_run(Manifest.open(manifest), method, preset="smoke", out=out, changes=TINY, init=init)


@pytest.mark.parametrize(("method", "network"), [("proposed", "encoder"), ("vgg-all", "classifier")])
def test_the_convolutions_are_the_files_and_the_rest_is_not_touched(
    method: str, network: str, digits_manifest: Path, tmp_path: Path
) -> None:
    stored = vgg_face(1 / 16)
    torch.save(stored, tmp_path / "vgg_face.pth")
    planned = plan(digits_manifest, tmp_path, tmp_path / "vgg_face.pth", method)
    assert planned.folder.path != plan(digits_manifest, tmp_path, None, method).folder.path
    execute(planned)
    weights = torch.load(planned.folder.checkpoint, weights_only=True)["method"]["networks"][network]
    found = [value for name, value in weights.items() if name.startswith("trunk.convolutions.")]
    # a learning rate of nearly 0: what training ends with is what it began with
    for value, (name, expected) in zip(found, stored.items(), strict=False):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6, msg=name)
    assert len(found) == 26


def test_another_width_is_refused_before_anything_is_loaded(digits_manifest: Path, tmp_path: Path) -> None:
    torch.save(vgg_face(1 / 8), tmp_path / "wide.pth")
    with pytest.raises(UserError, match="the widths differ"):
        plan(digits_manifest, tmp_path, tmp_path / "wide.pth")
