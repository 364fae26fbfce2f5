"""Encoders by name: the paper's VGG-16 or any model of timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from method_builders import CLASSES, build, make_batch, parameters, same
from noisyfer.benchmark.run import Plan, execute, plan_run
from noisyfer.core.errors import UserError
from noisyfer.manifest import Manifest
from noisyfer.models.methods.base import unit_images
from noisyfer.models.networks import VGGTrunk, build_trunk
from noisyfer.models.networks.backbone import TimmTrunk
from torch import nn

pytestmark = pytest.mark.usefixtures("seeded")

TINY: dict[str, Any] = {"train_images": 40, "test_images": 20, "agreement_images": 20, "epochs": 1}
ARCH = "resnet10t"


def plan(manifest: Path, out: Path, method: str = "vgg-all", **given: Any) -> Plan:
    changes = {**TINY, "arch": ARCH, **given.pop("changes", {})}
    return plan_run(Manifest.open(manifest), method, preset="smoke", out=out, changes=changes, **given)


@pytest.mark.parametrize("name", ["vgg-all", "proposed", "proposed-no-decoder"])
def test_a_method_learns_with_another_encoder(name: str) -> None:
    method = build(name, CLASSES, arch=ARCH)
    trunks = [module for network in method.networks.values() for module in network.modules()]
    assert sum(isinstance(module, TimmTrunk) for module in trunks) == 1
    assert not any(isinstance(module, VGGTrunk) for module in trunks)
    network = next(iter(method.networks.values()))
    before = parameters(network)
    method.start_epoch(0)
    method.update(make_batch(CLASSES))
    assert not same(before, parameters(network))
    images = make_batch(CLASSES, rows=5).images
    assert method.predict(images)["class"].shape == (5, 10)
    alone = method.predict(images[2:3])["class"]
    torch.testing.assert_close(method.predict(images)["class"][2:3], alone, rtol=1e-4, atol=1e-5)


def test_images_are_normalised_as_the_model_expects() -> None:
    trunk = TimmTrunk("resnet10t", 32).eval()
    seen: list[torch.Tensor] = []
    trunk.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    trunk(unit_images(images))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (images / 255 - mean[:, None, None]) / deviation[:, None, None]
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-5)
    assert not any("scale" in name or "shift" in name for name in trunk.state_dict())


@pytest.mark.parametrize("name", ["vgg", "resnet18", "mobilenetv3_small_050"])
def test_features_and_maps_have_the_sizes_that_are_told(name: str) -> None:
    trunk = build_trunk(name, 64, width=1 / 16, hidden=24).eval()
    images = torch.randn(2, 3, 64, 64)
    assert trunk(images).shape == (2, trunk.features)
    assert trunk.maps(images).shape[:2] == (2, trunk.channels)
    assert trunk.maps(images).shape[2] > 1


def test_the_small_stem_keeps_all_pixels_up_to_the_first_stage() -> None:
    usual, small = TimmTrunk("resnet18", 32), TimmTrunk("resnet18", 32, small_stem=True)
    sides: list[int] = []
    for trunk in (usual, small):
        trunk.model.layer1.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[2]))
        trunk.eval()(torch.zeros(1, 3, 32, 32))
    assert sides == [8, 32]
    assert small.model.conv1.kernel_size == (3, 3)
    with pytest.raises(UserError, match="mobilenetv3_small_050 has no first convolution and pooling"):
        TimmTrunk("mobilenetv3_small_050", 32, small_stem=True)


def test_first_weights_by_inputs_keep_the_differences_of_images() -> None:
    """Those by outputs shrink where channels double, and torch's linear layers shrink more."""
    images = unit_images(make_batch(CLASSES, rows=32).images)
    sizes = []
    for initial in ("outputs", "inputs"):
        torch.manual_seed(0)
        trunk = build_trunk("vgg", 32, width=0.25, hidden=64, by_inputs=initial == "inputs").eval()
        sizes.append(trunk(images).std(dim=0).mean().item())
    assert sizes[1] > 20 * sizes[0]
    assert all((layer.bias == 0).all() for layer in trunk.modules() if isinstance(layer, nn.Linear))


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_dropout_is_that_of_the_options(dropout: float) -> None:
    network = build("vgg-all", CLASSES, dropout=dropout).networks["classifier"].train()
    shares = [1 - (network.trunk.hidden[layer](torch.ones(200, 50)) > 0).float().mean().item() for layer in (2, 5)]
    assert shares == pytest.approx([dropout, dropout], abs=0.02)


def test_what_cannot_work_is_said_before_anything_is_loaded(digits_manifest: Path, tmp_path: Path) -> None:
    for changes, method, told in (
        ({"arch": "resnet81"}, "vgg-all", "no architecture named 'resnet81'. Did you mean 'resnet18'"),
        ({"arch": "vit_tiny_patch16_224"}, "eac", "no feature maps with places"),
        ({"arch": "convnext_atto", "stem": "small"}, "vgg-all", "use stem=model"),
    ):
        with pytest.raises(UserError, match=told):
            plan(digits_manifest, tmp_path, method, changes=changes)
    with pytest.raises(UserError, match="cannot be shared by several devices"):
        plan(digits_manifest, tmp_path, devices=2)


def test_weights_of_the_model_itself_are_taken(digits_manifest: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    stored = TimmTrunk(ARCH, 32).model.state_dict() | {"fc.weight": torch.ones(3, 512), "fc.bias": torch.ones(3)}
    torch.save(stored, tmp_path / "weights.pth")
    planned = plan(digits_manifest, tmp_path, init=tmp_path / "weights.pth", changes={"learning_rate": 1e-9})
    execute(planned)
    weights = torch.load(planned.folder.checkpoint, weights_only=True)["method"]["networks"]["classifier"]
    for name in ("conv1.0.weight", "layer4.0.conv2.weight"):
        torch.testing.assert_close(weights[f"trunk.model.{name}"], stored[name], rtol=0, atol=1e-6)
    with pytest.raises(UserError, match="has weights of another network"):
        plan(digits_manifest, tmp_path, init=tmp_path / "weights.pth", changes={"arch": "resnet18"})
