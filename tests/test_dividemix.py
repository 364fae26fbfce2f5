"""DivideMix against its equations, sample by sample, and its split, schedule and extremes."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import oracles
import pytest
import torch
from method_builders import CLASSES, PLACES, ROWS, SAMPLES, TinyTraining, build, make_batch, settle
from noisyfer.models.methods import Batch
from noisyfer.models.methods.dividemix import DivideMix, clean_probability, mean_label, sharpen
from test_step_guards import NoWaiting
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")

K = 10
MASKS = {
    CLASSES[0].name: torch.arange(ROWS) % 4 > 0,
    CLASSES[1].name: torch.zeros(ROWS, dtype=torch.bool),  # a whole set is missing from this batch
    CLASSES[2].name: (torch.arange(ROWS) < 6) & (torch.arange(ROWS) > 0),  # no set labels the first sample
}


def build_dividemix(**settings: Any) -> DivideMix:
    """Without dropout, with outputs that are far apart."""
    method = build("dividemix", CLASSES, **({"pretrain_epochs": 0, "unlabelled_ramp_epochs": 0} | settings))
    assert isinstance(method, DivideMix)
    for network in method.pair:
        settle(network)
    return method


def partly(seed: int = 1) -> Batch:
    return dataclasses.replace(make_batch(CLASSES, seed=seed), masks=MASKS, indices=PLACES)


def sharpened(chances: Tensor) -> Tensor:
    powers = [chance**2 for chance in chances]  # T = ½
    return torch.stack([power / sum(powers) for power in powers])


def literal_targets(batch: Batch, chances: list[Tensor], own: int, clean: list[float]) -> tuple[Tensor, list[bool]]:
    targets, keeps = [], []
    for row in range(ROWS):
        votes = [int(batch.labels[name][row]) for name, mask in MASKS.items() if mask[row]]
        given = torch.tensor([votes.count(label) / len(votes) if votes else 0.0 for label in range(K)]).double()
        keeps.append(bool(votes) and clean[row] > 0.5)
        if keeps[-1]:
            targets.append(sharpened(clean[row] * given + (1 - clean[row]) * chances[own][row]))
        else:
            targets.append(sharpened((chances[0][row] + chances[1][row]) / 2))
    return torch.stack(targets), keeps


def literal_loss(
    weights: dict[str, Tensor], images: Tensor, targets: Tensor, keeps: list[bool], share: float, partners: list[int]
) -> dict[str, Tensor]:
    mixed = torch.stack([share * images[row] + (1 - share) * images[partners[row]] for row in range(ROWS)])
    wanted = [share * targets[row] + (1 - share) * targets[partners[row]] for row in range(ROWS)]
    found = oracles.softmax(oracles.classifier(weights, mixed))
    entropies = [-sum(wanted[row][c] * found[row, c].log() for c in range(K)) for row in range(ROWS) if keeps[row]]
    squares = [
        sum((wanted[row][c] - found[row, c]) ** 2 for c in range(K)) / K for row in range(ROWS) if not keeps[row]
    ]
    means = [sum(found[row, c] for row in range(ROWS)) / ROWS for c in range(K)]
    return {
        "cross_entropy": sum(entropies) / len(entropies),
        "unlabelled": sum(squares) / len(squares),
        "prior": sum(0.1 * torch.log(0.1 / mean) for mean in means),
    }


def test_a_step_descends_the_loss_of_refined_and_guessed_targets() -> None:
    method, batch = build_dividemix(unlabelled_weight=7.0, prior_weight=1.5), partly()
    method.start_epoch(0)
    method.clean = torch.rand(2, SAMPLES)
    clean = [method.clean[1][PLACES].tolist(), method.clean[0][PLACES].tolist()]  # each uses the other's
    weights = [oracles.leaves(network.state_dict()) for network in method.pair]
    images = batch.images.double() / 127.5 - 1
    chances = [oracles.softmax(oracles.classifier(each, images)).detach() for each in weights]
    torch.manual_seed(5)
    told = method.update(batch)

    torch.manual_seed(5)
    sums: dict[str, Tensor] = {}
    kept = 0
    for own, network in enumerate(method.pair):
        targets, keeps = literal_targets(batch, chances, own, clean[own])
        assert 0 < sum(keeps) < ROWS - 1
        kept += sum(keeps)
        drawn = torch.distributions.Beta(torch.tensor(4.0), torch.tensor(4.0)).sample().item()
        parts = literal_loss(weights[own], images, targets, keeps, max(drawn, 1 - drawn), torch.randperm(ROWS).tolist())
        loss = parts["cross_entropy"] + 7 * parts["unlabelled"] + 1.5 * parts["prior"]
        for name, value in (parts | {"loss": loss}).items():
            sums[name] = sums.get(name, 0) + value.detach() / 2
        slopes = oracles.gradients(loss, weights[own])
        for name, parameter in network.named_parameters():
            size = slopes[name].abs().max().item()
            assert size > 0, name
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad.double(), slopes[name], rtol=1e-2, atol=2e-3 * size)
    for name, value in sums.items():
        assert told[name].item() == pytest.approx(value.item(), rel=1e-3), name
    assert told["selected"].item() == pytest.approx(kept / ROWS / 2)


def test_losses_of_each_network_tell_what_is_clean() -> None:
    method, training = build_dividemix(), TinyTraining(CLASSES)
    for mask in training.masks.values():
        mask[5:9] = False
    method.prepare(training)
    method.start_epoch(0)
    labelled = torch.ones(SAMPLES, dtype=torch.bool)
    labelled[5:9] = False
    images = training.batch.images.double() / 127.5 - 1
    for own, network in enumerate(method.pair):
        chances = oracles.softmax(oracles.classifier(oracles.leaves(network.state_dict()), images)).detach()
        losses = torch.tensor(
            [
                sum(-math.log(chances[row, int(training.labels[one.name][row])]) for one in CLASSES) / len(CLASSES)
                for row in range(SAMPLES)
            ]
        )
        expected = clean_probability(losses, labelled)
        torch.testing.assert_close(method.clean[own], expected, rtol=0, atol=1e-3)
        assert (method.clean[own][5:9] == 0).all()
        assert 0 < (method.clean[own] > 0.5).sum() < SAMPLES - 4
    assert (method.clean[0] - method.clean[1]).abs().max() > 0.01


def test_two_groups_of_losses_are_told_apart() -> None:
    clean = torch.rand(300) < 0.7
    losses = torch.where(clean, 0.3 + 0.1 * torch.randn(300).abs(), 3 + 0.5 * torch.randn(300))
    labelled = torch.arange(300) >= 10
    found = clean_probability(losses, labelled)
    assert torch.equal(found[10:] > 0.5, clean[10:])
    assert (found[:10] == 0).all()
    same = clean_probability(torch.full((300,), 2.0), labelled)
    assert torch.equal(same, labelled.float())
    assert (clean_probability(losses, torch.zeros(300, dtype=torch.bool)) == 0).all()


def test_mean_label_and_sharpening_by_hand() -> None:
    labels = torch.tensor([[1, 1, 2], [0, 2, 2], [0, 0, 0]])
    masks = torch.tensor([[True, True, True], [True, True, False], [False, False, False]])
    expected = torch.tensor([[0, 2 / 3, 1 / 3], [0.5, 0, 0.5], [0, 0, 0]])
    torch.testing.assert_close(mean_label(labels, masks, 3), expected)
    chances = torch.tensor([[0.6, 0.3, 0.1]])
    torch.testing.assert_close(sharpen(chances, 0.5), torch.tensor([[36 / 46, 9 / 46, 1 / 46]]))
    torch.testing.assert_close(sharpen(chances, 1.0), chances)
    assert torch.equal(sharpen(torch.full((1, 1000), 1e-3), 0.01), torch.full((1, 1000), 1e-3))


def test_pretraining_is_plain_cross_entropy_of_both_networks() -> None:
    method, batch = build_dividemix(pretrain_epochs=2), partly()
    weights = [oracles.leaves(network.state_dict()) for network in method.pair]
    method.start_epoch(1)
    told = method.update(batch)
    expected = 0.0
    for each in weights:
        logs = oracles.softmax(oracles.classifier(each, batch.images.double() / 127.5 - 1)).detach().log()
        terms = []
        for row in range(ROWS):
            found = [-logs[row, batch.labels[name][row]].item() for name, mask in MASKS.items() if mask[row]]
            if found:
                terms.append(sum(found) / len(found))
        expected += sum(terms) / len(terms) / 2
    assert told["loss"].item() == pytest.approx(expected, rel=1e-4)


def test_the_schedule_at_its_borders() -> None:
    method, batch = build_dividemix(pretrain_epochs=3, unlabelled_ramp_epochs=4, unlabelled_weight=20.0), partly()
    for epoch, weight in ((0, None), (2, None), (3, 0.0), (4, 5.0), (7, 20.0), (50, 20.0)):
        method.start_epoch(epoch)
        told = method.update(batch)
        assert ("unlabelled" in told) == (weight is not None)
        if weight is not None:
            assert method.unlabelled_weight == weight


@pytest.mark.parametrize(("threshold", "selected"), [(0.0, 7 / 8), (1.0, 0.0)])
def test_a_threshold_at_its_extremes(threshold: float, selected: float) -> None:
    method = build_dividemix(clean_threshold=threshold)
    method.start_epoch(0)
    method.clean = 0.01 + 0.98 * torch.rand(2, SAMPLES)
    told = method.update(partly())
    assert told["selected"].item() == pytest.approx(selected)
    assert (told["cross_entropy"] == 0) == (selected == 0)
    assert all(torch.isfinite(value) for value in told.values())


def test_extreme_outputs_and_a_batch_without_labels_are_finite() -> None:
    method = build_dividemix()
    method.start_epoch(0)
    with torch.no_grad():
        for network in method.pair:
            network.head.weight.mul_(1e4)
    told = [method.update(partly())]
    nothing = {name: torch.zeros(ROWS, dtype=torch.bool) for name in MASKS}
    told.append(method.update(dataclasses.replace(partly(), masks=nothing)))
    assert told[1]["cross_entropy"] == told[1]["selected"] == 0
    assert all(torch.isfinite(value) for each in told for value in each.values())
    assert all(parameter.isfinite().all() for network in method.pair for parameter in network.parameters())


def test_the_mean_of_both_predicts_and_each_is_a_head() -> None:
    method, images = build_dividemix(), make_batch(CLASSES).images
    predicted, heads = method.predict_with_sets(images)
    assert list(heads) == list(method.heads) == ["class/first", "class/second"]
    torch.testing.assert_close(predicted["class"], (heads["class/first"] + heads["class/second"]) / 2)
    assert (heads["class/first"] - heads["class/second"]).abs().max() > 0.01


def test_a_resumed_run_splits_and_learns_alike() -> None:
    """The first epoch after the pretraining, of a run that went on and of one that was loaded."""
    method = build_dividemix(pretrain_epochs=1)
    method.start_epoch(0)
    method.update(partly())
    fresh = build_dividemix(pretrain_epochs=1, seed=99)
    fresh.load_state_dict(copy.deepcopy(method.state_dict()))
    told = []
    for going in (method, fresh):
        torch.manual_seed(11)
        going.start_epoch(1)
        told.append([going.update(partly(seed)) for seed in (2, 3)])
    assert torch.equal(method.clean, fresh.clean)
    assert 0 < told[0][0]["selected"] < 1
    for one, other in zip(*told, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_split_step_waits_for_no_device() -> None:
    method, batch = build_dividemix(), partly()
    method.start_epoch(0)
    with NoWaiting():
        told = method.update(batch)
    assert "unlabelled" in told
