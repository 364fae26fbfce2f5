"""A whole step of `proposed` equals a literal re-enactment of its game."""

from __future__ import annotations

import dataclasses
from typing import Any

import oracles
import pytest
import torch
from method_builders import AFFECT, CLASSES, EXPRESSION, LATENT, ROWS, SIZE, build_proposed, make_batch
from noisyfer.models.methods import Batch, LabelSetSpec, proposed
from noisyfer.models.methods.proposed import Proposed
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("seeded")


@dataclasses.dataclass
class Seen:
    """The random numbers of one update of `proposed`, caught where they enter."""

    encoder_noise: Tensor | None = None
    decoder_noise: Tensor | None = None


def watch(method: Proposed, monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen = Seen()
    kind = type(method.encoder(torch.zeros(2, 3, SIZE, SIZE, dtype=next(method.encoder.parameters()).dtype)))
    sample = kind.sample

    def sampled(self: Any, noise: Tensor) -> Tensor:
        seen.encoder_noise = noise.detach().clone().double()
        return sample(self, noise)

    def drawn(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.decoder_noise = inputs[0].detach().clone().double()

    monkeypatch.setattr(kind, "sample", sampled)
    method.decoder.register_forward_pre_hook(drawn)
    return seen


class LiteralGame:
    """`proposed` to the letter: separate calls of D for the encoder's and the decoder's side, nothing shared.

    The package passes both sides through D as one batch of 2B, so its u and v advance once for each *pair* of calls;
    here power iteration is therefore a step of its own, taken once before each pair.
    """

    def __init__(self, method: Proposed, sets: tuple[LabelSetSpec, ...]) -> None:
        self.config, self.sets = method.config, sets
        self.encoder = oracles.leaves(method.encoder.state_dict())
        self.decoder = oracles.leaves(method.decoder.state_dict())
        self.discriminator = oracles.leaves(method.discriminator.state_dict())
        rate = self.config.learning_rate
        # two optimizers for the generator's halves are one: Adam treats every number alone
        self.encoder_adam, self.decoder_adam = oracles.Adam(rate), oracles.Adam(rate)
        self.discriminator_adam = oracles.Adam(rate * self.config.discriminator_rate)
        weights = self.config
        self.clipped: list[Tensor] = []
        self.beyond = torch.zeros(())
        self.score_weights = torch.tensor(
            [weights.weight_image, weights.weight_latent]
            + [weights.weight_labels for _ in sets]
            + [weights.weight_joint],
            dtype=torch.float64,
        )

    def scores(self, images: Tensor, latent: Tensor, labels: list[Tensor]) -> Tensor:
        return oracles.discriminator(self.discriminator, images, latent, labels) * self.score_weights

    @staticmethod
    def zeros_where_missing(labels: Tensor, mask: list[bool]) -> Tensor:
        return torch.stack([row if there else torch.zeros_like(row) for row, there in zip(labels, mask, strict=True)])

    def prediction_loss(self, outputs: list[Tensor], batch: Batch) -> Tensor:
        """Σ_sets CE + γ·(L_sim + w·L_range)."""
        total = torch.zeros((), dtype=torch.float64)
        for output, label_set in zip(outputs, self.sets, strict=True):
            labels, mask = batch.labels[label_set.name], batch.masks[label_set.name].tolist()
            if label_set.continuous:
                self.beyond = oracles.out_of_range(output, mask)
                beyond = self.config.range_weight * self.beyond
                total = total + self.config.gamma * (oracles.similarity(output, labels.double(), mask) + beyond)
            else:
                total = total + oracles.cross_entropy(output, labels.tolist(), mask)
        return total

    def iterate(self, batch: Batch, seen: Seen, adversarial: bool = True) -> dict[str, Any]:
        """Two updates of D, then one of encoder and decoder; what it gave on the way."""
        images = batch.images.double() / 127.5 - 1
        mean, log_variance, outputs = oracles.encoder(self.encoder, images, [one.width for one in self.sets])
        prediction = self.prediction_loss(outputs, batch)
        if not adversarial:
            slopes = oracles.gradients(prediction, self.encoder)
            # the heads of the latent vector take no part yet, so Adam does not begin with them
            slopes = {name: slope for name, slope in slopes.items() if not name.startswith(("mean.", "log_variance."))}
            self.encoder = self.encoder_adam.step(self.encoder, slopes)
            return {"loss": prediction, "encoder": slopes}
        latent = oracles.latent(mean, log_variance, seen.encoder_noise)
        masks = [batch.masks[one.name].tolist() for one in self.sets]
        present = [[True, True, *row, True] for row in zip(*masks, strict=True)]
        given = [
            batch.labels[one.name].double()
            if one.continuous
            else oracles.one_hot(batch.labels[one.name].tolist(), one.width)
            for one in self.sets
        ]
        given = [self.zeros_where_missing(label, mask) for label, mask in zip(given, masks, strict=True)]
        self.decoder = oracles.power_iteration(self.decoder, transposed=True)
        drawn, running = oracles.decoder(self.decoder, seen.decoder_noise, given, training=True)
        self.decoder.update(running)
        shown = [
            output if one.continuous or self.config.label_input == "raw" else oracles.softmax(output)
            for output, one in zip(outputs, self.sets, strict=True)
        ]
        shown = [self.zeros_where_missing(label, mask) for label, mask in zip(shown, masks, strict=True)]
        for _ in range(self.config.discriminator_updates):
            self.discriminator = oracles.power_iteration(self.discriminator)
            s_enc = self.scores(images, latent.detach(), [label.detach() for label in shown])
            s_dec = self.scores(drawn.detach(), seen.decoder_noise, given)
            loss_d = oracles.discriminator_loss(s_enc, s_dec, present)
            self.clipped += [s_enc > 1, s_dec < -1]
            slopes_d = oracles.gradients(loss_d, self.discriminator)
            self.discriminator = self.discriminator_adam.step(self.discriminator, slopes_d)
        self.discriminator = oracles.power_iteration(self.discriminator)
        s_enc = self.scores(images, latent, shown)
        s_dec = self.scores(drawn, seen.decoder_noise, given)
        joint = oracles.generator_loss(s_enc, s_dec, present)
        loss = prediction + self.config.lambda_ * joint
        slopes_e, slopes_x = oracles.gradients_of_two(loss, self.encoder, self.decoder)
        self.encoder = self.encoder_adam.step(self.encoder, slopes_e)
        self.decoder = self.decoder_adam.step(self.decoder, slopes_x)
        return {
            "loss": loss,
            "adversarial_generator": joint,
            "adversarial_discriminator": loss_d,
            "encoder": slopes_e,
            "decoder": slopes_x,
            "discriminator": slopes_d,
        }


GAMES = [
    pytest.param(CLASSES, {}, id="three-raw"),
    pytest.param(CLASSES[:2], {"label_input": "softmax", "lambda_": 0.3, "weight_labels": 1.7}, id="two-softmax"),
    pytest.param(
        (EXPRESSION, AFFECT),
        {"gamma": 1.3, "weight_image": 0.5, "weight_latent": 2.0, "weight_labels": 0.6, "weight_joint": 1.4},
        id="expression-va",
    ),
    pytest.param((AFFECT, EXPRESSION), {"label_input": "softmax", "gamma": 0.2}, id="va-expression-softmax"),
    pytest.param((AFFECT,), {"discriminator_updates": 1, "discriminator_rate": 0.5}, id="va-one-update"),
    pytest.param((EXPRESSION, AFFECT), {"missing": True}, id="expression-va-missing"),
    pytest.param((EXPRESSION, AFFECT), {"missing": True, "far": 60.0}, id="expression-va-far"),
    pytest.param((AFFECT,), {"range_weight": 0.3, "gamma": 1.4, "far": 60.0}, id="va-far"),
    pytest.param((AFFECT,), {"range_weight": 0.0, "far": 60.0}, id="va-far-as-the-paper"),
    pytest.param(CLASSES[:2], {"missing": True, "label_input": "softmax"}, id="two-softmax-missing"),
]


def without_some(batch: Batch) -> Batch:
    """Each set lacks labels on samples of its own; what stands in their place must not matter."""
    masks = {name: (torch.arange(ROWS) + number) % 3 > 0 for number, name in enumerate(batch.labels)}
    return dataclasses.replace(batch, masks=masks)


@pytest.mark.parametrize(("sets", "settings"), GAMES)
def test_proposed_plays_the_literal_game(
    sets: tuple[LabelSetSpec, ...], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three updates in float64: the first warms up alone, so the generator's two Adam states differ in age."""
    rate, start = 2e-3, 1
    settings = dict(settings)
    missing, far = settings.pop("missing", False), settings.pop("far", 1.0)
    # the package's own unit_images rounds to float32, and the literal game must see the same pictures
    monkeypatch.setattr(proposed, "unit_images", lambda images: images.double() / 127.5 - 1)
    torch.set_default_dtype(torch.float64)
    try:
        method = build_proposed(sets, learning_rate=rate, start_epoch=start, **settings)
        for network in method.networks.values():
            network.double()
        with torch.no_grad():
            method.encoder.labels.weight.mul_(far)  # values beyond [-1, 1]
        seen, game = watch(method, monkeypatch), LiteralGame(method, sets)
        noises = []
        for epoch in range(3):
            method.start_epoch(epoch)
            batch = make_batch(sets, seed=epoch)
            batch = without_some(batch) if missing else batch
            told = method.update(batch)
            expected = game.iterate(batch, seen, adversarial=epoch >= start)
            for name in ("loss", "adversarial_generator", "adversarial_discriminator"):
                assert (name in told) is (name in expected)
                if name in told:
                    assert told[name].item() == pytest.approx(expected[name].item(), rel=1e-9, abs=1e-12)
            for name, network in method.networks.items():
                compare_slopes(name, network, expected.get(name))
                compare_numbers(name, network, getattr(game, name))
            if epoch >= start:
                noises += [seen.encoder_noise, seen.decoder_noise]
    finally:
        torch.set_default_dtype(torch.float32)
    check_noises(noises)
    clipped = torch.cat(game.clipped)
    assert far == 1 or game.beyond > 0.01
    assert clipped.any()  # or the hinge was never a hinge
    assert not clipped.all()


def compare_slopes(name: str, network: nn.Module, expected: dict[str, Tensor] | None) -> None:
    for key, parameter in network.named_parameters():
        if expected is None or key not in expected:
            assert parameter.grad is None, f"{name}.{key}"
            continue
        torch.testing.assert_close(
            parameter.grad, expected[key], rtol=1e-6, atol=1e-10, msg=lambda text, key=key: f"{name}.{key}: {text}"
        )
        # not biases: one in front of batch norm has no influence, nor one that both of a hinge's sides feel alike
        assert key.endswith(".bias") or expected[key].abs().max() > 1e-10, (
            f"{name}.{key}: a gradient of 0 checks nothing"
        )


def compare_numbers(name: str, network: nn.Module, expected: dict[str, Tensor]) -> None:
    """Parameters after Adam, power iterations' u and v, and running statistics."""
    state = network.state_dict()
    assert state.keys() == expected.keys()
    for key, tensor in state.items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(
                tensor, expected[key].detach(), rtol=1e-7, atol=1e-9, msg=lambda text, key=key: f"{name}.{key}: {text}"
            )


def check_noises(noises: list[Tensor]) -> None:
    """Each ε and ỹ0 is new and standard normal."""
    assert len(noises) == 4
    for index, noise in enumerate(noises):
        assert noise.shape == (ROWS, LATENT)
        assert all(not torch.equal(noise, other) for other in noises[:index])
        assert noise.mean().abs() < 5 / (ROWS * LATENT) ** 0.5
        assert noise.std().item() == pytest.approx(1, abs=5 / (2 * ROWS * LATENT) ** 0.5)


def test_proposed_in_float32_tells_the_literal_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = (*CLASSES[:2], AFFECT)
    method = build_proposed(sets, gamma=0.7)
    seen, game = watch(method, monkeypatch), LiteralGame(method, sets)
    batch = make_batch(sets)
    told, expected = method.update(batch), game.iterate(batch, seen)
    for name in ("loss", "adversarial_generator", "adversarial_discriminator"):
        assert told[name].item() == pytest.approx(expected[name].item(), rel=1e-3, abs=1e-4)


def test_a_set_without_a_label_in_the_batch_adds_nothing_to_the_prediction_loss() -> None:
    """1 − CCC of no label would be 1."""
    method, batch = build_proposed((EXPRESSION, AFFECT), start_epoch=1), make_batch((EXPRESSION, AFFECT))
    method.start_epoch(0)
    batch.masks[AFFECT.name].fill_(False)
    told = method.update(batch)
    assert told["loss"] == told["cross_entropy"] > 0
    assert told["similarity"] == 0
