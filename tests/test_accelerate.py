"""Half floats and compiled networks change rounding and nothing else."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from method_builders import CLASSES, CPU, build, build_proposed, flat, make_batch
from noisyfer.core.errors import UserError
from noisyfer.models.losses import concordance, masked_mean
from noisyfer.models.methods import Method
from noisyfer.models.methods.crowd_layer import CrowdLayer
from noisyfer.models.methods.forward import Forward
from noisyfer.models.methods.ltnet import LTNet
from noisyfer.models.methods.pair import PairMethod
from noisyfer.training import accelerate
from noisyfer.training.accelerate import arithmetic, check_compiling, compile_networks
from noisyfer.training.data import SplitData
from noisyfer.training.feed import Feed
from noisyfer.training.loop import predictions
from torch import nn

pytestmark = pytest.mark.usefixtures("seeded")


def steps(method: Method, precision: str, count: int = 2) -> list[dict[str, float]]:
    torch.manual_seed(5)
    with arithmetic(precision, torch.device("cpu")):
        return [
            {name: value.item() for name, value in method.update(make_batch(CLASSES, 4, seed=step)).items()}
            for step in range(count)
        ]


def test_steps_in_bf16_are_those_in_fp32_up_to_rounding() -> None:
    """Also from step to step and from D's first update to its second: no cast weight is kept beyond its step."""
    exact, halved = build_proposed(CLASSES), build_proposed(CLASSES)
    # rates at which a stale weight would show
    for method in (exact, halved):
        for optimizer in method.optimizers.values():
            optimizer.param_groups[0]["lr"] = 0.003
    told, halved_told = steps(exact, "fp32", 3), steps(halved, "bf16", 3)
    for before, after in zip(told, halved_told, strict=True):
        assert after == pytest.approx(before, rel=0.05, abs=0.02)
    assert halved_told != told
    state = flat(halved.state_dict())
    assert {value.dtype for value in state.values() if hasattr(value, "dtype")} <= {torch.float32, torch.int64}


def test_arithmetic_leaves_the_switches_as_they_were() -> None:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    for precision, allowed in (("fp32", False), ("tf32", True), ("bf16", True)):
        with arithmetic(precision, torch.device("cpu")):
            assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is allowed
            assert torch.is_autocast_enabled("cpu") is (precision == "bf16")
        assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before
        assert not torch.is_autocast_enabled("cpu")


def test_power_iterations_stay_in_fp32_under_autocast() -> None:
    exact, halved = build_proposed(CLASSES), build_proposed(CLASSES)
    weights = [flat(method.discriminator.state_dict()) for method in (exact, halved)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    images, latents = torch.randn(4, 3, 32, 32), torch.randn(4, 100)
    labels = tuple(torch.randn(4, 10) for _ in CLASSES)
    exact.discriminator.train()(images, latents, labels)
    with arithmetic("bf16", torch.device("cpu")):
        halved.discriminator.train()(images, latents, labels)
    weights = [flat(method.discriminator.state_dict()) for method in (exact, halved)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("name", ["sce", "gce", "forward"])
def test_losses_of_samples_stay_in_fp32_under_autocast(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU autocast leaves the log softmax of a network's bf16 outputs in bf16."""
    method, seen = build(name, CLASSES), []
    module = sys.modules[type(method).__module__]
    monkeypatch.setattr(
        module, "masked_mean", lambda losses, mask: seen.append(losses.dtype) or masked_mean(losses, mask)
    )
    if isinstance(method, Forward):
        method.corrects = True
    with arithmetic("bf16", CPU):
        method.update(make_batch(CLASSES))
    assert seen == [torch.float32] * len(CLASSES)


@pytest.mark.parametrize("name", ["dividemix", "co-teaching"])
def test_losses_of_all_training_samples_stay_in_fp32_under_autocast(name: str) -> None:
    """A mixture is fitted to them, which 8 bits of mantissa would make steps of."""
    method = build(name, CLASSES)
    assert isinstance(method, PairMethod)
    logits = torch.randn(8, 10).bfloat16()
    with arithmetic("bf16", CPU):
        losses, _ = method.sample_losses(logits, make_batch(CLASSES))
    expected, _ = method.sample_losses(logits.float(), make_batch(CLASSES))
    assert losses.dtype == torch.float32
    assert torch.equal(losses, expected)


def test_concordance_of_half_floats_is_that_of_their_values() -> None:
    predicted, labels = torch.tanh(torch.randn(2, 64)).bfloat16()
    mask = torch.rand(64) < 0.8
    with arithmetic("bf16", CPU):
        found = concordance(predicted, labels.float(), mask)
    assert torch.equal(found, concordance(predicted.float(), labels.float(), mask))


def test_scores_are_taken_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = build("vgg-all", CLASSES), []
    plain = method.predict_with_sets

    def watched(images: torch.Tensor) -> Any:
        seen.append((torch.backends.cudnn.allow_tf32, torch.is_autocast_enabled("cpu")))
        return plain(images)

    monkeypatch.setattr(method, "predict_with_sets", watched)
    feed = Feed(SplitData(np.zeros((3, 32, 32, 3), np.uint8), {}), CPU)
    with arithmetic("bf16", CPU):
        predictions(method, feed)
    assert seen == [(False, False)]


def test_matrices_of_annotators_are_not_rounded_under_autocast() -> None:
    """There a product with them would be one of bf16."""
    truth = torch.softmax(torch.randn(8, 10), dim=1)
    annotators, crowd = build("ltnet", CLASSES), build("crowd-layer", CLASSES)
    assert isinstance(annotators, LTNet)
    assert isinstance(crowd, CrowdLayer)
    with arithmetic("bf16", CPU):
        assert annotators._mapped(truth).dtype == crowd.network.transform(truth, 0).dtype == torch.float32


def test_compiled_networks_take_the_same_steps() -> None:
    """Traced by the compiler and run by torch, which needs no C++ compiler."""
    plain, compiled = build("vgg-all", CLASSES), build("vgg-all", CLASSES)
    names = list(compiled.state_dict()["networks"]["classifier"])
    compile_networks(compiled, "yes", backend="eager")
    told, compiled_told = steps(plain, "fp32"), steps(compiled, "fp32")
    for before, after in zip(told, compiled_told, strict=True):
        assert after == pytest.approx(before, rel=1e-5)
    assert list(compiled.state_dict()["networks"]["classifier"]) == names


def test_only_what_was_asked_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, dict[str, object]]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: asked.append((self, options)))
    method = build_proposed(CLASSES)
    compile_networks(method, "no")
    assert asked == []
    compile_networks(method, "cuda-graphs")
    assert [network for network, _ in asked] == list(method.networks.values())
    assert all(options["mode"] == "reduce-overhead" for _, options in asked)


def test_what_cannot_be_compiled_here_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    check_compiling("no", "cpu", 2)
    check_compiling("cuda-graphs", "cuda", 1)
    with pytest.raises(UserError, match="compile=cuda-graphs needs a CUDA device"):
        check_compiling("cuda-graphs", "cpu", 1)
    with pytest.raises(UserError, match="compile=yes is for one device"):
        check_compiling("yes", "cuda", 2)
    monkeypatch.setattr(accelerate.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"compile=yes needs a C\+\+ compiler"):
        check_compiling("yes", "cpu", 1)
    check_compiling("yes", "cuda", 1)
