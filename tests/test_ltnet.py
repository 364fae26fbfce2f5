"""LTNet against its equations, annotator by annotator, and its matrices, schedule and optimizers."""

from __future__ import annotations

import dataclasses
from typing import Any

import oracles
import pytest
import torch
from method_builders import CLASSES, MASKS, ROWS, build, make_batch, partly, settle
from noisyfer.models.methods import Batch
from noisyfer.models.methods.ltnet import LTNet
from test_step_guards import NoWaiting
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")

K = 10


def build_ltnet(**settings: Any) -> LTNet:
    """Without dropout, with outputs that are far apart and matrices that differ."""
    method = build("ltnet", CLASSES, **({"pretrain_epochs": 0} | settings))
    assert isinstance(method, LTNet)
    settle(method.network)
    with torch.no_grad():
        method.network.matrices.copy_(torch.rand(3, K, K) + 3 * torch.eye(K))
        method.network.restore(0.01)
    return method


def literal_loss(weights: dict[str, Tensor], batch: Batch) -> tuple[Tensor, list[list[Tensor]]]:
    """The loss, and by annotator and sample what the annotator would say."""
    logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
    said, losses = [], []
    for place, label_set in enumerate(CLASSES):
        matrix, rows, terms = weights["matrices"][place], [], []
        for row in range(len(logits)):
            truth = oracles.softmax(logits[row])
            chances = torch.stack(
                [sum(truth[y] * matrix[y, label] / sum(matrix[y]) for y in range(K)) for label in range(K)]
            )
            rows.append(chances)
            if batch.masks[label_set.name][row]:
                terms.append(-chances[batch.labels[label_set.name][row]].log())
        said.append(rows)
        if terms:
            losses.append(sum(terms) / len(terms))
    return sum(losses) / len(losses), said


def test_a_step_descends_the_cross_entropy_of_what_annotators_say() -> None:
    method, batch = build_ltnet(), partly()
    weights = oracles.leaves(method.network.state_dict())
    method.start_epoch(0)
    told = method.update(batch)
    expected, _ = literal_loss(weights, batch)
    assert told["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    slopes = oracles.gradients(expected, weights)
    for name, parameter in method.network.named_parameters():
        size = slopes[name].abs().max().item()
        assert size > 0, name
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad.double(), slopes[name], rtol=1e-2, atol=2e-3 * size)
    assert slopes["matrices"][1].abs().max() == 0  # the annotator without a label here


def test_latent_truth_predicts_and_heads_are_what_annotators_say() -> None:
    method, batch = build_ltnet(), make_batch(CLASSES)
    weights = oracles.leaves(method.network.state_dict())
    _, said = literal_loss(weights, batch)
    logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1).detach()
    predicted, heads = method.predict_with_sets(batch.images)
    torch.testing.assert_close(predicted["class"].double(), oracles.softmax(logits), rtol=0, atol=1e-4)
    assert list(heads) == list(method.heads) == [found.name for found in CLASSES]
    for found, rows in zip(CLASSES, said, strict=True):
        torch.testing.assert_close(heads[found.name].double(), torch.stack(rows).detach(), rtol=0, atol=1e-4)
        assert (heads[found.name] - predicted["class"]).abs().max() > 0.01


def test_matrices_start_near_the_identity_and_are_restored_by_hand() -> None:
    method = build("ltnet", CLASSES)
    assert isinstance(method, LTNet)
    first = method.network.matrices.detach().clone()
    assert first.shape == (3, K, K)
    torch.testing.assert_close(first.sum(dim=2), torch.ones(3, K))
    assert (first.diagonal(dim1=1, dim2=2) > 0.98).all()
    assert (first > 0).all()
    with torch.no_grad():
        method.network.matrices[1, 2] = torch.tensor([-0.5, 0.0, 1.6, 0.38, -1e-9, 0, 0, 0, 0, 0])
    method.network.restore(0.01)
    torch.testing.assert_close(method.network.matrices[1, 2], torch.tensor([0.005, 0, 0.8, 0.19, 0.005, 0, 0, 0, 0, 0]))
    rest = [(t, y) for t in range(3) for y in range(K) if (t, y) != (1, 2)]
    assert all(torch.allclose(method.network.matrices[place], first[place]) for place in rest)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_matrices_stay_row_stochastic_at_a_great_learning_rate(optimizer: str) -> None:
    method = build_ltnet(optimizer=optimizer, learning_rate=0.3, matrix_floor=0.02)
    before = method.network.matrices.detach().clone()
    smallest = []
    for seed in range(4):
        told = method.update(partly(seed))
        matrices = method.network.matrices.detach()
        assert (matrices >= 0).all()
        torch.testing.assert_close(matrices.sum(dim=2), torch.ones(3, K), rtol=0, atol=1e-5)
        assert told["diagonal"].item() == pytest.approx(matrices.diagonal(dim1=1, dim2=2).mean().item())
        assert torch.isfinite(told["loss"])
        smallest.append(matrices.min().item())
    assert (matrices - before).abs().max() > 0.01
    assert list(method.optimizers) == [optimizer]


def test_matrices_become_the_annotators_frequencies() -> None:
    """With a latent truth that is known, the best rows are how often each label was given: no drift to uniform."""
    method = build_ltnet(learning_rate=0.01, matrix_floor=1e-4)
    rows = 400
    truth = torch.arange(rows) % K
    right = {name: torch.rand(rows) < share for name, share in zip(MASKS, (0.9, 0.6, 0.75), strict=True)}
    labels = {name: torch.where(mask, truth, (truth + 1) % K) for name, mask in right.items()}
    batch = dataclasses.replace(
        make_batch(CLASSES, rows), labels=labels, masks={name: torch.ones(rows, dtype=torch.bool) for name in MASKS}
    )
    known = 20.0 * torch.eye(K)[truth]
    method.network.forward = lambda images: known + 0 * method.network.head.bias  # type: ignore[method-assign]
    for step in range(400):
        for group in method.optimizer.param_groups:
            group["lr"] = 0.01 * (1 - step / 400)
        method.update(batch)
    for place, name in enumerate(MASKS):
        matrix = method.network.matrices[place].detach()
        for y in range(K):
            wanted = (labels[name][truth == y] == y).float().mean()
            assert matrix[y, y].item() == pytest.approx(wanted.item(), abs=0.05)
            assert matrix[y, (y + 1) % K].item() == pytest.approx(1 - wanted.item(), abs=0.05)


def test_pretraining_is_plain_cross_entropy_and_leaves_matrices_alone() -> None:
    method, batch = build_ltnet(pretrain_epochs=2), partly()
    before = method.network.matrices.detach().clone()
    weights = oracles.leaves(method.network.state_dict())
    method.start_epoch(0)
    told = method.update(batch)
    logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
    first, third = (
        oracles.cross_entropy(logits, batch.labels[one.name].tolist(), MASKS[one.name].tolist())
        for one in (CLASSES[0], CLASSES[2])
    )
    assert told["loss"].item() == pytest.approx(((first + third) / 2).item(), rel=1e-4)
    for epoch, learns in ((0, False), (1, False), (2, True), (3, True)):
        method.start_epoch(epoch)
        told = method.update(batch)
        assert ("diagonal" in told) == learns
        assert torch.equal(method.network.matrices, before) != learns


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_learning_rate_decays_to_the_power_of_three_halves(optimizer: str) -> None:
    method = build_ltnet(optimizer=optimizer, learning_rate=0.01, decay_epochs=8)
    for epoch, wanted in ((0, 0.01), (4, 0.01 * 0.5**1.5), (7, 0.01 * 0.125**1.5), (20, 0.01 * 0.125**1.5)):
        method.start_epoch(epoch)
        assert [group["lr"] for group in method.optimizer.param_groups] == [pytest.approx(wanted)]
    steady = build_ltnet(optimizer=optimizer, learning_rate=0.01)
    steady.start_epoch(1000)
    assert steady.optimizer.param_groups[0]["lr"] == 0.01


def test_sgd_is_nesterovs_with_weight_decay() -> None:
    method = build_ltnet(optimizer="sgd", learning_rate=0.01)
    batch = partly()
    velocity: dict[str, Tensor] = {}
    for _ in range(2):
        old = {name: value.detach().clone() for name, value in method.network.named_parameters()}
        method.update(batch)
        for name, parameter in method.network.named_parameters():
            assert parameter.grad is not None
            slope = parameter.grad + 5e-4 * old[name]
            velocity[name] = 0.9 * velocity[name] + slope if name in velocity else slope
            if name != "matrices":
                wanted = old[name] - 0.01 * (slope + 0.9 * velocity[name])
                torch.testing.assert_close(parameter.detach(), wanted, rtol=1e-4, atol=1e-7)


def test_extreme_outputs_and_a_batch_without_labels_are_finite() -> None:
    method = build_ltnet()
    with torch.no_grad():
        method.network.head.weight.mul_(1e4)
        method.network.matrices.copy_(torch.eye(K).expand(3, K, K))
    told = [method.update(partly())]
    nothing = {name: torch.zeros(ROWS, dtype=torch.bool) for name in MASKS}
    told.append(method.update(dataclasses.replace(partly(), masks=nothing)))
    assert told[0]["loss"] > 5
    assert told[1]["loss"] == 0
    assert all(torch.isfinite(value) for each in told for value in each.values())
    assert all(parameter.isfinite().all() for parameter in method.network.parameters())


def test_a_joint_step_waits_for_no_device() -> None:
    method, batch = build_ltnet(), partly()
    with NoWaiting():
        told = method.update(batch)
    assert "diagonal" in told
