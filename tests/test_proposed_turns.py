"""Who moves in `proposed`, and when: D, then encoder and decoder, and nobody through another's gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from method_builders import CLASSES, KINDS, build_proposed, equal_states, flat, make_batch, parameters, same, slopes
from noisyfer.models.methods.proposed import Proposed
from torch import nn

pytestmark = pytest.mark.usefixtures("seeded")


class Referee:
    """Wraps both optimizers' steps, and notes who stepped and what changed by it."""

    def __init__(self, method: Proposed, monkeypatch: pytest.MonkeyPatch) -> None:
        self.method, self.moves = method, []
        for name, optimizer in method.optimizers.items():
            monkeypatch.setattr(optimizer, "step", self._watched(name, optimizer.step))

    def _watched(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **keywords: Any) -> Any:
            before = {key: parameters(network) for key, network in self.method.networks.items()}
            slopes_before = {key: slopes(network) for key, network in self.method.networks.items()}
            result = step(*arguments, **keywords)
            moved = {key for key, network in self.method.networks.items() if not same(before[key], parameters(network))}
            self.moves.append((name, moved, slopes_before))
            return result

        return watched


@pytest.mark.parametrize("kind", ["three", "expression-va"])
def test_two_updates_of_d_then_one_of_encoder_and_decoder(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = KINDS[kind]
    method = build_proposed(sets)
    referee = Referee(method, monkeypatch)
    start = {name: parameters(network) for name, network in method.networks.items()}
    method.update(make_batch(sets))
    assert [name for name, _, _ in referee.moves] == ["discriminator", "discriminator", "generator"]
    assert [moved for _, moved, _ in referee.moves] == [
        {"discriminator"},
        {"discriminator"},
        {"encoder", "decoder"},
    ]
    for name, _, before in referee.moves[:2]:  # D's updates leave no gradient in the generator: its inputs are detached
        assert name == "discriminator"
        assert all(slope is None for slope in before["encoder"] + before["decoder"])
    # the generator's update leaves none in D: its gradients are still those of its own last update
    assert same(slopes(method.discriminator), referee.moves[1][2]["discriminator"])
    assert not same(start["discriminator"], parameters(method.discriminator))
    assert all(parameter.requires_grad for network in method.networks.values() for parameter in network.parameters())

    method.update(make_batch(sets, seed=2))
    for _, _, before in referee.moves[3:5]:  # the generator's old gradients hold no memory while D learns
        assert all(slope is None for slope in before["encoder"] + before["decoder"])


@pytest.mark.parametrize("updates", [1, 3])
def test_the_number_of_updates_of_d_is_an_option(updates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build_proposed(CLASSES[:1], discriminator_updates=updates)
    referee = Referee(method, monkeypatch)
    method.update(make_batch(CLASSES[:1]))
    assert [name for name, _, _ in referee.moves] == ["discriminator"] * updates + ["generator"]


def test_the_encoder_is_given_to_d_detached_and_d_is_frozen_for_the_generator() -> None:
    method = build_proposed(CLASSES)
    wants: list[tuple[list[bool], bool]] = []

    def seen(network: nn.Module, inputs: tuple[Any, ...]) -> None:
        images, latent, labels = inputs
        tracked = [tensor.requires_grad for tensor in (images, latent, *labels)]
        wants.append((tracked, any(parameter.requires_grad for parameter in network.parameters())))

    method.discriminator.register_forward_pre_hook(seen)
    method.update(make_batch(CLASSES))
    in_d = [(tracked, trains) for tracked, trains in wants if trains]
    in_g = [(tracked, trains) for tracked, trains in wants if not trains]
    assert wants == in_d + in_g
    assert in_d
    assert in_g
    assert all(not any(tracked) for tracked, _ in in_d)
    assert all(any(tracked) for tracked, _ in in_g)


def test_before_its_first_epoch_the_adversary_is_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build_proposed(CLASSES, start_epoch=2)
    referee = Referee(method, monkeypatch)
    calls: list[str] = []
    for name in ("decoder", "discriminator"):
        method.networks[name].register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    untouched = {name: flat(method.networks[name].state_dict()) for name in ("decoder", "discriminator")}
    for epoch in (0, 1):
        method.start_epoch(epoch)
        told = method.update(make_batch(CLASSES, seed=epoch))
        assert torch.equal(told["loss"], 3 * told["cross_entropy"]) or told["loss"].item() == pytest.approx(
            3 * told["cross_entropy"].item(), rel=1e-6
        )
    assert [(name, moved) for name, moved, _ in referee.moves] == [("generator", {"encoder"})] * 2
    assert calls == []
    for name, state in untouched.items():
        assert equal_states(state, flat(method.networks[name].state_dict()))
    method.start_epoch(2)
    method.update(make_batch(CLASSES))
    assert [name for name, _, _ in referee.moves[2:]] == ["discriminator", "discriminator", "generator"]
    assert not equal_states(untouched["discriminator"], flat(method.discriminator.state_dict()))


def test_a_fresh_method_waits_for_its_first_adversarial_epoch() -> None:
    for start, plays in ((0, True), (3, False)):
        method = build_proposed(CLASSES[:1], start_epoch=start)
        assert ("adversarial_generator" in method.update(make_batch(CLASSES[:1]))) is plays


@pytest.mark.parametrize("kind", ["two", "expression-va"])
def test_with_lambda_zero_the_generator_follows_the_prediction_loss_alone(kind: str) -> None:
    sets, batch = KINDS[kind], make_batch(KINDS[kind])
    silenced, alone = build_proposed(sets, lambda_=0.0), build_proposed(sets, start_epoch=1)
    told, other = silenced.update(batch), alone.update(batch)
    assert told["loss"].item() == pytest.approx(other["loss"].item(), rel=1e-6)
    for one, wanted in zip(silenced.encoder.parameters(), alone.encoder.parameters(), strict=True):
        if wanted.grad is None:  # the heads of the latent vector
            assert one.grad is None or not one.grad.any()
        else:
            torch.testing.assert_close(one.grad, wanted.grad, rtol=1e-5, atol=1e-8)
    assert all(slope is None or not slope.any() for slope in slopes(silenced.decoder))
    assert any(slope is not None and slope.any() for slope in slopes(silenced.encoder))

    weighed = build_proposed(sets, lambda_=0.8)
    weighed.update(batch)
    assert not same(slopes(weighed.encoder), slopes(silenced.encoder))
    assert any(slope is not None and slope.any() for slope in slopes(weighed.decoder))
