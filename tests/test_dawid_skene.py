"""Dawid and Skene's EM against a slow literal one, and VGG on its posterior."""

from __future__ import annotations

import dataclasses
import math

import oracles
import pytest
import torch
from method_builders import CLASSES, ROWS, SAMPLES, TinyTraining, build, equal_states, flat, make_batch, without_dropout
from noisyfer.models import aggregation
from noisyfer.models.aggregation import Consensus, dawid_skene
from noisyfer.models.methods import Batch
from noisyfer.models.methods.dawid_skene import DawidSkene
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")

RATES = (0.15, 0.3, 0.5)
NAMES = [found.name for found in CLASSES]


def crowd(samples: int, classes: int, missing: float = 0.3, seed: int = 0) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The truth, and three sets whose wrong labels and missing ones are drawn independently."""
    source = torch.Generator().manual_seed(seed)
    truth = torch.randint(classes, (samples,), generator=source)
    labels, masks = [], []
    for rate in RATES:
        wrong = torch.rand(samples, generator=source) < rate
        shift = torch.randint(1, classes, (samples,), generator=source)
        labels.append(torch.where(wrong, (truth + shift) % classes, truth))
        masks.append(torch.rand(samples, generator=source) >= missing)
    return truth, labels, masks


def literal(
    labels: list[list[int]], masks: list[list[bool]], classes: int, iterations: int
) -> tuple[list[list[float]], list[float], list[list[list[float]]]]:
    """Equations 2.3 to 2.5 for samples that all have a label, one number at a time."""
    samples, sets = range(len(labels[0])), range(len(labels))
    chances = []
    for i in samples:
        given = [labels[s][i] for s in sets if masks[s][i]]
        chances.append([given.count(j) / len(given) for j in range(classes)])
    for turn in range(iterations + 1):
        prior = [sum(chances[i][j] for i in samples) / len(samples) for j in range(classes)]
        confusion = [[[0.0] * classes for _ in range(classes)] for _ in sets]
        for s in sets:
            for j in range(classes):
                whole = sum(chances[i][j] for i in samples if masks[s][i])
                for k in range(classes):
                    part = sum(chances[i][j] for i in samples if masks[s][i] and labels[s][i] == k)
                    confusion[s][j][k] = part / whole if whole > 0 else 0.0
        if turn == iterations:
            return chances, prior, confusion
        for i in samples:
            joint = [
                prior[j] * math.prod(confusion[s][j][labels[s][i]] for s in sets if masks[s][i]) for j in range(classes)
            ]
            chances[i] = [value / sum(joint) for value in joint]
    raise AssertionError


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("iterations", [0, 1, 2, 7])
def test_em_is_the_literal_one(iterations: int, anew: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where patterns are numbered anew before each set, as of sets too many to number all combinations."""
    if anew:
        monkeypatch.setattr(aggregation, "MOST_PATTERNS", 0)
    _, labels, masks = crowd(80, 4)
    present = torch.stack(masks).any(dim=0)
    assert not present.all()
    found = dawid_skene(labels, masks, 4, iterations)
    chances, prior, confusion = literal(
        [values[present].tolist() for values in labels], [mask[present].tolist() for mask in masks], 4, iterations
    )
    torch.testing.assert_close(found.posterior[present], torch.tensor(chances).double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.prior, torch.tensor(prior).double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.confusion, torch.tensor(confusion).double(), rtol=1e-5, atol=1e-6)
    assert torch.equal(found.posterior[~present], found.prior.expand(int((~present).sum()), 4))
    for number, (values, mask) in enumerate(zip(labels, masks, strict=True)):
        wrong = [1 - found.posterior[row, values[row]].item() for row in range(80) if mask[row]]
        assert found.noise_rates[number].item() == pytest.approx(sum(wrong) / len(wrong), abs=1e-9)


@pytest.mark.parametrize("most", [0, 100, 2**62])
def test_few_patterns_of_many_sets_are_few_samples_for_em(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 sets of 7 classes have 8^60 combinations, of which so many occur as there are different rows."""
    monkeypatch.setattr(aggregation, "MOST_PATTERNS", most)
    source = torch.Generator().manual_seed(4)
    kinds = torch.randint(0, 8, (12, 60), generator=source) - 1  # -1 is missing
    kind = torch.randint(0, 12, (3000,), generator=source)
    rows = kinds[kind]
    labels, masks = list(rows.clamp(min=0).T), list((rows >= 0).T)
    firsts, pattern, counts = aggregation._patterns(labels, masks, 7)
    assert torch.equal(rows[firsts][pattern], rows)
    expected, theirs, number = rows.unique(dim=0, return_inverse=True, return_counts=True)
    assert torch.equal(rows[firsts], expected)  # in the order of their labels
    assert torch.equal(pattern, theirs)
    assert torch.equal(counts, number.double())
    assert len(counts) == 12


def test_no_sample_at_all_has_no_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "MOST_PATTERNS", 0)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert [len(each) for each in aggregation._patterns([nothing] * 3, [nothing.bool()] * 3, 7)] == [0, 0, 0]


def converged(missing: float = 0.0) -> tuple[Tensor, list[Tensor], list[Tensor], Consensus]:
    truth, labels, masks = crowd(20_000, 5, missing)
    return truth, labels, masks, dawid_skene(labels, masks, 5, 200)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_noise_rates_and_confusions_are_found_without_the_truth(missing: float) -> None:
    truth, labels, masks, found = converged(missing)
    for number, rate in enumerate(RATES):
        assert found.noise_rates[number].item() == pytest.approx(rate, abs=0.02)
        expected = torch.full((5, 5), rate / 4).fill_diagonal_(1 - rate)
        torch.testing.assert_close(found.confusion[number].float(), expected, rtol=0, atol=0.04)
    torch.testing.assert_close(found.confusion.sum(dim=2), torch.ones(3, 5).double())
    present = torch.stack(masks).any(dim=0)
    shares = dawid_skene(labels, masks, 5, 0).posterior
    right = [(each.argmax(dim=1) == truth)[present].float().mean() for each in (found.posterior, shares)]
    assert right[0] > right[1] + 0.02  # the good annotator counts for more than the bad one


def test_the_likelihood_never_falls_and_em_stops_by_itself() -> None:
    _, _, _, found = converged()
    assert 5 < len(found.likelihoods) < 200
    steps = [after - before for before, after in zip(found.likelihoods, found.likelihoods[1:], strict=False)]
    assert min(steps) > -1e-10
    assert steps[-1] < 1e-8 <= min(steps[:-1])


def test_one_set_is_its_labels_and_an_empty_one_says_nothing() -> None:
    _, labels, masks = crowd(200, 4)
    alone = dawid_skene(labels[:1], masks[:1], 4, 50)
    assert torch.equal(alone.posterior[masks[0]].argmax(dim=1), labels[0][masks[0]])
    torch.testing.assert_close(alone.posterior[masks[0]].max(dim=1).values, torch.ones(int(masks[0].sum())).double())
    assert alone.noise_rates.item() == pytest.approx(0, abs=1e-6)
    nothing = torch.zeros(200, dtype=torch.bool)
    beside = dawid_skene(labels, [masks[0], nothing, nothing], 4, 50)
    torch.testing.assert_close(beside.posterior, alone.posterior)
    assert beside.noise_rates[1:].tolist() == [0, 0]
    empty = dawid_skene(labels, [nothing] * 3, 4, 50)
    assert torch.isfinite(empty.posterior).all()


def test_a_class_that_nobody_gives_stays_empty() -> None:
    _, labels, masks = crowd(200, 4)
    found = dawid_skene(labels, masks, 6, 50)
    present = torch.stack(masks).any(dim=0)
    assert found.posterior[present][:, 4:].max() < 1e-9
    torch.testing.assert_close(found.posterior[present].sum(dim=1), torch.ones(int(present.sum())).double())
    assert all(torch.isfinite(value).all() for value in (found.posterior, found.confusion, found.noise_rates))


# ------------------------------------------------------------------------------------------------------- the method


class PartlyLabelled(TinyTraining):
    """A quarter of the second and third sets is missing, and all labels of some samples."""

    def __init__(self) -> None:
        super().__init__(CLASSES)
        places = torch.arange(SAMPLES)
        self.masks = {NAMES[0]: places % 2 > 0, NAMES[1]: places % 4 > 0, NAMES[2]: places % 4 != 2}
        self.masks[NAMES[2]] = self.masks[NAMES[2]] & (places % 8 > 0)


PLACES = torch.tensor([40, 3, 17, 63, 0, 22, 9, 31])  # 40 and 0 have no label


def build_aggregating(**settings: int) -> DawidSkene:
    method = build("dawid-skene", CLASSES, **settings)
    assert isinstance(method, DawidSkene)
    method.prepare(PartlyLabelled())
    without_dropout(method.network)
    return method


def partly() -> Batch:
    masks = {name: mask[PLACES] for name, mask in PartlyLabelled().masks.items()}
    return dataclasses.replace(make_batch(CLASSES), masks=masks, indices=PLACES)


@pytest.mark.parametrize("iterations", [0, 5])
def test_a_step_descends_the_cross_entropy_with_the_posterior(iterations: int) -> None:
    method, batch, training = build_aggregating(em_iterations=iterations), partly(), PartlyLabelled()
    weights = oracles.leaves(method.network.state_dict())
    present = torch.stack(list(training.masks.values())).any(dim=0)
    places = present.nonzero()[:, 0].tolist()
    chances, _, _ = literal(
        [training.labels[name][present].tolist() for name in NAMES],
        [training.masks[name][present].tolist() for name in NAMES],
        10,
        iterations,
    )
    told = method.update(batch)
    logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
    losses = []
    for row, place in enumerate(PLACES.tolist()):
        if place in places:
            logarithms = torch.log(oracles.softmax(logits[row]))
            losses.append(-sum(t * value for t, value in zip(chances[places.index(place)], logarithms, strict=True)))
    assert len(losses) == ROWS - 2
    expected = sum(losses) / len(losses)
    assert told["loss"].item() == told["cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-4)
    slopes = oracles.gradients(expected, weights)
    for name, parameter in method.network.named_parameters():
        assert parameter.grad is not None
        size = slopes[name].abs().max().item()
        torch.testing.assert_close(parameter.grad.double(), slopes[name], rtol=1e-2, atol=2e-3 * size + 1e-12)


def test_noise_rates_and_transitions_are_told_by_set() -> None:
    method = build_aggregating()
    assert set(method.noise_rates) == set(method.transitions) == set(NAMES)
    training = PartlyLabelled()
    found = dawid_skene(list(training.labels.values()), list(training.masks.values()), 10, 100)
    for number, name in enumerate(NAMES):
        assert method.noise_rates[name].item() == found.noise_rates[number].item() > 0
        assert torch.equal(method.transitions[name], found.confusion[number])
        assert not method.noise_rates[name].requires_grad


def test_a_batch_without_labels_changes_nothing_and_is_finite() -> None:
    method = build_aggregating()
    before = flat(method.network.state_dict())
    nothing = {name: torch.zeros(ROWS, dtype=torch.bool) for name in NAMES}
    told = method.update(dataclasses.replace(partly(), masks=nothing))
    assert told["loss"] == 0
    assert equal_states(before, flat(method.network.state_dict()))


def test_preparing_again_gives_the_same_targets() -> None:
    first, again = build_aggregating(), build_aggregating()
    assert torch.equal(first.targets["class"], again.targets["class"])
