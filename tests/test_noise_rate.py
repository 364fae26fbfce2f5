"""Noise rates estimated without clean labels, against simulated truth."""

from __future__ import annotations

import math
import weakref
from typing import Any

import pytest
import torch
from noisyfer.core.errors import UserError
from noisyfer.models.noise_rate import rate_from_losses, rates_from_agreement
from torch import Tensor
from torch.overrides import TorchFunctionMode

SAMPLES = 20_000


def noisy_sets(rates: list[float], classes: int, seed: int = 0) -> list[Tensor]:
    """Independent symmetric noise of the given rates on the same true classes."""
    source = torch.Generator().manual_seed(seed)
    truth = torch.randint(classes, (SAMPLES,), generator=source)
    sets = []
    for rate in rates:
        wrong = torch.rand(SAMPLES, generator=source) < rate
        shift = torch.randint(1, classes, (SAMPLES,), generator=source)
        sets.append(torch.where(wrong, (truth + shift) % classes, truth))
    return sets


def everywhere(sets: list[Tensor]) -> list[Tensor]:
    return [torch.ones(SAMPLES, dtype=torch.bool) for _ in sets]


@pytest.mark.parametrize(
    ("rates", "classes"),
    [
        ([0.2, 0.3, 0.4], 10),
        ([0.0, 0.5, 0.6], 10),
        ([0.1, 0.45, 0.2, 0.3, 0.6], 7),
        ([0.1, 0.2, 0.3], 2),
    ],
)
def test_the_rate_of_each_set(rates: list[float], classes: int) -> None:
    sets = noisy_sets(rates, classes)
    found = rates_from_agreement(sets, everywhere(sets), classes)
    torch.testing.assert_close(found, torch.tensor(rates).double(), atol=0.02, rtol=0)


def test_two_sets_share_the_rate_that_explains_their_agreement() -> None:
    sets = noisy_sets([0.3, 0.3], 10)
    found = rates_from_agreement(sets, everywhere(sets), 10)
    agreement = (sets[0] == sets[1]).double().mean()
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=0)
    torch.testing.assert_close((1 - found[0]) ** 2 + found[0] ** 2 / 9, agreement, atol=1e-6, rtol=0)
    torch.testing.assert_close(found[0], torch.tensor(0.3).double(), atol=0.02, rtol=0)


def test_only_samples_that_both_label_count() -> None:
    sets, source = noisy_sets([0.2, 0.3, 0.4], 10), torch.Generator().manual_seed(5)
    masks = [torch.rand(SAMPLES, generator=source) < share for share in (0.9, 0.6, 0.7)]
    blanked = [torch.where(mask, values, 0) for values, mask in zip(sets, masks, strict=True)]
    found = rates_from_agreement(blanked, masks, 10)
    torch.testing.assert_close(found, torch.tensor([0.2, 0.3, 0.4]).double(), atol=0.02, rtol=0)


def test_a_pair_with_many_samples_weighs_more() -> None:
    """The pair with ten samples agrees by accident; the others say 0.3 for each set."""
    sets = noisy_sets([0.3, 0.3, 0.3, 0.3], 10)
    masks = everywhere(sets)
    masks[3] = torch.arange(SAMPLES) < 10
    sets[3] = torch.where(masks[3], sets[2], 0)
    found = rates_from_agreement(sets, masks, 10)
    torch.testing.assert_close(found[:3], torch.full((3,), 0.3).double(), atol=0.02, rtol=0)


def test_a_set_without_common_samples_gets_the_rate_of_the_others() -> None:
    sets = noisy_sets([0.3, 0.3, 0.3], 10)
    half = torch.arange(SAMPLES) < SAMPLES // 2
    found = rates_from_agreement(sets, [half, half, ~half], 10)
    torch.testing.assert_close(found, torch.full((3,), 0.3).double(), atol=0.02, rtol=0)


def test_agreement_by_chance_and_full_agreement() -> None:
    chance = noisy_sets([0.9, 0.9], 10)
    found = rates_from_agreement(chance, everywhere(chance), 10)
    assert (found > 0.8).all()
    assert (found <= 0.9 + 1e-9).all()
    same = noisy_sets([0.0, 0.0, 0.0], 10)
    torch.testing.assert_close(
        rates_from_agreement(same, everywhere(same), 10), torch.zeros(3).double(), atol=1e-4, rtol=0
    )


def test_sets_that_share_no_sample_are_refused() -> None:
    sets = noisy_sets([0.2, 0.2], 10)
    half = torch.arange(SAMPLES) < SAMPLES // 2
    with pytest.raises(UserError, match="no two label sets label the same sample"):
        rates_from_agreement(sets, [half, ~half], 10)


def test_pairs_of_many_sets_leave_no_masks_behind() -> None:
    """Two masks a pair of a thousand sets would be a million masks; here 435 pairs of 20 kB each."""
    source = torch.Generator().manual_seed(1)
    sets = noisy_sets([0.3] * 30, 7)
    masks = [torch.rand(SAMPLES, generator=source) < 0.8 for _ in sets]
    alive: list[int] = []

    class Watching(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            if isinstance(made, Tensor) and made.numel() == SAMPLES:
                alive.append(1)
                weakref.finalize(made, alive.pop)
                highest.append(len(alive))
            return made

    highest: list[int] = []
    with Watching():
        found = rates_from_agreement(sets, masks, 7)
    assert len(highest) >= 435
    assert max(highest) < 10
    torch.testing.assert_close(found, torch.full((30,), 0.3).double(), atol=0.02, rtol=0)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.6])
def test_the_weight_of_the_high_losses(rate: float) -> None:
    source = torch.Generator().manual_seed(2)
    wrong = torch.rand(5000, generator=source) < rate
    noise = torch.randn(5000, generator=source)
    losses = torch.where(wrong, 2.4 + 0.5 * noise, 0.5 + 0.2 * noise)
    labels = torch.arange(5000) % 7
    assert rate_from_losses(losses, labels) == pytest.approx(rate, abs=0.02)
    assert rate_from_losses(losses.float() / 100, labels) == pytest.approx(rate, abs=0.02)


def test_how_easy_and_how_frequent_a_class_is_says_nothing_of_its_noise() -> None:
    """Losses of an early network: a frequent class's wrong labels cost less than a rare one's right ones."""
    source = torch.Generator().manual_seed(3)
    shares = torch.tensor([0.6, 0.3, 0.1])
    labels = torch.multinomial(shares, 5000, replacement=True, generator=source)
    wrong = torch.rand(5000, generator=source) < torch.tensor([0.2, 0.4, 0.5])[labels]
    losses = torch.tensor([0.1, 1.0, 2.0])[labels] + 0.4 * wrong + 0.06 * torch.randn(5000, generator=source)
    truth = wrong.double().mean().item()
    assert rate_from_losses(losses, labels) == pytest.approx(truth, abs=0.03)
    together = rate_from_losses(losses, torch.arange(5000) % 3)  # labels that have nothing to do with the losses
    assert together is not None
    assert abs(together - truth) > 0.1


@pytest.mark.parametrize(("share", "told"), [(0.94, True), (0.96, False), (1.3, False)])
def test_losses_tell_nothing_until_they_are_below_the_labels_entropy(share: float, told: bool) -> None:
    labels = torch.tensor([0] * 60 + [1] * 40)
    entropy = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4))
    losses = share * entropy * torch.linspace(0.5, 1.5, 100)
    assert (rate_from_losses(losses, labels) is not None) is told


@pytest.mark.parametrize("anyway", [False, True])
def test_no_losses_tell_nothing(anyway: bool) -> None:
    assert rate_from_losses(torch.zeros(0), torch.zeros(0, dtype=torch.long), anyway) is None
    endless = torch.tensor([0.1, torch.inf, torch.nan]).repeat(20)
    assert rate_from_losses(endless, torch.arange(60) % 2, anyway) is None


def test_one_label_alone_tells_nothing_unless_anyway() -> None:
    losses = torch.where(torch.arange(100) < 30, 2.0, 0.1) + torch.linspace(0, 0.1, 100)
    assert rate_from_losses(losses, torch.zeros(100, dtype=torch.long)) is None
    assert rate_from_losses(losses, torch.zeros(100, dtype=torch.long), anyway=True) == pytest.approx(0.3, abs=0.01)


def test_labels_too_rare_for_two_gaussians_are_left_out_or_taken_together() -> None:
    source = torch.Generator().manual_seed(4)
    wrong = torch.arange(200) < 60
    losses = torch.where(wrong, 1.0, 0.2) + 0.05 * torch.randn(200, generator=source)
    labels = (torch.arange(200) % 3 == 0).long()
    few = torch.cat([labels, torch.full((19,), 2)])
    assert rate_from_losses(torch.cat([losses, torch.full((19,), 3.0)]), few) == rate_from_losses(losses, labels)
    assert rate_from_losses(losses, torch.arange(200) // 19) == pytest.approx(0.3, abs=0.01)


def test_equal_losses_have_no_high_component() -> None:
    assert rate_from_losses(torch.full((50,), 0.3), torch.arange(50) % 2) == 0.0
