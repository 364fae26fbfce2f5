"""What is known of the noise without clean labels, when, and what stands for it until then; and `lambda=auto`."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from method_builders import AFFECT, CLASSES, EXPRESSION, TinyTraining, build, without_dropout
from noisyfer.benchmark.bench import check_request
from noisyfer.benchmark.settings import _with_rule, resolve
from noisyfer.core.errors import UserError
from noisyfer.models import noise_rate
from noisyfer.models.adversarial_weight import AUTO_RULE, RULES, Balance
from noisyfer.models.methods import LabelSetSpec
from noisyfer.models.methods.proposed import Proposed, ProposedConfig
from noisyfer.models.noise_rate import rate_from_losses
from noisyfer.models.set_rates import ASSUMED_RATE, LATEST_EPOCH, SetRates
from test_noise_rate import everywhere, noisy_sets
from torch import Tensor

pytestmark = pytest.mark.usefixtures("seeded")


def training(sets: Iterable[LabelSetSpec], labels: list[Tensor], masks: list[Tensor]) -> Any:
    names = [label_set.name for label_set in sets]
    return SimpleNamespace(labels=dict(zip(names, labels, strict=True)), masks=dict(zip(names, masks, strict=True)))


class Asked:
    """Losses of two heights, and which sets' were asked for, when."""

    def __init__(self) -> None:
        self.times: list[tuple[int, list[str]]] = []

    def at(self, rates: SetRates, epoch: int) -> None:
        def losses(names: Iterable[str]) -> dict[str, tuple[Tensor, Tensor]]:
            self.times.append((epoch, list(names)))
            low, high = torch.randn(600) * 0.1, torch.randn(400) * 0.1 + 3
            return {name: (torch.cat([low, high]), torch.randint(7, (1000,))) for name in self.times[-1][1]}

        rates.start_epoch(epoch, losses)


def test_sets_that_share_samples_are_told_by_their_agreement_before_training() -> None:
    labels = noisy_sets([0.2, 0.3, 0.4], 10)
    rates, asked = SetRates((*CLASSES, AFFECT), 0), Asked()
    assert rates.mean == ASSUMED_RATE
    rates.compare(training(CLASSES, labels, everywhere(labels)))
    assert rates.mean == pytest.approx(0.3, abs=0.02)
    assert list(rates.rates.values()) == pytest.approx([0.2, 0.3, 0.4], abs=0.03)
    asked.at(rates, 5)
    assert asked.times == []


@pytest.mark.parametrize(("needed", "estimated"), [(0, 2), (1, 2), (4, 4)])
def test_a_set_alone_is_told_by_its_losses_when_they_are_needed_but_not_at_once(needed: int, estimated: int) -> None:
    labels = noisy_sets([0.3], 10)
    rates, asked = SetRates(CLASSES[:1], needed), Asked()
    rates.compare(training(CLASSES[:1], labels, everywhere(labels)))
    for epoch in range(8):
        asked.at(rates, epoch)
        assert rates.mean == (ASSUMED_RATE if epoch < estimated else pytest.approx(0.4, abs=0.01))
    assert asked.times == [(estimated, [CLASSES[0].name])]


def test_a_set_that_was_not_told_is_asked_again_until_it_is_told_anyway() -> None:
    """One label's losses are below the labels' entropy, the other set's never."""
    sets = (CLASSES[0], EXPRESSION)
    labels = [*noisy_sets([0.3], 10), *noisy_sets([0.3], 7)]
    rates = SetRates(sets, 0)
    rates.compare(training(sets, labels, everywhere(labels)))
    asked: list[tuple[int, set[str]]] = []

    def losses(names: Iterable[str]) -> dict[str, tuple[Tensor, Tensor]]:
        asked.append((epoch, set(names)))
        heights = {CLASSES[0].name: 0.1, EXPRESSION.name: 3.0}
        return {name: (heights[name] + (torch.arange(100) < 30), torch.arange(100) % 2) for name in asked[-1][1]}

    for epoch in range(LATEST_EPOCH + 2):
        rates.start_epoch(epoch, losses)
        if 2 <= epoch < LATEST_EPOCH:
            assert rates.rates == {CLASSES[0].name: pytest.approx(0.3)}
            assert rates.mean == pytest.approx(0.3)
    assert asked == [
        (2, {CLASSES[0].name, EXPRESSION.name}),
        *((epoch, {EXPRESSION.name}) for epoch in range(3, LATEST_EPOCH + 1)),
    ]
    assert rates.rates[EXPRESSION.name] == pytest.approx(0.3)


def test_each_set_is_told_by_what_there_is_of_it() -> None:
    """Two of a task by agreement; one of another task by losses; one that labels nothing not at all."""
    sets = (*CLASSES, EXPRESSION, AFFECT)
    labels = [*noisy_sets([0.2, 0.2, 0.5], 10), *noisy_sets([0.4], 7)]
    masks = everywhere(labels)
    masks[2] = torch.zeros_like(masks[2])
    rates, asked = SetRates(sets, 0), Asked()
    rates.compare(training(sets[:4], labels, masks))
    assert rates.mean == pytest.approx(0.2, abs=0.02)
    asked.at(rates, 2)
    assert asked.times == [(2, [EXPRESSION.name])]
    assert rates.mean == pytest.approx((0.2 + 0.2 + 0.4) / 3, abs=0.02)
    asked.at(rates, 3)
    assert len(asked.times) == 1


def test_sets_without_a_common_sample_are_told_by_their_losses() -> None:
    labels = noisy_sets([0.2, 0.3], 10)
    first = torch.arange(len(labels[0])) % 2 == 0
    rates, asked = SetRates(CLASSES[:2], 3), Asked()
    rates.compare(training(CLASSES[:2], labels, [first, ~first]))
    asked.at(rates, 3)
    assert asked.times == [(3, [CLASSES[0].name, CLASSES[1].name])]


@pytest.mark.parametrize(("common", "told"), [(49, False), (50, True)])
def test_a_few_common_samples_tell_no_rate(common: int, told: bool) -> None:
    labels = noisy_sets([0.2, 0.3], 10)
    place = torch.arange(len(labels[0]))
    rates = SetRates(CLASSES[:2], 0)
    rates.compare(training(CLASSES[:2], labels, [place < 1000 + common, place >= 1000]))
    assert bool(rates.rates) is told


def test_of_valence_and_arousal_nothing_tells_a_rate() -> None:
    rates, asked = SetRates((AFFECT,), 0), Asked()
    rates.compare(training((AFFECT,), [torch.zeros(4, 2)], [torch.ones(4, dtype=torch.bool)]))
    asked.at(rates, 4)
    assert (asked.times, rates.mean) == ([], ASSUMED_RATE)


def test_proposed_tells_a_rate_by_its_own_heads_losses_without_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the samples that the set labels, at the epoch from which λ is used."""
    sets = (EXPRESSION, AFFECT)
    method = build("proposed", sets, lambda_rule="balance", start_epoch=3)
    assert isinstance(method, Proposed)
    assert isinstance(method.rule, Balance)
    with torch.no_grad():
        method.encoder.labels.weight.mul_(30)  # or all losses were alike
    data = TinyTraining(sets)
    data.masks[EXPRESSION.name] = torch.arange(len(data)) % 3 > 0
    method.prepare(data)
    method.start_epoch(2)
    assert method.rule.rates.mean == ASSUMED_RATE
    method.start_epoch(3)  # labels at random have told it nothing yet
    assert method.rule.rates.rates == {}
    monkeypatch.setattr(noise_rate, "LEAST_OF_A_LABEL", 4)
    random = torch.get_rng_state()
    method.start_epoch(LATEST_EPOCH)
    assert torch.equal(random, torch.get_rng_state())
    without_dropout(method.encoder)
    outputs = method.encoder(data.batch.images / 127.5 - 1).outputs[0].detach()
    labels = data.labels[EXPRESSION.name].tolist()
    chances = torch.softmax(outputs.double(), dim=1)
    losses = [-chances[row, labels[row]].log() for row in range(len(data)) if row % 3 > 0]
    own = data.labels[EXPRESSION.name][data.masks[EXPRESSION.name]]
    wanted = rate_from_losses(torch.stack(losses), own, anyway=True)
    assert wanted is not None
    assert 0.02 < wanted < 0.98
    assert rate_from_losses(torch.stack(losses), own.flip(0), anyway=True) != pytest.approx(wanted, abs=1e-2)
    assert method.rule.rates.rates == {EXPRESSION.name: pytest.approx(wanted, abs=1e-3)}


def test_only_a_balanced_lambda_looks_at_the_training_samples() -> None:
    for rule in RULES:
        method = build("proposed", CLASSES[:1], lambda_rule=rule)
        assert isinstance(method, Proposed)
        assert (method.training is not None) is (rule == "balance")
        method.start_epoch(2)


@pytest.mark.parametrize("text", [{"lambda": "auto"}, {"lambda": "auto", "epochs": "20"}])
def test_lambda_auto_is_a_rule(text: dict[str, str]) -> None:
    for name in ("proposed", "proposed-no-decoder"):
        _, options = resolve(name, "small", text)
        assert isinstance(options, ProposedConfig)
        assert (options.lambda_rule, options.lambda_) == (AUTO_RULE, 0.8)
    assert AUTO_RULE in RULES
    assert AUTO_RULE != "fixed"


def test_a_rule_that_is_named_goes_before_auto() -> None:
    _, options = resolve("proposed", "small", {"lambda": "auto", "lambda_rule": "controller"})
    assert isinstance(options, ProposedConfig)
    assert options.lambda_rule == "controller"
    _, options = resolve("proposed", "small", {"lambda": "0.3", "lambda_rule": "uncertainty"})
    assert isinstance(options, ProposedConfig)
    assert (options.lambda_rule, options.lambda_) == ("uncertainty", 0.3)
    with pytest.raises(UserError, match=r"^lambda is 'auto' and lambda_rule 'fixed', which exclude each other"):
        resolve("proposed", "small", {"lambda": "auto", "lambda_rule": "fixed"})


def test_a_method_without_rules_leaves_lambda_auto_out_like_any_option_it_lacks() -> None:
    assert resolve("elr", "small", {"lambda": "auto"}) == resolve("elr", "small", {})
    assert check_request(["elr", "proposed"], "small", {"lambda": "auto"}, "cpu") == ["elr", "proposed"]
    with pytest.raises(UserError, match="None of elr has the option lambda; leave it out"):
        check_request(["elr"], "small", {"lambda": "auto"}, "cpu")


def test_a_lambda_without_rules_would_be_a_number() -> None:
    assert _with_rule({"lambda": "auto"}, ["lambda", "epochs"]) == {"lambda": "auto"}  # which its type refuses


@pytest.mark.parametrize("value", ["automatic", "Auto", ""])
def test_any_other_word_for_lambda_is_refused(value: str) -> None:
    with pytest.raises(UserError, match=f"^lambda is '{value}'; a number was expected"):
        resolve("proposed", "small", {"lambda": value})
