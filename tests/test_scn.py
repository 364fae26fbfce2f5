"""The Self-Cure Network against its equations, sample by sample, and its schedule."""

from __future__ import annotations

import dataclasses
from typing import Any

import oracles
import pytest
import torch
from method_builders import (
    CLASSES,
    MASKS,
    PLACES,
    ROWS,
    SAMPLES,
    TinyTraining,
    build,
    make_batch,
    partly,
    spread_out,
    without_dropout,
)
from noisyfer.models.methods import Batch
from noisyfer.models.methods.scn import SCN, rank_loss
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("seeded")


def build_scn(**settings: Any) -> SCN:
    """Without dropout, with importances and probabilities that are far apart."""
    method = build("scn", CLASSES, **({"pretrain_epochs": 0, "relabel_epoch": 1} | settings))
    assert isinstance(method, SCN)
    without_dropout(method.network)
    features = method.network.trunk(make_batch(CLASSES).images / 127.5 - 1).detach()
    for layer, deviation in ((method.network.head, 6.0), (method.network.importance, 1.0)):
        assert isinstance(layer, nn.Linear)
        spread_out(layer, features, deviation)
    return method


def literal(weights: dict[str, Tensor], batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """Each image's importance and weighted logits."""
    features = oracles.trunk(weights, batch.images.double() / 127.5 - 1)
    logits = oracles.linear(features, weights["head.weight"], weights["head.bias"])
    levels = oracles.linear(features, weights["importance.weight"], weights["importance.bias"])[:, 0]
    importances = [1 / (1 + torch.exp(-level)) for level in levels]
    return importances, [importance * row for importance, row in zip(importances, logits, strict=True)]


def test_a_step_descends_the_weighted_cross_entropy_and_the_rank_regularization() -> None:
    method, batch = build_scn(rank_margin=0.9, rank_weight=1.5, relabel_margin=0.6), partly()
    before = {name: values.clone() for name, values in method.labels.items()}
    weights = oracles.leaves(method.network.state_dict())
    method.start_epoch(0)
    told = method.update(batch)

    importances, logits = literal(weights, batch)
    entropies = [
        oracles.cross_entropy(torch.stack(logits), before[name][PLACES].tolist(), mask.tolist())
        for name, mask in MASKS.items()
    ]
    entropy = (entropies[0] + entropies[2]) / 2
    order = sorted(range(ROWS), key=lambda row: -importances[row].item())
    high, low = order[:5], order[5:]  # ⌊0.7·8⌋
    gap = sum(importances[row] for row in high) / 5 - sum(importances[row] for row in low) / 3
    rank = max(torch.zeros(()), 0.9 - gap)
    assert 0 < rank.item() < 0.9
    assert told["cross_entropy"].item() == pytest.approx(entropy.item(), rel=1e-4)
    assert told["rank"].item() == pytest.approx(rank.item(), rel=1e-3)
    assert told["loss"].item() == pytest.approx((entropy + 1.5 * rank).item(), rel=1e-4)
    assert told["importance"].item() == pytest.approx(sum(importances).item() / ROWS, rel=1e-4)
    slopes = oracles.gradients(entropy + 1.5 * rank, weights)
    for name, parameter in method.network.named_parameters():
        size = slopes[name].abs().max().item()
        assert size > 0, name
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad.double(), slopes[name], rtol=1e-2, atol=2e-3 * size)

    # eq. 5, label by label
    changed = 0
    expected = {name: values.clone() for name, values in before.items()}
    for name, mask in MASKS.items():
        for row in range(ROWS):
            chances = oracles.softmax(logits[row].detach())
            given = int(before[name][PLACES[row]])
            if row in low and mask[row] and chances.max() - chances[given] > 0.6:
                expected[name][PLACES[row]] = int(chances.argmax())
                changed += 1
    assert 0 < changed < sum(int(mask[low].sum()) for mask in MASKS.values())
    assert all(torch.equal(method.labels[name], expected[name]) for name in expected)
    assert told["relabelled"].item() == pytest.approx(changed / sum(int(mask.sum()) for mask in MASKS.values()))


def test_labels_of_the_high_group_and_missing_ones_are_never_changed() -> None:
    before = TinyTraining(CLASSES).labels
    method = build_scn(relabel_margin=0.0, high_share=0.5)
    method.start_epoch(0)
    method.update(partly())
    moved = sum((method.labels[name] != before[name]).int() for name in before)
    assert 0 < (moved > 0).sum() <= ROWS // 2
    assert not moved[[place for place in range(SAMPLES) if place not in PLACES]].any()
    for name, mask in MASKS.items():
        assert torch.equal(method.labels[name][PLACES[~mask]], before[name][PLACES[~mask]])


def test_changed_labels_are_what_the_next_step_learns() -> None:
    method, batch = build_scn(learning_rate=1e-12, relabel_margin=0.0), partly()
    method.start_epoch(0)
    first, second, third = (method.update(batch) for _ in range(3))
    assert second["cross_entropy"] < first["cross_entropy"] - 0.01
    assert first["relabelled"] > 0
    assert second["relabelled"] == third["relabelled"] == 0


def test_a_margin_of_one_changes_nothing() -> None:
    method = build_scn(relabel_margin=1.0)
    method.start_epoch(0)
    assert method.update(partly())["relabelled"] == 0


def test_the_schedule_at_its_borders() -> None:
    method = build_scn(pretrain_epochs=5, relabel_epoch=10)
    batch = partly()
    for epoch, keys in ((0, 0), (4, 0), (5, 2), (8, 2), (9, 3), (30, 3)):
        method.start_epoch(epoch)
        told = method.update(batch)
        assert len(told.keys() & {"rank", "importance", "relabelled"}) == keys, epoch
    early = build_scn(pretrain_epochs=5, relabel_epoch=1)
    early.start_epoch(4)
    assert "relabelled" not in early.update(batch)


def test_pretraining_is_plain_cross_entropy() -> None:
    method, batch = build_scn(pretrain_epochs=1), partly()
    weights = oracles.leaves(method.network.state_dict())
    method.start_epoch(0)
    told = method.update(batch)
    logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
    labels = TinyTraining(CLASSES).labels
    first, third = (
        oracles.cross_entropy(logits, labels[one.name][PLACES].tolist(), MASKS[one.name].tolist())
        for one in (CLASSES[0], CLASSES[2])
    )
    assert told["loss"].item() == pytest.approx(((first + third) / 2).item(), rel=1e-4)


def test_predictions_are_of_the_weighted_logits() -> None:
    method, batch = build_scn(), partly()
    _, logits = literal(oracles.leaves(method.network.state_dict()), batch)
    expected = torch.stack([oracles.softmax(row.detach()) for row in logits])
    torch.testing.assert_close(method.predict(batch.images)["class"].double(), expected, rtol=0, atol=1e-4)


def test_a_batch_without_labels_or_of_one_image_is_finite() -> None:
    method = build_scn()
    method.start_epoch(20)
    nothing = {name: torch.zeros(ROWS, dtype=torch.bool) for name in MASKS}
    told = method.update(dataclasses.replace(partly(), masks=nothing))
    assert told["cross_entropy"] == told["relabelled"] == 0
    one = method.update(make_batch(CLASSES, rows=1))
    assert one["rank"] == 0
    assert all(torch.isfinite(value) for value in (*told.values(), *one.values()))
    assert all(parameter.isfinite().all() for parameter in method.network.parameters())


@pytest.mark.parametrize(
    ("rows", "share", "high"), [(10, 0.7, 7), (9, 0.7, 6), (2, 0.1, 1), (2, 1.0, 1), (64, 1.0, 63), (1, 0.7, 1)]
)
def test_either_group_has_an_image(rows: int, share: float, high: int) -> None:
    method = build_scn(high_share=share)
    importance = torch.rand(rows)
    found = method._high(importance)
    assert found.sum() == high
    if 0 < high < rows:
        assert importance[found].min() >= importance[~found].max()


def test_rank_loss_by_hand() -> None:
    importance = torch.tensor([0.9, 0.2, 0.7, 0.4])
    high = torch.tensor([True, False, True, False])
    assert rank_loss(importance, high, 0.15) == 0
    assert rank_loss(importance, high, 0.8).item() == pytest.approx(0.3)
    assert rank_loss(importance, torch.ones(4, dtype=torch.bool), 0.8) == 0
