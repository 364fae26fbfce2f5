"""Encoder, classifier, decoder and discriminator equal their literal references, and start as described."""

from __future__ import annotations

import math

import oracles
import pytest
import torch
from network_checks import CASES, LATENT, WIDTH, close, compare, draw, unsettle
from noisyfer.models.networks import Classifier, Decoder, Discriminator, Encoder, VGGTrunk
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("seeded")


# ---------------------------------------------------------------------------------------------------------- encoder


@pytest.mark.parametrize(("size", "widths"), CASES)
def test_encoder_is_the_literal_one(size: int, widths: tuple[int, ...]) -> None:
    network = unsettle(Encoder(VGGTrunk(size, WIDTH), widths)).eval()
    weights = oracles.leaves(network.state_dict())
    noise = torch.randn(2, LATENT, dtype=torch.float64)

    def forward(inputs: list[Tensor]) -> Tensor:
        encoding = network(inputs[0])
        assert [output.shape for output in encoding.outputs] == [(2, width) for width in widths]
        return torch.cat([encoding.mean, encoding.log_variance, *encoding.outputs, encoding.sample(noise)], dim=1)

    def reference(inputs: list[Tensor]) -> Tensor:
        mean, log_variance, outputs = oracles.encoder(weights, inputs[0], widths)
        return torch.cat([mean, log_variance, *outputs, oracles.latent(mean, log_variance, noise)], dim=1)

    compare(network, weights, forward, reference, [draw(2, 3, size, size)])


def test_classifier_is_the_literal_one() -> None:
    network = unsettle(Classifier(VGGTrunk(32, WIDTH), 10)).eval()
    weights = oracles.leaves(network.state_dict())
    compare(
        network,
        weights,
        lambda inputs: network(inputs[0]),
        lambda inputs: oracles.classifier(weights, inputs[0]),
        [draw(3, 3, 32, 32)],
    )


def test_latent_is_sampled_with_the_standard_deviation() -> None:
    encoding = Encoder(VGGTrunk(32, WIDTH), (10,)).eval()(torch.zeros(1, 3, 32, 32))
    mean, log_variance = torch.full((1, LATENT), 3.0), torch.full((1, LATENT), math.log(4.0))
    sample = type(encoding)(mean, log_variance, ()).sample(torch.full((1, LATENT), -1.5))
    torch.testing.assert_close(sample, torch.full((1, LATENT), 3.0 - 2.0 * 1.5))


def test_dropout_drops_half_in_training_and_nothing_in_eval() -> None:
    encoder = Encoder(VGGTrunk(32, 1.0, 4000), (10,))
    dropouts = [module for module in encoder.modules() if isinstance(module, nn.Dropout)]
    assert len(dropouts) == 2
    seen: list[tuple[Tensor, Tensor]] = []
    for module in dropouts:
        module.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].detach(), output.detach())))
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        first, second = encoder.train()(images).mean, encoder(images).mean
        assert not torch.equal(first, second)
        for before, after in seen:
            active = before > 0
            kept = after[active] != 0
            assert kept.double().mean().item() == pytest.approx(0.5, abs=0.05)
            torch.testing.assert_close(after[active][kept], 2 * before[active][kept])
        seen.clear()
        assert torch.equal(encoder.eval()(images).mean, encoder(images).mean)
        assert len(seen) == 4
        assert all(torch.equal(before, after) for before, after in seen)


def test_encoder_starts_as_described() -> None:
    encoder = Encoder(VGGTrunk(64, 0.5, 500), (7, 2))
    convolutions = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    assert [module.out_channels for module in convolutions] == [32] * 2 + [64] * 2 + [128] * 3 + [256] * 6
    for module in convolutions:
        expected = math.sqrt(2 / (9 * module.out_channels))
        spread = 5 / math.sqrt(2 * module.weight.numel())  # five standard errors of a measured deviation
        assert module.weight.std().item() == pytest.approx(expected, rel=spread)
        assert abs(module.weight.mean().item()) < 5 * expected / math.sqrt(module.weight.numel())
        assert module.weight.abs().max() > 2.5 * expected  # normal, not uniform
        assert torch.equal(module.bias, torch.zeros_like(module.bias))
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            check_default_start(module, module.weight, module.in_features)


@pytest.mark.parametrize("build", [Decoder, Discriminator])
def test_adversaries_start_as_pytorch_does(build: type[nn.Module]) -> None:
    checked = 0
    for module in build(32, (10, 2), 0.25).modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            weight = module.parametrizations.weight.original
            check_default_start(module, weight, weight.shape[1] * weight[0, 0].numel())  # PyTorch's own fan-in
            checked += 1
    assert checked == (1 + 5 if build is Decoder else 5 * 3 + 2 + 4 + 1 + 4 * (1 + 2 * 4 + 1))


def check_default_start(module: nn.Module, weight: Tensor, fan_in: int) -> None:
    bound = 1 / math.sqrt(fan_in)
    for values in (weight, module.bias):
        if values is not None:
            assert values.abs().max() <= bound
            if values.numel() >= 1000:
                assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
            if values.numel() > 1:
                assert values.std() > 0


# ---------------------------------------------------------------------------------------------------------- decoder


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize(("size", "widths"), CASES)
def test_decoder_is_the_literal_one(size: int, widths: tuple[int, ...], training: bool) -> None:
    network = unsettle(Decoder(size, widths, WIDTH)).train(training)
    weights = oracles.leaves(network.state_dict())
    if training:
        weights = oracles.power_iteration(weights, transposed=True)
    running: dict[str, Tensor] = {}

    def reference(inputs: list[Tensor]) -> Tensor:
        nonlocal running
        images, running = oracles.decoder(weights, inputs[0], inputs[1:], training=training)
        return images

    # a bias in front of batch norm is subtracted with the batch's mean
    silent = tuple(f"upsampling.{index}.bias" for index in range(0, 3 * 6, 3)) if training else ()
    last = f"upsampling.{3 * {32: 4, 64: 5, 128: 6}[size]}.bias"
    silent = tuple(name for name in silent if name != last)
    inputs = [draw(3, LATENT), *[draw(3, width) for width in widths]]
    compare(network, weights, lambda given: network(given[0], tuple(given[1:])), reference, inputs, silent)
    state = network.state_dict()
    assert bool(running) is training
    for name, expected in running.items():
        close(state[name], expected)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_decoder_draws_images_of_the_size_between_minus_one_and_one(size: int) -> None:
    decoder = Decoder(size, (7, 2), WIDTH)
    latent, labels = torch.randn(2, LATENT), (torch.eye(7)[:2], torch.rand(2, 2))
    for images in (decoder(latent, labels), decoder.eval()(1e4 * latent, labels)):
        assert images.shape == (2, 3, size, size)
        assert images.abs().max() <= 1
    assert images.abs().max() > 0.5


# ---------------------------------------------------------------------------------------------------- discriminator


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize(("size", "widths"), CASES)
def test_discriminator_is_the_literal_one(size: int, widths: tuple[int, ...], training: bool) -> None:
    network = unsettle(Discriminator(size, widths, WIDTH)).train(training)
    weights = oracles.leaves(network.state_dict())
    if training:
        weights = oracles.power_iteration(weights)
    inputs = [draw(2, 3, size, size), draw(2, LATENT), *[draw(2, width) for width in widths]]

    def forward(given: list[Tensor]) -> Tensor:
        scores = network(given[0], given[1], tuple(given[2:]))
        assert scores.shape == (2, len(widths) + 3)
        return scores

    compare(
        network,
        weights,
        forward,
        lambda given: oracles.discriminator(weights, given[0], given[1], given[2:]),
        inputs,
    )


def test_each_score_sees_its_own_stream_and_the_last_one_sees_all() -> None:
    network = unsettle(Discriminator(32, (5, 2), WIDTH)).eval()
    inputs = [draw(2, 3, 32, 32), draw(2, LATENT), draw(2, 5), draw(2, 2)]
    with torch.no_grad():
        before = network(inputs[0], inputs[1], tuple(inputs[2:]))
        for index in range(4):
            moved = [tensor + 1 if place == index else tensor for place, tensor in enumerate(inputs)]
            changed = (network(moved[0], moved[1], tuple(moved[2:])) != before).any(dim=0)
            assert changed.tolist() == [place in (index, 4) for place in range(5)]


def test_discriminator_refuses_a_wrong_number_of_label_sets() -> None:
    with pytest.raises(ValueError, match="zip"):
        Discriminator(32, (5, 2), WIDTH)(torch.zeros(1, 3, 32, 32), torch.zeros(1, LATENT), (torch.zeros(1, 5),))
