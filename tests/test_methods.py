"""Every registered method on tiny data, and `proposed` against a literal re-enactment of its game."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable
from typing import Any

import oracles
import pytest
import torch
from noisyfer.core.errors import UserError
from noisyfer.models.methods import METHODS, Batch, LabelSetSpec, Method, Problem, proposed
from noisyfer.models.methods.base import unit_images
from noisyfer.models.methods.proposed import Proposed, ProposedConfig
from torch import Tensor, nn

CPU = torch.device("cpu")
SIZE = 32
WIDTH = 1 / 16
ROWS = 8
LATENT = 100

CLASSES = tuple(LabelSetSpec(f"class_flip{rate}", "class", 10) for rate in (20, 30, 40))
EXPRESSION = LabelSetSpec("expression_raf", "expression", 7)
AFFECT = LabelSetSpec("va_affectnet", "va", 2, continuous=True)

KINDS: dict[str, tuple[LabelSetSpec, ...]] = {
    "one": CLASSES[:1],
    "two": CLASSES[:2],
    "three": CLASSES,
    "expression-va": (EXPRESSION, AFFECT),
    "va": (AFFECT,),
}


def kinds_of(name: str) -> list[str]:
    """The label sets that a method declares it can use."""
    uses = METHODS[name].uses
    kinds = ["one"]
    if uses.labels == "chosen" and uses.several:
        kinds += ["two", "three"]
    if uses.continuous:
        kinds += ["va", *(["expression-va"] if uses.several else [])]
    return kinds


EVERY = [pytest.param(name, KINDS[kind], id=f"{name}-{kind}") for name in METHODS for kind in kinds_of(name)]
ONE_EACH = [pytest.param(name, KINDS[kinds_of(name)[-1]], id=name) for name in METHODS]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)


def make_batch(sets: tuple[LabelSetSpec, ...], rows: int = ROWS, seed: int = 1) -> Batch:
    source = torch.Generator().manual_seed(seed)
    labels = {
        label_set.name: torch.rand(rows, 2, generator=source) * 2 - 1
        if label_set.continuous
        else torch.randint(label_set.width, (rows,), generator=source)
        for label_set in sets
    }
    images = torch.randint(256, (rows, 3, SIZE, SIZE), generator=source, dtype=torch.uint8)
    masks = {label_set.name: torch.ones(rows, dtype=torch.bool) for label_set in sets}
    return Batch(images, labels, masks, torch.arange(rows))


def build(name: str, sets: tuple[LabelSetSpec, ...], seed: int = 3, **settings: Any) -> Method:
    method = METHODS[name]
    values = {"width": WIDTH, "hidden": 16, "learning_rate": 1e-3} | settings
    torch.manual_seed(seed)
    return method(Problem(SIZE, sets, samples=64), method.config_class(**values), CPU)


def build_proposed(sets: tuple[LabelSetSpec, ...], seed: int = 3, **settings: Any) -> Proposed:
    """Without dropout, with attention on (its gain starts at 0), and with some scores beyond the hinges' corners."""
    method = build("proposed", sets, seed, **settings)
    assert isinstance(method, Proposed)
    for module in method.encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        method.discriminator.image.blocks[1].gain.fill_(0.4)
        biases = [value for name, value in method.discriminator.named_parameters() if name.endswith("score.bias")]
        for bias, shift in zip(biases, torch.linspace(-1.1, 1.1, len(biases)).tolist(), strict=True):
            bias.add_(shift)
    return method


def parameters(*networks: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for network in networks for parameter in network.parameters()]


def slopes(*networks: nn.Module) -> list[Tensor | None]:
    found = [parameter.grad for network in networks for parameter in network.parameters()]
    return [None if slope is None else slope.clone() for slope in found]


def same(first: list[Any], second: list[Any]) -> bool:
    return all(
        (one is None and other is None) or (one is not None and other is not None and torch.equal(one, other))
        for one, other in zip(first, second, strict=True)
    )


def flat(state: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf of a nested state by its path."""
    if isinstance(state, dict):
        return {path: leaf for key, value in state.items() for path, leaf in flat(value, f"{prefix}/{key}").items()}
    if isinstance(state, (list, tuple)):
        return flat(dict(enumerate(state)), prefix)
    return {prefix: state.clone() if isinstance(state, Tensor) else state}


def equal_states(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) if isinstance(first[key], Tensor) else first[key] == second[key]
        for key in first
    )


# -------------------------------------------------------------------------------------------------- every registered


def test_the_four_methods_of_the_issue_are_registered() -> None:
    assert {"vgg-clean", "vgg-majority", "vgg-all", "proposed"} <= set(METHODS)
    assert METHODS["vgg-clean"].uses.labels == "truth"
    assert METHODS["vgg-majority"].uses.labels == "majority"
    assert METHODS["vgg-all"].uses.labels == METHODS["proposed"].uses.labels == "chosen"
    assert METHODS["proposed"].uses.continuous
    assert [kind for kind in KINDS if kind not in kinds_of("proposed")] == []


@pytest.mark.parametrize(("name", "sets"), EVERY)
def test_update_returns_finite_detached_scalars_and_trains(name: str, sets: tuple[LabelSetSpec, ...]) -> None:
    method = build(name, sets)
    method.start_epoch(0)
    before = {key: parameters(network) for key, network in method.networks.items()}
    for step in range(2):
        scalars = method.update(make_batch(sets, seed=step))
        assert "loss" in scalars
        for key, value in scalars.items():
            assert value.shape == (), key
            assert not value.requires_grad, key
            assert torch.isfinite(value), key
    assert method.networks
    assert all(not same(before[key], parameters(network)) for key, network in method.networks.items())


@pytest.mark.parametrize(("name", "sets"), EVERY)
def test_predict_gives_probabilities_a_task(name: str, sets: tuple[LabelSetSpec, ...]) -> None:
    method = build(name, sets)
    images = make_batch(sets, rows=16).images
    method.update(make_batch(sets))
    predicted = method.predict(images)
    assert set(predicted) == {label_set.task for label_set in sets}
    for label_set in sets:
        values = predicted[label_set.task]
        assert values.shape == (16, label_set.width)
        assert torch.isfinite(values).all()
        if not label_set.continuous:
            assert values.min() >= 0
            torch.testing.assert_close(values.sum(dim=1), torch.ones(16), rtol=0, atol=1e-6)
    again = method.predict(images)
    assert all(torch.equal(predicted[task], again[task]) for task in predicted)  # no dropout
    # a sample's prediction does not hang on its batch
    alone = method.predict(images[3:4])
    assert all(torch.allclose(predicted[task][3:4], alone[task], atol=1e-5) for task in predicted)

    both = method.predict_with_sets(images)
    assert all(torch.equal(both[0][task], predicted[task]) for task in predicted)
    by_set = method.predict_sets(images)
    assert by_set.keys() == both[1].keys()
    assert set(by_set) <= {label_set.name for label_set in sets}
    assert all(torch.equal(by_set[key], both[1][key]) for key in by_set)


@pytest.mark.parametrize(("name", "sets"), EVERY)
def test_a_saved_state_goes_on_bit_for_bit(name: str, sets: tuple[LabelSetSpec, ...]) -> None:
    method = build(name, sets)
    method.start_epoch(0)
    for step in range(2):
        method.update(make_batch(sets, seed=step))
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    fresh = build(name, sets, seed=99)
    assert not equal_states(flat(method.state_dict()), flat(fresh.state_dict()))
    fresh.load_state_dict(torch.load(file, weights_only=True))
    fresh.start_epoch(1)
    method.start_epoch(1)
    assert equal_states(flat(method.state_dict()), flat(fresh.state_dict()))

    told: list[list[dict[str, Tensor]]] = []
    for going in (method, fresh):
        torch.manual_seed(11)
        told.append([going.update(make_batch(sets, seed=step)) for step in (5, 6, 7)])
    for one, other in zip(*told, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert equal_states(flat(method.state_dict()), flat(fresh.state_dict()))


@pytest.mark.parametrize(("name", "sets"), ONE_EACH)
def test_looking_at_predictions_changes_nothing(name: str, sets: tuple[LabelSetSpec, ...]) -> None:
    states = []
    for looks in (False, True):
        method = build(name, sets)
        torch.manual_seed(11)
        for step in range(2):
            method.update(make_batch(sets, seed=step))
            before = flat(method.state_dict())
            if looks:
                method.predict(make_batch(sets, rows=5).images)
                method.predict_sets(make_batch(sets, rows=5).images)
                if isinstance(method, Proposed):
                    method.synthesise(2, torch.Generator().manual_seed(0))
            assert equal_states(before, flat(method.state_dict()))
        states.append(flat(method.state_dict()))
    assert equal_states(*states)


def test_an_unknown_method_is_answered_with_all_names_and_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        METHODS["vgg-cleen"]
    message = str(caught.value)
    assert "'vgg-cleen'" in message
    assert "Did you mean 'vgg-clean'?" in message
    assert all(name in message for name in METHODS)


def test_a_name_is_registered_once() -> None:
    held = METHODS["vgg-all"]
    with pytest.raises(ValueError, match="'vgg-all' is registered twice"):
        METHODS.register("vgg-all")(Proposed)
    assert METHODS["vgg-all"] is held


def test_images_become_minus_one_to_one() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(2, 3, 1, 1)
    kept = images.clone()
    units = unit_images(images)
    assert units.dtype == torch.float32
    expected = torch.tensor([2 * value / 255 - 1 for value in range(256)]).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    torch.testing.assert_close(units, expected, rtol=0, atol=1e-6)
    assert units.min() == -1
    assert units.max() == 1
    assert torch.equal(images, kept)


# --------------------------------------------------------------------------------------------------------------- vgg

VGG = [param for param in EVERY if param.values[0] in ("vgg-clean", "vgg-majority", "vgg-all")]


@pytest.mark.parametrize(("name", "sets"), VGG)
def test_vgg_learns_a_fixed_batch(name: str, sets: tuple[LabelSetSpec, ...]) -> None:
    method = build(name, sets, hidden=128, learning_rate=3e-3)
    batch = make_batch(sets)
    labels = torch.arange(ROWS) % 4
    for image, label in zip(batch.images, labels, strict=True):
        for channel in range(3):
            if (label + 1) >> channel & 1:  # each class in its colour, on noise
                image[channel] = 255
    batch = dataclasses.replace(batch, labels={label_set.name: labels for label_set in sets})

    def measured() -> float:
        predicted = method.predict(batch.images)["class"]
        return -predicted[torch.arange(ROWS), labels].log().mean().item()

    before = measured()
    for _ in range(80):
        told = method.update(batch)
    # below ln 4, all that the frequencies of the labels give away
    assert measured() < 0.9 * math.log(4) < math.log(4) < before
    assert torch.equal(told["loss"], told["cross_entropy"])


def test_vgg_takes_adams_steps_on_the_mean_of_the_cross_entropies() -> None:
    sets = CLASSES
    method = build("vgg-all", sets, learning_rate=1e-2)
    network = method.networks["classifier"]
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    weights, adam = oracles.leaves(network.state_dict()), oracles.Adam(1e-2)
    masks = {
        CLASSES[0].name: torch.arange(ROWS) != 2,
        CLASSES[1].name: torch.zeros(ROWS, dtype=torch.bool),  # a set without a label in this batch is left out
        CLASSES[2].name: torch.arange(ROWS) < 3,
    }
    for step in range(2):
        batch = dataclasses.replace(make_batch(sets, seed=step), masks=masks)
        loss = method.update(batch)["loss"]
        logits = oracles.classifier(weights, batch.images.double() / 127.5 - 1)
        losses = [
            oracles.cross_entropy(logits, batch.labels[one.name].tolist(), masks[one.name].tolist()) for one in sets
        ]
        expected = (losses[0] + losses[2]) / 2
        assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
        gradients = oracles.gradients(expected, weights)
        for name, parameter in network.named_parameters():
            size = gradients[name].abs().max().item()
            assert size > 0
            torch.testing.assert_close(parameter.grad.double(), gradients[name], rtol=1e-2, atol=1e-3 * size)
        weights = adam.step(weights, gradients)
    with torch.no_grad():
        wanted = oracles.softmax(oracles.classifier(weights, batch.images.double() / 127.5 - 1))
    torch.testing.assert_close(method.predict(batch.images)["class"].double(), wanted, rtol=0, atol=5e-3)


# ----------------------------------------------------------------------------------- proposed: the game, literally


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
    """`proposed` as the issue words it: separate calls of D for the encoder's and the decoder's side, nothing shared.

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
        self.discriminator_adam = oracles.Adam(rate)
        weights = self.config
        self.clipped: list[Tensor] = []
        self.score_weights = torch.tensor(
            [weights.weight_image, weights.weight_latent]
            + [weights.weight_labels for _ in sets]
            + [weights.weight_joint],
            dtype=torch.float64,
        )

    def scores(self, images: Tensor, latent: Tensor, labels: list[Tensor]) -> Tensor:
        return oracles.discriminator(self.discriminator, images, latent, labels) * self.score_weights

    def prediction_loss(self, outputs: list[Tensor], batch: Batch) -> Tensor:
        """Σ_sets CE + γ·L_sim."""
        total = torch.zeros((), dtype=torch.float64)
        for output, label_set in zip(outputs, self.sets, strict=True):
            labels, mask = batch.labels[label_set.name], batch.masks[label_set.name].tolist()
            if label_set.continuous:
                total = total + self.config.gamma * oracles.similarity(output, labels.double(), mask)
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
        given = [
            batch.labels[one.name].double()
            if one.continuous
            else oracles.one_hot(batch.labels[one.name].tolist(), one.width)
            for one in self.sets
        ]
        self.decoder = oracles.power_iteration(self.decoder, transposed=True)
        drawn, running = oracles.decoder(self.decoder, seen.decoder_noise, given, training=True)
        self.decoder.update(running)
        shown = [
            output if one.continuous or self.config.label_input == "raw" else oracles.softmax(output)
            for output, one in zip(outputs, self.sets, strict=True)
        ]
        for _ in range(self.config.discriminator_updates):
            self.discriminator = oracles.power_iteration(self.discriminator)
            s_enc = self.scores(images, latent.detach(), [label.detach() for label in shown])
            s_dec = self.scores(drawn.detach(), seen.decoder_noise, given)
            loss_d = oracles.discriminator_loss(s_enc, s_dec)
            self.clipped += [s_enc > 1, s_dec < -1]
            slopes_d = oracles.gradients(loss_d, self.discriminator)
            self.discriminator = self.discriminator_adam.step(self.discriminator, slopes_d)
        self.discriminator = oracles.power_iteration(self.discriminator)
        s_enc = self.scores(images, latent, shown)
        s_dec = self.scores(drawn, seen.decoder_noise, given)
        joint = oracles.generator_loss(s_enc, s_dec)
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
    pytest.param((AFFECT,), {"discriminator_updates": 1}, id="va-one-update"),
]


@pytest.mark.parametrize(("sets", "settings"), GAMES)
def test_proposed_plays_the_literal_game(
    sets: tuple[LabelSetSpec, ...], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three updates in float64: the first warms up alone, so the generator's two Adam states differ in age."""
    rate, start = 2e-3, 1
    # the package's own unit_images rounds to float32, and the literal game must see the same pictures
    monkeypatch.setattr(proposed, "unit_images", lambda images: images.double() / 127.5 - 1)
    torch.set_default_dtype(torch.float64)
    try:
        method = build_proposed(sets, learning_rate=rate, start_epoch=start, **settings)
        for network in method.networks.values():
            network.double()
        seen, game = watch(method, monkeypatch), LiteralGame(method, sets)
        noises = []
        for epoch in range(3):
            method.start_epoch(epoch)
            batch = make_batch(sets, seed=epoch)
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


# ---------------------------------------------------------------------------------- proposed: who moves, and when


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
    for _, _, before in referee.moves[3:5]:
        assert same(
            before["encoder"] + before["decoder"], referee.moves[2][2]["encoder"] + referee.moves[2][2]["decoder"]
        )


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


# ------------------------------------------------------------------------------------------- proposed: what D sees


@pytest.mark.parametrize("label_input", ["raw", "softmax"])
def test_d_sees_the_encoders_outputs_as_asked_and_exact_labels_of_the_decoder(label_input: str) -> None:
    sets = (*CLASSES[:2], AFFECT)
    method = build_proposed(sets, label_input=label_input)
    batch = make_batch(sets)
    encodings: list[Any] = []
    shown: list[Any] = []
    drawn: list[tuple[Any, Tensor]] = []
    method.encoder.register_forward_hook(lambda _, __, output: encodings.append(output))
    method.discriminator.register_forward_pre_hook(lambda _, inputs: shown.append(inputs))
    method.decoder.register_forward_hook(lambda _, inputs, output: drawn.append((inputs, output)))
    method.update(batch)
    assert len(encodings) == len(drawn) == 1
    assert len(shown) == 3
    (noise, given), pictures = drawn[0]
    for images, latent, labels in shown:
        assert len(images) == len(latent) == 2 * ROWS
        torch.testing.assert_close(images[:ROWS], batch.images.float() / 127.5 - 1, rtol=0, atol=1e-6)
        assert torch.equal(images[ROWS:], pictures)
        assert torch.equal(latent[ROWS:], noise)
        for label, output, label_set, handed in zip(labels, encodings[0].outputs, sets, given, strict=True):
            truth = batch.labels[label_set.name]
            exact = truth if label_set.continuous else oracles.one_hot(truth.tolist(), label_set.width).float()
            assert torch.equal(handed, exact)
            assert torch.equal(label[ROWS:], exact)
            raw = label_set.continuous or label_input == "raw"
            wanted = output if raw else oracles.softmax(output)
            torch.testing.assert_close(label[:ROWS], wanted, rtol=1e-5, atol=1e-6)
            if not label_set.continuous:
                sums = label[:ROWS].sum(dim=1)
                assert torch.allclose(sums, torch.ones(ROWS), atol=1e-5) is not raw


def test_the_default_hands_d_raw_outputs() -> None:
    defaults = ProposedConfig()
    assert (defaults.label_input, defaults.lambda_, defaults.gamma) == ("raw", 0.8, 1.0)
    assert (defaults.discriminator_updates, defaults.start_epoch, defaults.learning_rate) == (2, 0, 1e-4)
    assert (defaults.width, defaults.hidden) == (1.0, 512)
    weights = (defaults.weight_image, defaults.weight_latent, defaults.weight_labels, defaults.weight_joint)
    assert weights == (1.0, 1.0, 1.0, 1.0)
    method = build("proposed", CLASSES[:1])
    for optimizer in method.optimizers.values():
        assert all(group["betas"] == (0.9, 0.999) for group in optimizer.param_groups)


def test_prediction_is_the_mean_of_the_heads_softmaxes() -> None:
    sets = (*CLASSES[:2], EXPRESSION, AFFECT, dataclasses.replace(AFFECT, name="va_human"))
    method = build_proposed(sets)
    images = make_batch(sets).images
    method.encoder.eval()
    with torch.no_grad():
        outputs = method.encoder(unit_images(images)).outputs
    method.encoder.train()
    predicted, heads = method.predict(images), method.predict_sets(images)
    assert list(heads) == [label_set.name for label_set in sets]
    for label_set, output in zip(sets, outputs, strict=True):
        wanted = output if label_set.continuous else oracles.softmax(output)
        torch.testing.assert_close(heads[label_set.name], wanted)
    assert set(predicted) == {"class", "expression", "va"}
    torch.testing.assert_close(predicted["class"], (heads[sets[0].name] + heads[sets[1].name]) / 2)
    torch.testing.assert_close(predicted["expression"], heads[sets[2].name])
    torch.testing.assert_close(predicted["va"], (heads[sets[3].name] + heads[sets[4].name]) / 2)


# ------------------------------------------------------------------------------------------ proposed: score weights


def scramble_joint(method: Proposed) -> None:
    source = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.discriminator.joint.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=source) * 0.3)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_joint_weight_of_zero_takes_the_joint_scores_influence_away(weight: float) -> None:
    found = []
    for scrambled in (False, True):
        method = build_proposed(CLASSES[:2], weight_joint=weight)
        if scrambled:
            scramble_joint(method)
        torch.manual_seed(1)
        method.update(make_batch(CLASSES[:2]))
        joint = [parameter.grad for parameter in method.discriminator.joint.parameters()]
        others = [
            parameter.grad
            for name, parameter in method.discriminator.named_parameters()
            if not name.startswith("joint.")
        ]
        assert any(slope.any() for slope in joint) is (weight > 0)
        assert any(slope.any() for slope in others)
        found.append([*slopes(method.encoder, method.decoder), *others])
    assert same(*found) is (weight == 0)


@pytest.mark.parametrize(
    ("name", "stream"),
    [("weight_image", "image.score"), ("weight_latent", "latent.score"), ("weight_joint", "joint.score")]
    + [("weight_labels", f"labels.{index}.score") for index in (0, 1)],
)
def test_each_weight_silences_its_own_score(name: str, stream: str) -> None:
    method = build_proposed(CLASSES[:2], **{name: 0.0})
    method.update(make_batch(CLASSES[:2]))
    scores = {key: value for key, value in method.discriminator.named_parameters() if ".score." in key}
    streams = {"image.score", "latent.score", "labels.0.score", "labels.1.score", "joint.score"}
    family = {"labels.0.score", "labels.1.score"} if name == "weight_labels" else {stream}
    for other in streams:
        moved = any(value.grad.any() for key, value in scores.items() if key.startswith(other))
        assert moved is (other not in family)


# ---------------------------------------------------------------------------------------------- proposed: synthesis


def test_synthesis_has_a_column_a_class_and_a_latent_vector_a_row() -> None:
    sets = (AFFECT, *CLASSES[:2], EXPRESSION)
    method = build_proposed(sets)
    method.update(make_batch(sets))
    given: list[Any] = []
    handle = method.decoder.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    drawn = method.synthesise(3, torch.Generator().manual_seed(4))
    handle.remove()
    assert drawn is not None
    assert drawn.task == "class"
    assert drawn.images.shape == (3, 10, 3, SIZE, SIZE)
    assert drawn.images.abs().max() <= 1
    assert drawn.images.std() > 0

    ((latent, labels),) = given
    latent = latent.reshape(3, 10, LATENT)
    assert torch.equal(latent, latent[:, :1].expand(3, 10, LATENT))
    assert not torch.equal(latent[0], latent[1])
    columns = torch.eye(10).repeat(3, 1)
    assert torch.equal(labels[1], columns)
    assert torch.equal(labels[2], columns)
    assert torch.equal(labels[0], torch.zeros(30, 2))
    assert labels[3].shape == (30, 7)
    # a picture does not hang on its neighbours: batch norm's running statistics
    with torch.no_grad():
        alone = method.decoder.eval()(latent[1, 4:5], tuple(label[14:15] for label in labels))
    torch.testing.assert_close(drawn.images[1, 4:5], alone, rtol=0, atol=1e-5)
    # the class shows
    assert not torch.allclose(drawn.images[0, 0], drawn.images[0, 1], atol=1e-6)


def test_synthesis_follows_its_generator_and_nothing_else() -> None:
    method = build_proposed(CLASSES[:2])
    images = []
    for seed, noise in ((4, 0), (4, 1), (5, 0)):
        torch.manual_seed(noise)
        drawn = method.synthesise(2, torch.Generator().manual_seed(seed))
        assert drawn is not None
        images.append(drawn.images)
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_without_a_categorical_set_there_is_nothing_to_synthesise() -> None:
    assert build_proposed((AFFECT,)).synthesise(2, torch.Generator()) is None
