"""The rules that find λ, against literal re-enactments, and `proposed` under each of them."""

from __future__ import annotations

import dataclasses
import io
import math
from typing import Any

import oracles
import pytest
import torch
from method_builders import AFFECT, CLASSES, EXPRESSION, KINDS, build, build_proposed, equal_states, flat, make_batch
from noisyfer.core.config import with_settings
from noisyfer.core.errors import UserError
from noisyfer.models import adversarial_weight as weights
from noisyfer.models.adversarial_weight import Balance, Controller, Step, Uncertainty, differentiated
from noisyfer.models.methods import LabelSetSpec, proposed
from noisyfer.models.methods.proposed import Proposed, ProposedConfig
from noisyfer.models.networks.encoder import Encoder, Encoding, Trunk
from noisyfer.models.set_rates import LATEST_EPOCH, SetRates
from test_proposed_step import LiteralGame, compare_numbers, watch, without_some
from test_step_guards import NoWaiting, flops
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("seeded")

CPU = torch.device("cpu")
RULES = [rule for rule in weights.RULES if rule != "fixed"]


def step(prediction: float = 1.0, adversarial: float = 1.0, discriminator: float = 0.45, *slopes: float) -> Step:
    found = torch.tensor([prediction, adversarial, discriminator, *(slopes or (0.0, 0.0))])
    return Step(found[0], found[1], found[2], found[3:])


def rated(rule: Proposed, *rates: float) -> Balance:
    """The method's rule, told how noisy its sets are."""
    assert isinstance(rule.rule, Balance)
    names = [label_set.name for label_set in rule.sets if not label_set.continuous]
    rule.rule.rates.rates = dict(zip(names, rates, strict=True))
    return rule.rule


class FeatureSlopes:
    """Norms of a loss's gradient at the literal encoder's features: an addend δ = 0 to them, felt by every head."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.literal, self.addend = oracles.encoder, torch.zeros(())
        monkeypatch.setattr(oracles, "encoder", self.encoder)

    def encoder(self, found: dict[str, Tensor], images: Tensor, widths: list[int]) -> Any:
        mean, log_variance, outputs = self.literal(found, images, widths)
        self.addend = torch.zeros(len(images), found["mean.weight"].shape[1], dtype=torch.float64, requires_grad=True)
        moved = [self.addend @ found[f"{head}.weight"].T for head in ("mean", "log_variance", "labels")]
        moves = moved[2].split(widths, dim=1)
        return mean + moved[0], log_variance + moved[1], [a + b for a, b in zip(outputs, moves, strict=True)]

    def norm(self, loss: Tensor) -> float:
        (slope,) = torch.autograd.grad(loss, self.addend, retain_graph=True)
        return math.sqrt(sum(value**2 for row in slope.tolist() for value in row))


def test_balanced_steps_are_those_of_the_literal_game(monkeypatch: pytest.MonkeyPatch) -> None:
    """λ by norms that autograd gives at the features, the whole step by that λ; labels are missing."""
    sets = (CLASSES[0], AFFECT)
    monkeypatch.setattr(proposed, "unit_images", lambda images: images.double() / 127.5 - 1)
    torch.set_default_dtype(torch.float64)
    try:
        settings = {
            "lambda_rule": "balance",
            "balance_ratio": 0.07,
            "label_input": "softmax",
            "discriminator_updates": 1,
        }
        method = build_proposed(sets, **settings)
        rated(method, 0.25)
        for network in method.networks.values():
            network.double()
        seen, slopes = watch(method, monkeypatch), FeatureSlopes(monkeypatch)
        game = LiteralGame(method, sets)
        means, weighed = [0.0, 0.0], []
        for number in range(2):
            batch = without_some(make_batch(sets, seed=number))
            told = method.update(batch)
            weight = told["lambda"].item()
            game.config = dataclasses.replace(game.config, lambda_=weight)
            expected = game.iterate(batch, seen)
            joint = expected["adversarial_generator"]
            norms = [slopes.norm(expected["loss"] - weight * joint), slopes.norm(joint)]
            means = [0.99 * mean + 0.01 * norm for mean, norm in zip(means, norms, strict=True)]
            assert weight == pytest.approx(0.07 * 0.25 / 0.75 * means[0] / means[1], rel=1e-7)
            assert told["noise_rate"].item() == pytest.approx(0.25)
            assert told["loss"].item() == pytest.approx(expected["loss"].item(), rel=1e-9)
            weighed.append(weight)
        for name, network in method.networks.items():
            compare_numbers(name, network, getattr(game, name))
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(set(weighed)) == 2
    assert all(0.001 < weight < weights.LARGEST for weight in weighed)


@pytest.mark.parametrize("value", [2.0, 0.0])
def test_a_term_without_a_slope_leaves_lambda_finite(value: float) -> None:
    rates = SetRates([], 0)
    balance = Balance(1.0, rates, CPU)
    assert balance.weight(step(1.0, 1.0, 1.0, value, 0.0)).item() == (weights.LARGEST if value else 0)
    assert Balance(0.0, rates, CPU).weight(step(1.0, 1.0, 1.0, value, 0.0)).item() == 0
    rates.rates = {"all of it": 1.0}
    even = 0.5 if value else 0.0
    assert Balance(1 / 9, rates, CPU).weight(step(1, 1, 1, 0.5 * value, value)).item() == pytest.approx(even, rel=1e-5)


def test_without_scores_that_count_the_step_is_finite() -> None:
    silent = {f"weight_{part}": 0.0 for part in ("image", "latent", "labels", "joint")}
    told = build_proposed(CLASSES[:1], lambda_rule="balance", **silent).update(make_batch(CLASSES[:1]))
    assert told["lambda"] == weights.LARGEST
    assert told["loss"].item() == pytest.approx(told["cross_entropy"].item())


def test_the_controller_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = Controller(0.8, 0.5, CPU)
    # means of 2; (0.99·2 + 1)/1.99; (0.99²·2 + 0.99 + 0.1)/(0.99² + 0.99 + 1); λ·exp(0.01·(0.5 − mean)) each time
    for loss, mean in ((2.0, 2.0), (1.0, 2.98 / 1.99), (0.1, (1.9602 + 0.99 + 0.1) / 2.9701)):
        before = controller.state["log_weight"].exp().item()
        expected = before * math.exp(0.01 * (0.5 - mean))
        assert controller.weight(step(discriminator=loss)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("loss", "limit"), [(0.0, weights.LARGEST), (2.0, weights.SMALLEST), (0.5, None)])
def test_the_controller_moves_lambda_against_the_discriminator(loss: float, limit: float | None) -> None:
    """A strong D, of a small loss, has λ grow."""
    controller = Controller(0.8, 0.5, CPU)
    found = [controller.weight(step(discriminator=loss)).item() for _ in range(1500)]
    assert found[-1] == pytest.approx(0.8 if limit is None else limit, rel=1e-4)
    assert found == sorted(found, reverse=loss > 0.5) or limit is None
    assert abs(found[20] - 0.8) < 0.25  # from the start at a bounded pace


@pytest.mark.parametrize("start", [0.8, 0.1])
@pytest.mark.parametrize(
    ("prediction", "adversarial", "expected"),
    [(6.0, 7.5, 0.8), (0.5, 1.0, 0.5), (6.0, 2.5, weights.LARGEST), (0.4, -3, weights.LARGEST)],
)
def test_constant_losses_have_their_quotient_as_lambda(
    prediction: float, adversarial: float, expected: float, start: float
) -> None:
    """Each uncertainty e^s settles at twice its loss; a negative loss counts as 0.1."""
    rule = Uncertainty(start, CPU)
    assert rule.weight(step(prediction, adversarial)).item() == pytest.approx(start)
    for _ in range(2000):
        weight = rule.weight(step(prediction, adversarial))
    assert weight.item() == pytest.approx(expected, rel=1e-3)
    found = rule.state["log_variances"].exp().tolist()
    assert found == pytest.approx([2 * prediction, 2 * max(adversarial, 0.1)], rel=1e-3)


def test_a_huge_loss_is_forgotten() -> None:
    rule = Uncertainty(1.0, CPU)
    rule.weight(step(1.0, 1e6))
    assert rule.state["log_variances"][1].item() == pytest.approx(math.log(2e6))
    for _ in range(3000):
        weight = rule.weight(step(1.0, 2.0))
    assert weight.item() == pytest.approx(0.5, rel=1e-3)


def test_the_uncertainties_go_down_their_loss() -> None:
    """Autograd's gradient of Σ e^{−s}·L + s/2, by hand."""
    rule, plain = Uncertainty(0.4, CPU), torch.tensor([0.0, math.log(1 / 0.4)], dtype=torch.float64)
    for losses in ((7.0, 2.0), (5.0, 2.6), (4.0, 0.3)):
        leaf = plain.clone().requires_grad_()
        sum(torch.exp(-leaf[i]) * losses[i] + leaf[i] / 2 for i in range(2)).backward()
        assert rule.weight(step(*losses)).item() == pytest.approx(math.exp(plain[0] - plain[1]), rel=1e-5)
        plain = plain - weights.LEARNING_RATE * leaf.grad
    torch.testing.assert_close(rule.state["log_variances"].double(), plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", ["controller", "uncertainty"])
@pytest.mark.parametrize("start", [0.0, 1.5])
def test_a_start_beyond_the_limits_is_refused(start: float, rule: str) -> None:
    with pytest.raises(UserError, match=f"lambda is {start:g}, from which {rule} cannot start; its λ is 0.01 to 1"):
        with_settings(ProposedConfig(), {"lambda": start, "lambda_rule": rule})
    assert with_settings(ProposedConfig(), {"lambda": start, "lambda_rule": "balance"}).lambda_ == start


def test_the_controller_looks_past_scores_that_do_not_count() -> None:
    """Two of five scores weigh 0 and leave 2 in the mean that L_D is: 0.45 of the others are 0.6·0.45 + 0.4·2."""
    rule = build("proposed", CLASSES[:2], lambda_rule="controller", weight_image=0.0, weight_joint=0.0).rule
    assert isinstance(rule, Controller)
    assert rule.target == pytest.approx(0.6 * 0.45 + 0.8)


@pytest.mark.parametrize(
    ("rule", "name"),
    [*[(rule, "proposed") for rule in RULES], ("balance", "proposed-no-decoder"), ("balance", "proposed-no-joint")],
)
def test_the_loss_has_the_lambda_that_is_told(rule: str, name: str) -> None:
    method = build(name, CLASSES[:1], lambda_rule=rule, start_epoch=1, lambda_=0.3)
    assert "lambda" not in method.update(make_batch(CLASSES[:1]))
    method.start_epoch(1)
    told = {name: value.item() for name, value in method.update(make_batch(CLASSES[:1])).items()}
    assert told["loss"] == pytest.approx(told["cross_entropy"] + told["lambda"] * told["adversarial_generator"])
    assert ("noise_rate" in told) is (rule == "balance")
    assert 0 < told["lambda"] <= weights.LARGEST if rule == "balance" else abs(told["lambda"] - 0.3) < 0.01


def test_a_fixed_lambda_is_not_told_and_leaves_the_state_as_it_was() -> None:
    method = build("proposed", CLASSES)
    assert not {"lambda", "noise_rate"} & set(method.update(make_batch(CLASSES)))
    assert set(method.state_dict()) == {"networks", "optimizers"}


def resumed(method: Proposed, sets: tuple[LabelSetSpec, ...], settings: dict[str, Any]) -> Proposed:
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    fresh = build("proposed", sets, seed=99, **settings)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert isinstance(fresh, Proposed)
    return fresh


@pytest.mark.parametrize(
    ("rule", "kind"),
    [("balance", "one"), ("balance", "expression-va"), ("controller", "expression-va"), ("uncertainty", "one")],
)
def test_a_saved_rule_goes_on_bit_for_bit(rule: str, kind: str) -> None:
    """Also with a rate that losses told at an epoch that does not come again."""
    sets, settings = KINDS[kind], {"lambda_rule": rule, "start_epoch": 2, "balance_ratio": 0.01}
    method = build("proposed", sets, **settings)
    method.start_epoch(LATEST_EPOCH)
    method.update(make_batch(sets))
    assert isinstance(method, Proposed)
    assert not isinstance(method.rule, Balance) or len(method.rule.rates.rates) == 1
    fresh = resumed(method, sets, settings)
    told = []
    for going in (method, fresh):
        going.start_epoch(LATEST_EPOCH + 1)
        torch.manual_seed(11)
        told.append([going.update(make_batch(sets, seed=number)) for number in (5, 6)])
    assert all(equal_states(flat(one), flat(other)) for one, other in zip(*told, strict=True))
    assert equal_states(flat(method.state_dict()), flat(fresh.state_dict()))
    assert told[0][0]["lambda"] != told[0][1]["lambda"]


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_waits_for_the_device(rule: str) -> None:
    sets = (CLASSES[0], EXPRESSION, AFFECT)
    method, batch = build("proposed", sets, lambda_rule=rule), make_batch(sets)
    with NoWaiting():
        method.update(batch)


def test_to_balance_takes_hardly_more_work_and_no_further_pass_of_d() -> None:
    batch, work = make_batch(CLASSES[:1]), {}
    for rule in ("fixed", "balance"):
        method = build("proposed", CLASSES[:1], lambda_rule=rule)
        passes: list[int] = []
        method.networks["discriminator"].register_forward_hook(lambda *_, passes=passes: passes.append(1))
        work[rule] = flops(lambda method=method: method.update(batch))
        assert len(passes) == 3
    assert work["fixed"] < work["balance"] < 1.002 * work["fixed"]


class Flat(Trunk):
    """Pixels to eight features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = self.channels = 8
        self.layer = nn.Linear(12, 8)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layer(images.flatten(1)).tanh()
        return features

    def maps(self, images: Tensor) -> Tensor:
        return self(images)[:, :, None, None]


@pytest.mark.parametrize("compiled", [False, True])
def test_the_slope_at_the_features_is_autograds(compiled: bool) -> None:
    """Also where the compiler's own function stands for the whole encoder, so that autograd has no features."""
    encoder, noise = Encoder(Flat(), (10, 2)), torch.randn(5, 100)
    features: list[Tensor] = []
    encoder.trunk.register_forward_hook(lambda *found: features.append(found[2]))
    images = torch.randn(5, 3, 2, 2)

    def losses(encoding: Encoding) -> list[Tensor]:
        both = encoding.sample(noise).sin().sum() + encoding.outputs[1].square().sum()
        return [encoding.outputs[0].exp().sum(), both]

    expected = [torch.autograd.grad(loss, features[0], retain_graph=True)[0] for loss in losses(encoder(images))]
    if compiled:
        encoder.compile(backend="aot_eager")
    encoding = encoder(images)
    for loss, wanted in zip(losses(encoding), expected, strict=True):
        found = encoder.feature_slope(loss, encoding)
        torch.testing.assert_close(found, wanted)
        assert not found.requires_grad
    sum(losses(encoding)).backward()  # the graph is still there


def test_a_term_is_differentiated_once_and_looks_as_before() -> None:
    """Value and gradients, through a graph that goes on in front of the inputs; one input has no gradient."""
    entered: list[int] = []

    def term(first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        first.register_hook(lambda slope: entered.append(1))
        return (first.exp() * second.square() + third).sum()

    leaf, fixed = torch.randn(3, 4, dtype=torch.float64, requires_grad=True), torch.randn(3, 4, dtype=torch.float64)
    value = term(leaf * 2, leaf + 1, fixed)
    (wanted,) = torch.autograd.grad(value, leaf)
    entered.clear()
    once = differentiated(term, (leaf * 2, leaf + 1, fixed))
    assert once.item() == value.item()
    for _ in range(2):
        (found,) = torch.autograd.grad(once, leaf, retain_graph=True)
        torch.testing.assert_close(found, wanted)
    assert entered == [1]
