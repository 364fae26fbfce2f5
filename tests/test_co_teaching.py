"""Co-teaching against its algorithm, sample by sample, its schedule, and where its noise rate comes from."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import oracles
import pytest
import torch
from method_builders import CLASSES, CPU, ROWS, SAMPLES, SIZE, WIDTH, TinyTraining, build, make_batch, settle
from noisyfer.models import noise_rate
from noisyfer.models.methods import Batch, LabelSetSpec, Problem
from noisyfer.models.methods.co_teaching import CoTeaching, CoTeachingConfig, select
from noisyfer.models.noise_rate import rate_from_losses, rates_from_agreement
from noisyfer.models.set_rates import LATEST_EPOCH
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")

MASKS = {
    CLASSES[0].name: torch.tensor([0, 1, 1, 0, 1, 1, 0, 1]).bool(),
    CLASSES[1].name: torch.zeros(ROWS, dtype=torch.bool),  # a whole set is missing from this batch
    CLASSES[2].name: torch.tensor([0, 1, 0, 1, 1, 0, 1, 1]).bool(),
}
LABELLED = 7  # the first sample has no label


def build_pair(sets: tuple[LabelSetSpec, ...] = CLASSES, **settings: Any) -> CoTeaching:
    """Without dropout, with logits that are far apart."""
    method = build("co-teaching", sets, **settings)
    assert isinstance(method, CoTeaching)
    for network in method.pair:
        settle(network, sets)
    return method


def partly(seed: int = 1) -> Batch:
    return dataclasses.replace(make_batch(CLASSES, seed=seed), masks=MASKS)


def literal_losses(weights: dict[str, Tensor], batch: Batch) -> dict[int, Tensor]:
    """By labelled sample, the mean over its labels of −log of their probabilities."""
    logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
    losses = {}
    for row in range(len(logits)):
        chances = oracles.softmax(logits[row])
        entropies = [-chances[labels[row]].log() for name, labels in batch.labels.items() if batch.masks[name][row]]
        if entropies:
            losses[row] = torch.stack(entropies).sum() / len(entropies)
    return losses


def smallest(losses: dict[int, Tensor], count: int) -> list[int]:
    return sorted(losses, key=lambda row: losses[row].item())[:count]


@pytest.mark.parametrize(("rate", "kept"), [(0.5, 4), (0.3, 5), (0.0, LABELLED)])
def test_each_network_descends_the_loss_of_what_the_other_selected(rate: float, kept: int) -> None:
    method, batch = build_pair(), partly()
    method.forget_rate = rate
    both = [oracles.leaves(network.state_dict()) for network in method.pair]
    told = method.update(batch)

    losses = [literal_losses(weights, batch) for weights in both]
    assert len(losses[0]) == LABELLED
    chosen = [smallest(found, kept) for found in losses]
    assert (set(chosen[0]) != set(chosen[1])) == (kept < LABELLED)  # or the exchange could not be seen
    wanted = [
        torch.stack([found[row] for row in rows]).mean() for found, rows in zip(losses, reversed(chosen), strict=True)
    ]
    assert told["loss"].item() == pytest.approx(((wanted[0] + wanted[1]) / 2).item(), rel=1e-4)
    assert told["selected"].item() == pytest.approx(kept / LABELLED)
    assert told["same_selection"].item() == pytest.approx(len(set(chosen[0]) & set(chosen[1])) / kept)
    everything = [loss for found in losses for loss in found.values()]
    assert told["cross_entropy"].item() == pytest.approx(torch.stack(everything).mean().item(), rel=1e-4)
    for network, weights, loss in zip(method.pair, both, wanted, strict=True):
        slopes = oracles.gradients(loss, weights)
        for name, parameter in network.named_parameters():
            size = slopes[name].abs().max().item()
            assert size > 0, name
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad.double(), slopes[name], rtol=1e-2, atol=2e-3 * size)


@pytest.mark.parametrize(
    ("labelled", "rate", "kept"),
    [(10, 0.3, 7), (10, 0.2, 8), (9, 0.2, 8), (5, 0.2, 4), (100, 0.29, 71), (1, 0.9, 1), (128, 0.0, 128), (0, 0.5, 0)],
)
def test_the_smallest_losses_of_labelled_samples_are_kept(labelled: int, rate: float, kept: int) -> None:
    mask = torch.arange(labelled + 20) < labelled
    mask = mask[torch.randperm(len(mask))]
    losses = torch.where(mask, torch.rand(len(mask)) + 1, 0.0)  # a sample without a label has no loss
    found = select(losses, mask, rate)
    wanted = sorted(mask.nonzero()[:, 0].tolist(), key=lambda row: losses[row].item())[:kept]
    assert found.nonzero()[:, 0].tolist() == sorted(wanted)


def test_among_equal_losses_no_more_than_the_count_is_kept() -> None:
    found = select(torch.ones(10), torch.ones(10, dtype=torch.bool), 0.4)
    assert found.tolist() == [True] * 6 + [False] * 4


def test_the_two_networks_start_apart() -> None:
    first, second = build("co-teaching", CLASSES).networks.values()
    pairs = zip(first.named_parameters(), second.named_parameters(), strict=True)
    drawn = [(one, other) for (name, one), (_, other) in pairs if name.endswith("weight")]
    assert drawn
    assert not any(torch.equal(one, other) for one, other in drawn)


def test_the_mean_of_both_probabilities_predicts_and_each_is_told() -> None:
    method, images = build_pair(), make_batch(CLASSES).images
    both, alone = method.predict_with_sets(images)
    assert method.heads == {"class/first": "class", "class/second": "class"}
    for name, network in zip(("class/first", "class/second"), method.pair, strict=True):
        logits = oracles.classifier(oracles.leaves(network.state_dict()), images.double() / 127.5 - 1).detach()
        torch.testing.assert_close(alone[name].double(), oracles.softmax(logits), rtol=0, atol=1e-4)
    torch.testing.assert_close(both["class"], (alone["class/first"] + alone["class/second"]) / 2)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {0: 0.0, 1: 0.05, 5: 0.25, 9: 0.45, 10: 0.5, 200: 0.5}),
        ({"ramp_epochs": 4}, {0: 0.0, 1: 0.125, 4: 0.5, 5: 0.5}),
        ({"ramp_exponent": 2.0}, {0: 0.0, 1: 0.05, 2: 0.2, 3: 0.45, 4: 0.5}),
        ({"ramp_exponent": 0.5}, {0: 0.0, 4: 0.1, 99: 0.5 * math.sqrt(99) / 10, 100: 0.5}),
        ({"ramp_epochs": 1}, {0: 0.0, 1: 0.5}),
    ],
)
def test_the_share_left_out_grows_to_the_given_rate(settings: dict[str, Any], expected: dict[int, float]) -> None:
    method = build("co-teaching", CLASSES, noise_rate=0.5, **settings)
    assert isinstance(method, CoTeaching)
    for epoch, rate in expected.items():
        method.start_epoch(epoch)
        assert method.forget_rate == pytest.approx(rate), epoch


class FlippedTraining(TinyTraining):
    """Labels of a known truth, of which each set has some wrong."""

    def __init__(self, sets: tuple[LabelSetSpec, ...], wrong: tuple[int, ...]) -> None:
        super().__init__(sets)
        truth = torch.arange(SAMPLES) % 10
        for place, (found, count) in enumerate(zip(sets, wrong, strict=True)):
            labels = truth.clone()
            rows = torch.arange(count) * (place + 1) % SAMPLES
            labels[rows] = (truth[rows] + 1 + place) % 10
            self.labels[found.name] = labels


def prepared(training: TinyTraining, sets: tuple[LabelSetSpec, ...], **settings: Any) -> CoTeaching:
    torch.manual_seed(3)
    config = CoTeachingConfig(width=WIDTH, hidden=16, **settings)
    method = CoTeaching(Problem(SIZE, sets, SAMPLES), config, CPU)
    method.prepare(training)
    return method


def test_the_rate_of_several_sets_is_the_mean_of_what_agreement_tells() -> None:
    training = FlippedTraining(CLASSES, (10, 20, 30))
    method = prepared(training, CLASSES)
    rates = rates_from_agreement(list(training.labels.values()), list(training.masks.values()), 10)
    assert 0.1 < rates.mean() < 0.6
    method.start_epoch(10)
    assert method.forget_rate == pytest.approx(rates.mean().item())
    given = prepared(training, CLASSES, noise_rate=0.11)
    given.start_epoch(10)
    assert given.forget_rate == pytest.approx(0.11)


def test_one_set_has_its_rate_from_the_losses_of_its_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = CLASSES[:1]
    training = TinyTraining(sets)
    training.masks[sets[0].name] = torch.arange(SAMPLES) % 4 > 0
    method = prepared(training, sets)
    for network in method.pair:
        with torch.no_grad():
            network.head.weight.mul_(40)
    for epoch in (0, 1):
        method.start_epoch(epoch)
        assert method.forget_rate == 0
        assert method.noise_rate is None
    method.start_epoch(2)  # labels at random have told it nothing yet
    assert method.noise_rate is None
    monkeypatch.setattr(noise_rate, "LEAST_OF_A_LABEL", 3)
    method.start_epoch(LATEST_EPOCH)
    everything = next(training.in_order(SAMPLES))
    both = [literal_losses(oracles.leaves(network.state_dict()), everything) for network in method.pair]
    losses = torch.stack([(one + other).detach() / 2 for one, other in zip(*(x.values() for x in both), strict=True)])
    assert len(losses) == SAMPLES * 3 // 4
    own = training.labels[sets[0].name][training.masks[sets[0].name]]
    expected = rate_from_losses(losses, own, anyway=True)
    assert expected is not None
    assert 0.05 < expected < 0.95
    assert method.noise_rate == pytest.approx(expected, abs=1e-3)
    assert method.forget_rate == pytest.approx(expected, abs=1e-3)
    assert rate_from_losses(losses, own.flip(0), anyway=True) != pytest.approx(expected, abs=1e-2)

    # it is estimated once, and a resumed run has the same
    with torch.no_grad():
        method.pair[0].head.weight.mul_(-3)
    fresh = prepared(training, sets)
    fresh.load_state_dict(method.state_dict())
    for going in (method, fresh):
        going.start_epoch(5)  # as after going back: the ramp of that epoch, with the rate that is kept
        assert going.forget_rate == pytest.approx(0.5 * expected, abs=1e-3)


def test_sets_that_share_no_sample_have_their_rate_from_the_losses() -> None:
    training = TinyTraining(CLASSES[:2])
    for place, name in enumerate(training.masks):
        training.masks[name] = torch.arange(SAMPLES) % 2 == place
    method = prepared(training, CLASSES[:2])
    assert method.noise_rate is None
    first, second = (training.labels[found.name] for found in CLASSES[:2])
    expected = torch.where(torch.arange(SAMPLES) % 2 == 0, first, second)
    assert torch.equal(method.first_labels(), expected)
    method.start_epoch(LATEST_EPOCH)
    assert method.noise_rate is not None


def test_a_few_samples_that_sets_share_do_not_tell_their_rate() -> None:
    """Of three shared samples no label differs, which would be a rate of 0."""
    training = FlippedTraining(CLASSES[:2], (0, 0))
    place = torch.arange(SAMPLES)
    training.masks = {CLASSES[0].name: place < 35, CLASSES[1].name: place >= 32}
    assert prepared(training, CLASSES[:2]).noise_rate is None


def test_a_batch_without_labels_is_finite() -> None:
    method = build_pair(noise_rate=0.5)
    method.start_epoch(20)
    nothing = {name: torch.zeros(ROWS, dtype=torch.bool) for name in MASKS}
    told = method.update(dataclasses.replace(partly(), masks=nothing))
    assert told["loss"] == told["selected"] == 0
    one = method.update(make_batch(CLASSES, rows=1))
    assert one["selected"] == 1
    assert all(torch.isfinite(value) for value in (*told.values(), *one.values()))
    assert all(parameter.isfinite().all() for network in method.pair for parameter in network.parameters())
