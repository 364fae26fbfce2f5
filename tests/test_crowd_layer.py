"""The crowd layer against its equations, sample by sample."""

from __future__ import annotations

import dataclasses

import oracles
import pytest
import torch
from method_builders import CLASSES, ROWS, build, make_batch, settle
from noisyfer.models.methods import Batch
from noisyfer.models.methods.crowd_layer import CrowdLayer
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")

MASKS = {
    CLASSES[0].name: torch.tensor([0, 1, 1, 0, 1, 1, 0, 1]).bool(),
    CLASSES[1].name: torch.zeros(ROWS, dtype=torch.bool),  # a whole set is missing from this batch
    CLASSES[2].name: torch.tensor([0, 1, 0, 1, 1, 0, 1, 1]).bool(),
}


def build_crowd() -> CrowdLayer:
    """Without dropout, with probabilities that are far apart and matrices that are no longer the identity."""
    method = build("crowd-layer", CLASSES)
    assert isinstance(method, CrowdLayer)
    settle(method.network, deviation=2)
    with torch.no_grad():
        method.network.crowd.add_(torch.randn_like(method.network.crowd))
    return method


def partly() -> Batch:
    return dataclasses.replace(make_batch(CLASSES), masks=MASKS)


def literal_chances(weights: dict[str, Tensor], batch: Batch) -> list[Tensor]:
    """By set, softmax(W_r·softmax(z)) of every sample, B×10."""
    bottleneck = oracles.softmax(oracles.classifier(weights, batch.images.double() / 127.5 - 1))
    found = []
    for matrix in weights["crowd"]:
        rows = []
        for chances in bottleneck:
            said = [sum(matrix[k][j] * chances[j] for j in range(10)) for k in range(10)]
            rows.append(oracles.softmax(torch.stack(said)))
        found.append(torch.stack(rows))
    return found


def test_a_step_descends_the_cross_entropy_of_what_each_matrix_makes_of_the_probabilities() -> None:
    method, batch = build_crowd(), partly()
    weights = oracles.leaves(method.network.state_dict())
    told = method.update(batch)
    losses = []
    for label_set, chances in zip(CLASSES, literal_chances(weights, batch), strict=True):
        labels, mask = batch.labels[label_set.name], MASKS[label_set.name]
        entropies = [-chances[row, labels[row]].log() for row in range(ROWS) if mask[row]]
        if entropies:
            losses.append(torch.stack(entropies).mean())
    assert len(losses) == 2
    expected = (losses[0] + losses[1]) / 2
    assert told["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert torch.equal(told["loss"], told["cross_entropy"])
    slopes = oracles.gradients(expected, weights)
    for name, parameter in method.network.named_parameters():
        size = slopes[name].abs().max().item()
        assert size > 0, name
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad.double(), slopes[name], rtol=1e-2, atol=2e-3 * size)
    assert slopes["crowd"][1].abs().max() == 0  # no label of that set


def test_matrices_start_as_the_identity_and_are_learned_with_the_network() -> None:
    method = build("crowd-layer", CLASSES, learning_rate=1e-2)
    assert isinstance(method, CrowdLayer)
    assert torch.equal(method.network.crowd, torch.eye(10).expand(3, 10, 10))
    method.update(make_batch(CLASSES))
    moved = (method.network.crowd - torch.eye(10)).abs().amax(dim=(1, 2))
    torch.testing.assert_close(moved, torch.full((3,), 1e-2), rtol=0.01, atol=0)  # Adam's first step


def test_the_bottleneck_predicts_and_each_set_has_its_own_prediction() -> None:
    method, batch = build_crowd(), partly()
    weights = oracles.leaves(method.network.state_dict())
    predicted, by_set = method.predict_with_sets(batch.images)
    bottleneck = oracles.softmax(oracles.classifier(weights, batch.images.double() / 127.5 - 1)).detach()
    torch.testing.assert_close(predicted["class"].double(), bottleneck, rtol=0, atol=1e-4)
    assert list(by_set) == list(method.heads) == [label_set.name for label_set in CLASSES]
    for values, wanted in zip(by_set.values(), literal_chances(weights, batch), strict=True):
        torch.testing.assert_close(values.double(), wanted.detach(), rtol=0, atol=1e-4)


def test_a_batch_without_labels_is_finite() -> None:
    method = build_crowd()
    nothing = {name: torch.zeros(ROWS, dtype=torch.bool) for name in MASKS}
    told = method.update(dataclasses.replace(partly(), masks=nothing))
    assert told["loss"] == 0
    method.update(partly())
    assert all(parameter.isfinite().all() for parameter in method.network.parameters())
