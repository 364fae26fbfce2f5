"""Symmetric and generalised cross entropy against their equations, sample by sample."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import oracles
import pytest
import torch
from method_builders import (
    AFFECT,
    CLASSES,
    EXPRESSION,
    MASKS,
    ROWS,
    build,
    make_batch,
    parameters,
    partly,
    same,
    settle,
)
from noisyfer.models.losses import cross_entropy
from noisyfer.models.methods import LabelSetSpec
from noisyfer.models.methods.base import unit_images
from noisyfer.models.methods.gce import generalised_cross_entropy
from noisyfer.models.methods.robust import RobustMethod
from noisyfer.models.methods.sce import symmetric_cross_entropy
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")

SETTINGS = {"sce": {"forward_weight": 0.3, "reverse_weight": 0.7}, "gce": {"loss_power": 0.4}}
NAMES = list(SETTINGS)


def build_robust(name: str, sets: tuple[LabelSetSpec, ...] = CLASSES, **settings: Any) -> RobustMethod:
    """Without dropout, with logits that are far apart."""
    method = build(name, sets, **settings)
    assert isinstance(method, RobustMethod)
    settle(method.network, sets)
    return method


def literal_symmetric(logits: Tensor, label: int) -> Tensor:
    """0.3·(−Σ q log p) + 0.7·(−Σ p log q), q at least 1e-4 and p at least 1e-7 inside logarithms."""
    probabilities = oracles.softmax(logits)
    total = logits.new_zeros(())
    for k, probability in enumerate(probabilities):
        label_k = 1.0 if k == label else 0.0
        total = total - 0.3 * label_k * torch.log(probability.clamp(min=1e-7))
        total = total - 0.7 * probability * math.log(max(label_k, 1e-4))
    return total


def literal_generalised(logits: Tensor, label: int) -> Tensor:
    return (1 - oracles.softmax(logits)[label] ** 0.4) / 0.4


LITERAL: dict[str, Callable[[Tensor, int], Tensor]] = {"sce": literal_symmetric, "gce": literal_generalised}


@pytest.mark.parametrize("name", NAMES)
def test_a_step_descends_the_mean_over_sets_of_the_literal_loss(name: str) -> None:
    method, batch = build_robust(name, **SETTINGS[name]), partly()
    weights = oracles.leaves(method.network.state_dict())
    told = method.update(batch)
    logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
    sets = []
    for label_set in (CLASSES[0], CLASSES[2]):
        labels, mask = batch.labels[label_set.name], batch.masks[label_set.name]
        sets.append(torch.stack([LITERAL[name](logits[n], int(labels[n])) for n in range(ROWS) if mask[n]]).mean())
    expected = (sets[0] + sets[1]) / 2
    torch.testing.assert_close(told["loss"].double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(told[method.loss_name].double(), expected, rtol=1e-4, atol=1e-5)
    gradients = oracles.gradients(expected, weights)
    for key, parameter in method.network.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad.double(), gradients[key], rtol=2e-3, atol=2e-5, msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_the_cross_entropy_told_is_the_plain_one(name: str) -> None:
    method, batch = build_robust(name), partly()
    method.network.train()
    with torch.no_grad():
        logits = method.network(unit_images(batch.images))
    plain = [cross_entropy(logits, batch.labels[found.name], MASKS[found.name]) for found in (CLASSES[0], CLASSES[2])]
    torch.testing.assert_close(method.update(batch)["cross_entropy"], (plain[0] + plain[1]) / 2)


def test_symmetric_cross_entropy_by_hand() -> None:
    """p = (1/2, 1/4, 1/4), label 1: ln 4 and 4·ln 10·3/4."""
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    forward, reverse = symmetric_cross_entropy(logits, torch.tensor([1]))
    assert forward.item() == pytest.approx(math.log(4), rel=1e-6)
    assert reverse.item() == pytest.approx(3 * math.log(10), rel=1e-6)


def test_generalised_cross_entropy_is_between_two_losses() -> None:
    logits, labels = torch.randn(6, 5, dtype=torch.float64), torch.arange(6) % 5
    given = torch.softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(generalised_cross_entropy(logits, labels, 1.0), 1 - given)
    torch.testing.assert_close(generalised_cross_entropy(logits, labels, 1e-6), -given.log(), rtol=1e-4, atol=1e-6)


def test_a_label_that_the_network_excludes_costs_a_finite_loss_and_gradient() -> None:
    logits = torch.tensor([[300.0, 0.0, -300.0]] * 3, requires_grad=True)
    forward, reverse = symmetric_cross_entropy(logits, torch.arange(3))
    torch.testing.assert_close(forward[1:], torch.full((2,), 7 * math.log(10)))
    torch.testing.assert_close(reverse, torch.tensor([0.0, 1.0, 1.0]) * 4 * math.log(10))
    bounded = generalised_cross_entropy(logits, torch.arange(3), 0.7)
    torch.testing.assert_close(bounded, torch.tensor([0.0, 1.0, 1.0]) / 0.7)
    (forward + reverse + bounded).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_labels_changes_nothing(name: str) -> None:
    method, batch = build_robust(name), make_batch(CLASSES)
    before = parameters(method.network)
    told = method.update(dataclasses.replace(batch, masks={key: mask & False for key, mask in batch.masks.items()}))
    assert told["loss"] == 0
    assert same(before, parameters(method.network))


@pytest.mark.parametrize("name", NAMES)
def test_valence_and_arousal_keep_their_loss(name: str) -> None:
    method = build_robust(name, (EXPRESSION, AFFECT), gamma=2.0, range_weight=0.0)
    told = method.update(make_batch((EXPRESSION, AFFECT)))
    torch.testing.assert_close(told["loss"], told[method.loss_name] + 2 * told["similarity"])
    only = build(name, (AFFECT,)).update(make_batch((AFFECT,)))
    assert set(only) == {"loss", "similarity", "out_of_range"}


@pytest.mark.parametrize(
    ("name", "option"), [("sce", "forward_weight"), ("sce", "reverse_weight"), ("gce", "loss_power")]
)
def test_each_option_changes_the_loss(name: str, option: str) -> None:
    losses = [build_robust(name, **{option: value}).update(partly())["loss"] for value in (0.2, 0.9)]
    assert losses[0] != losses[1]
