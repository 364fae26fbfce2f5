"""Early-learning regularization against its equations, sample by sample, over several steps."""

from __future__ import annotations

import dataclasses

import oracles
import pytest
import torch
from method_builders import AFFECT, CLASSES, EXPRESSION, MASKS, PLACES, ROWS, SAMPLES, build, make_batch, partly, settle
from noisyfer.models.methods import Batch
from noisyfer.models.methods.elr import ELR
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")


def build_elr(**settings: float) -> ELR:
    """Without dropout, with logits a few units apart."""
    method = build("elr", CLASSES, **settings)
    assert isinstance(method, ELR)
    settle(method.network, deviation=2)
    return method


def literal(weights: dict[str, Tensor], batch: Batch, targets: dict[int, Tensor], beta: float) -> tuple[Tensor, Tensor]:
    """Cross entropy and regularizer; moves the targets."""
    logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
    entropies, regularizers = [], []
    chances = []
    for row in range(ROWS):
        probable = oracles.softmax(logits[row])
        clipped = torch.stack([torch.clamp(value, 1e-4, 1 - 1e-4) for value in probable])
        chances.append(clipped)
        place = int(batch.indices[row])
        fresh = clipped.detach() / sum(clipped.detach())
        targets[place] = beta * targets.get(place, torch.zeros(10).double()) + (1 - beta) * fresh
    for name, mask in batch.masks.items():
        rows = [row for row in range(ROWS) if mask[row]]
        if not rows:
            continue
        entropies.append(oracles.cross_entropy(logits, batch.labels[name].tolist(), mask.tolist()))
        logarithms = []
        for row in rows:
            agreement = sum(t * p for t, p in zip(targets[int(batch.indices[row])], chances[row], strict=True))
            logarithms.append(torch.log(1 - agreement))
        regularizers.append(sum(logarithms) / len(rows))
    return sum(entropies) / len(entropies), sum(regularizers) / len(regularizers)


def test_three_steps_follow_the_equations() -> None:
    method = build_elr(target_momentum=0.6, regularizer_weight=2.5)
    targets: dict[int, Tensor] = {}
    for step, batch in enumerate((partly(), partly(), make_batch(CLASSES, seed=5))):
        weights = oracles.leaves(method.network.state_dict())
        method.start_epoch(step)
        told = method.update(batch)
        entropy, regularizer = literal(weights, batch, targets, 0.6)
        assert regularizer.item() < -0.02
        assert told["cross_entropy"].item() == pytest.approx(entropy.item(), rel=1e-4)
        assert told["regularizer"].item() == pytest.approx(regularizer.item(), rel=1e-3)
        assert told["loss"].item() == pytest.approx((entropy + 2.5 * regularizer).item(), rel=1e-3)
        slopes = oracles.gradients(entropy + 2.5 * regularizer, weights)
        for name, parameter in method.network.named_parameters():
            size = slopes[name].abs().max().item()
            assert size > 0, name
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad.double(), slopes[name], rtol=1e-2, atol=2e-3 * size)
    for place in range(SAMPLES):
        expected = targets.get(place, torch.zeros(10).double())
        torch.testing.assert_close(method.targets["class"][place].double(), expected, rtol=1e-3, atol=1e-5)


def test_the_regularizer_cancels_the_slope_of_a_wrong_label() -> None:
    """A sample known well (t ≈ p) with another label: its cross entropy pulls away from t, with λ > 0 less so."""
    slopes = {}
    for weight in (0.0, 3.0):
        method = build_elr(target_momentum=1.0, regularizer_weight=weight)
        logits = torch.zeros(1, 10)
        logits[0, 4] = 3.0
        logits.requires_grad_(True)
        batch = make_batch(CLASSES, rows=1)
        wrong = {name: torch.tensor([7]) for name in batch.labels}
        method.targets["class"][0] = torch.softmax(logits[0].detach(), dim=0)
        loss, _ = method.loss({"class": logits}, dataclasses.replace(batch, labels=wrong))
        (slopes[weight],) = torch.autograd.grad(loss, logits)
    assert slopes[0.0][0, 4] > 0.6  # descent lowers the class that is known
    assert slopes[3.0][0, 4] < 0  # descent raises it


@pytest.mark.parametrize(("momentum", "expected"), [(0.0, 1.0), (0.7, 0.3), (1.0, 0.0)])
def test_targets_start_at_zero_and_move_by_one_minus_the_momentum(momentum: float, expected: float) -> None:
    method = build_elr(target_momentum=momentum)
    assert not method.targets["class"].any()
    told = method.update(partly())
    sums = method.targets["class"].sum(dim=1)
    torch.testing.assert_close(sums[PLACES], torch.full((ROWS,), expected), rtol=0, atol=1e-5)
    assert not sums[[place for place in range(SAMPLES) if place not in PLACES]].any()
    assert (told["regularizer"] == 0) == (momentum == 1.0)


def test_weight_zero_is_the_cross_entropy_alone() -> None:
    plain = build_elr(regularizer_weight=0.0).update(partly())
    assert plain["loss"] == plain["cross_entropy"]
    assert plain["regularizer"] < 0


def test_extreme_logits_and_batches_without_labels_are_finite() -> None:
    method, batch = build_elr(target_momentum=0.0, regularizer_weight=50.0), partly()
    logits = torch.randn(ROWS, 10).mul_(1e4).requires_grad_(True)
    for _ in range(3):
        loss, _ = method.loss({"class": logits}, batch)
    (slope,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert torch.isfinite(slope).all()
    nothing = {name: torch.zeros(ROWS, dtype=torch.bool) for name in MASKS}
    told = method.update(dataclasses.replace(batch, masks=nothing))
    assert told["loss"] == told["cross_entropy"] == told["regularizer"] == 0
    assert all(parameter.isfinite().all() for parameter in method.network.parameters())


def test_valence_and_arousal_are_learned_beside_without_a_target() -> None:
    method = build("elr", (EXPRESSION, AFFECT))
    assert isinstance(method, ELR)
    assert {task: tuple(values.shape) for task, values in method.targets.items()} == {"expression": (SAMPLES, 7)}
    told = method.update(make_batch((EXPRESSION, AFFECT)))
    expected = told["cross_entropy"] + told["similarity"] + 3.0 * told["regularizer"]
    assert told["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
