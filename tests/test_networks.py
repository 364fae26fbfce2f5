"""Encoder, decoder and discriminator against the literal references in `oracles.py`, in float64 at tiny widths."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import oracles
import pytest
import torch
from noisyfer.models.networks import Decoder, Discriminator, Encoder, VGGClassifier
from noisyfer.models.networks.layers import (
    SelfAttention,
    check_image_size,
    conv3x3_then_average,
    normed_conv,
    normed_linear,
    scaled,
)
from torch import Tensor, nn

WIDTH = 1 / 16
LATENT = 100
CASES = [
    pytest.param(32, (10, 10, 10), id="32-three-sets"),
    pytest.param(32, (2,), id="32-va-alone"),
    pytest.param(64, (7, 2), id="64-expression-va"),
    pytest.param(128, (4, 3, 2), id="128-mixed"),
]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(20)


def unsettle(network: nn.Module) -> nn.Module:
    """Float64, and every number that starts at 0 or 1, or converged, moved off it, so that ignoring it shows."""
    network.double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("bias", "gain")):
                parameter.add_(torch.randn_like(parameter) * 0.1 + (0.5 if name.endswith("gain") else 0.0))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
        for name, buffer in network.named_buffers():
            if name.endswith(("_u", "_v")):
                moved = buffer + 0.2 * torch.randn_like(buffer) / math.sqrt(len(buffer))
                buffer.copy_(moved / moved.norm())
    return network


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_(True)


def twins(inputs: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone().requires_grad_(True) for tensor in inputs]


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-10)


def compare(
    network: nn.Module,
    weights: oracles.Weights,
    forward: Callable[[list[Tensor]], Tensor],
    reference: Callable[[list[Tensor]], Tensor],
    inputs: list[Tensor],
    silent: tuple[str, ...] = (),
) -> None:
    """Values, and gradients with respect to every input and parameter, of a random weighing of the outputs.

    Args:
        silent: endings of the parameters whose gradient is zero by construction; no other may be.
    """
    network.zero_grad()
    copies = twins(inputs)
    actual, expected = forward(inputs), reference(copies)
    close(actual, expected)
    weighing = torch.randn_like(actual)
    (actual * weighing).sum().backward()
    value = (expected * weighing).sum()
    gradients = oracles.gradients(value, weights)
    assert sorted(gradients) == sorted(name for name, _ in network.named_parameters())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith(silent or ("nothing",)):
            assert gradients[name].abs().max() > 1e-8, f"{name}: a gradient of 0 checks nothing"
        torch.testing.assert_close(
            parameter.grad, gradients[name], rtol=1e-7, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
    for tensor, copy in zip(inputs, copies, strict=True):
        (slope,) = torch.autograd.grad(value, copy, retain_graph=True)
        assert slope.abs().max() > 1e-8
        close(tensor.grad, slope)


# ---------------------------------------------------------------------------------------------------------- encoder


@pytest.mark.parametrize(("size", "widths"), CASES)
def test_encoder_is_the_literal_one(size: int, widths: tuple[int, ...]) -> None:
    network = unsettle(Encoder(size, widths, WIDTH)).eval()
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
    network = unsettle(VGGClassifier(32, 10, WIDTH)).eval()
    weights = oracles.leaves(network.state_dict())
    compare(
        network,
        weights,
        lambda inputs: network(inputs[0]),
        lambda inputs: oracles.classifier(weights, inputs[0]),
        [draw(3, 3, 32, 32)],
    )


def test_latent_is_sampled_with_the_standard_deviation() -> None:
    encoding = Encoder(32, (10,), WIDTH).eval()(torch.zeros(1, 3, 32, 32))
    mean, log_variance = torch.full((1, LATENT), 3.0), torch.full((1, LATENT), math.log(4.0))
    sample = type(encoding)(mean, log_variance, ()).sample(torch.full((1, LATENT), -1.5))
    torch.testing.assert_close(sample, torch.full((1, LATENT), 3.0 - 2.0 * 1.5))


def test_dropout_drops_half_in_training_and_nothing_in_eval() -> None:
    encoder = Encoder(32, (10,), 1.0, hidden=4000)
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
    encoder = Encoder(64, (7, 2), 0.5, hidden=500)
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


# ----------------------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 5), (1, 1), (7, 3), (16, 16)])
@pytest.mark.parametrize("normalised", [False, True], ids=["plain", "normed"])
def test_fused_convolution_is_convolution_then_average(inputs: int, outputs: int, normalised: bool) -> None:
    layer = normed_conv(inputs, outputs, 3) if normalised else nn.Conv2d(inputs, outputs, 3, padding=1)
    layer = layer.double().eval()
    features = draw(2, inputs, 8, 12)
    (copy,) = twins([features])
    state = oracles.leaves({f"layer.{name}": tensor for name, tensor in layer.state_dict().items()})
    weight = oracles.normed(state, "layer") if normalised else state["layer.weight"]

    actual = conv3x3_then_average(layer, features)
    expected = oracles.average_pool(oracles.convolution(copy, weight, state["layer.bias"]))
    assert actual.shape == (2, outputs, 4, 6)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(actual, nn.functional.avg_pool2d(layer(features), 2), rtol=0, atol=1e-10)

    weighing = torch.randn_like(actual)
    (actual * weighing).sum().backward()
    value = (expected * weighing).sum()
    close(features.grad, torch.autograd.grad(value, copy, retain_graph=True)[0])
    for name, parameter in layer.named_parameters():
        close(parameter.grad, oracles.gradients(value, state)[f"layer.{name}"])


@pytest.mark.parametrize("channels", [5, 24])
def test_attention_is_the_literal_one(channels: int) -> None:
    layer = SelfAttention(channels)
    assert layer.gain.item() == 0
    features = torch.randn(2, channels, 4, 6)
    assert torch.equal(layer(features), features)  # γ starts at 0

    layer = unsettle(layer).eval()
    weights = oracles.leaves({f"a.{name}": tensor for name, tensor in layer.state_dict().items()})
    holder = nn.ModuleDict({"a": layer})
    compare(
        holder,
        weights,
        lambda inputs: layer(inputs[0]),
        lambda inputs: oracles.attention(weights, "a", inputs[0]),
        [draw(2, channels, 4, 6)],
    )


def test_attention_has_an_eighth_for_keys_and_half_for_values_and_no_bias() -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in SelfAttention(64).named_parameters()}
    original = "parametrizations.weight.original"
    assert shapes == {
        "gain": (),
        f"theta.{original}": (8, 64, 1, 1),
        f"phi.{original}": (8, 64, 1, 1),
        f"g.{original}": (32, 64, 1, 1),
        f"output.{original}": (64, 32, 1, 1),
    }


# ---------------------------------------------------------------------------------------------------- spectral norm


def test_a_training_forward_takes_one_power_iteration_and_eval_none() -> None:
    layer = normed_linear(7, 5).double()
    norm = layer.parametrizations.weight[0]
    weight = layer.parametrizations.weight.original.detach()
    with torch.no_grad():
        norm._v.copy_(nn.functional.normalize(torch.randn(7, dtype=torch.float64), dim=0))
        norm._u.copy_(nn.functional.normalize(torch.randn(5, dtype=torch.float64), dim=0))
    old_u, old_v = norm._u.clone(), norm._v.clone()

    layer.eval()
    close(layer.weight, weight / (old_u @ weight @ old_v))
    assert torch.equal(norm._u, old_u)
    assert torch.equal(norm._v, old_v)

    layer.train()
    normed = layer.weight
    u = weight @ old_v / (weight @ old_v).norm()
    v = weight.T @ u / (weight.T @ u).norm()
    close(norm._u, u)
    close(norm._v, v)
    close(normed, weight / (u @ weight @ v))  # σ of the new vectors, not of the old
    slope = torch.randn_like(normed)
    (normed * slope).sum().backward()  # u and v are constants of the gradient
    s = u @ weight @ v
    close(layer.parametrizations.weight.original.grad, slope / s - (slope * weight).sum() / s**2 * torch.outer(u, v))


@pytest.mark.parametrize("kind", ["convolution", "transposed"])
def test_power_iteration_goes_through_the_same_vectors_as_pytorchs_first_spectral_norm(kind: str) -> None:
    # torch.nn.utils.spectral_norm iterates v = Wᵀu, u = Wv; the parametrization u = Wv, v = Wᵀu. Begun on the same
    # chain (v = Wᵀu already), u is the same after each forward and v is the following link.
    if kind == "convolution":
        ours = normed_conv(3, 4, 3).double().train()
        theirs: nn.Module = nn.Conv2d(3, 4, 3, padding=1).double()
        inputs = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    else:
        ours = Decoder(32, (2,), 1 / 128).double().upsampling[0].train()
        theirs = nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1).double()
        inputs = torch.randn(1, 4, 2, 2, dtype=torch.float64)
    original = ours.parametrizations.weight.original
    theirs.load_state_dict({"weight": original.detach(), "bias": ours.bias.detach()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = nn.utils.spectral_norm(theirs).train()
    matrix = oracles.as_matrix(original.detach(), 0 if kind == "convolution" else 1)
    norm = ours.parametrizations.weight[0]
    u = nn.functional.normalize(torch.randn(len(matrix), dtype=torch.float64), dim=0)
    with torch.no_grad():
        theirs.weight_u.copy_(u)
        norm._u.copy_(u)
        norm._v.copy_(nn.functional.normalize(matrix.T @ u, dim=0))
    for _ in range(3):
        output, other = ours(inputs), theirs(inputs)
        close(norm._u, theirs.weight_u)
        close(norm._v, nn.functional.normalize(matrix.T @ norm._u, dim=0))
        ours_sigma, their_sigma = norm._u @ matrix @ norm._v, theirs.weight_u @ matrix @ theirs.weight_v
        bias = ours.bias[None, :, None, None]
        close((output - bias) * ours_sigma, (other - bias) * their_sigma)
        assert ours_sigma >= their_sigma  # half an iteration nearer to the largest singular value


@pytest.mark.parametrize("build", [Decoder, Discriminator])
def test_every_layer_has_spectral_norm_one(build: type[nn.Module]) -> None:
    network = build(64, (7, 2), WIDTH).double()
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            for _ in range(150):
                weight = module.weight
            matrix = oracles.as_matrix(weight, 1 if isinstance(module, nn.ConvTranspose2d) else 0)
            assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=1e-3)


# ------------------------------------------------------------------------------------------- sizes, worked by hand


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


VGG16_CONVOLUTIONS = (
    (64 * 3 * 9 + 64)
    + (64 * 64 * 9 + 64)
    + (128 * 64 * 9 + 128)
    + (128 * 128 * 9 + 128)
    + (256 * 128 * 9 + 256)
    + (256 * 256 * 9 + 256)
    + (256 * 256 * 9 + 256)
    + (512 * 256 * 9 + 512)
    + (512 * 512 * 9 + 512)
    + (512 * 512 * 9 + 512)
    + (512 * 512 * 9 + 512)
    + (512 * 512 * 9 + 512)
    + (512 * 512 * 9 + 512)
)


@pytest.mark.parametrize(
    ("size", "widths", "hidden", "count"),
    [
        pytest.param(
            32,
            (10, 10, 10),
            512,
            VGG16_CONVOLUTIONS
            + (512 * 512 + 512)  # 1×1×512 flat
            + (512 * 512 + 512)
            + 2 * (512 * 100 + 100)  # mean, log-variance
            + (512 * 30 + 30),
            id="32",
        ),
        pytest.param(
            64,
            (7, 2),
            500,
            VGG16_CONVOLUTIONS
            + (2048 * 500 + 500)  # 2×2×512 flat
            + (500 * 500 + 500)
            + 2 * (500 * 100 + 100)
            + (500 * 9 + 9),
            id="64",
        ),
        pytest.param(
            128,
            (7, 2),
            500,
            VGG16_CONVOLUTIONS
            + (8192 * 500 + 500)  # 4×4×512 flat
            + (500 * 500 + 500)
            + 2 * (500 * 100 + 100)
            + (500 * 9 + 9),
            id="128",
        ),
    ],
)
def test_encoder_size(size: int, widths: tuple[int, ...], hidden: int, count: int) -> None:
    assert VGG16_CONVOLUTIONS == 14_714_688  # as everyone counts VGG-16
    assert parameters(Encoder(size, widths, 1.0, hidden)) == count


def test_classifier_size() -> None:
    count = VGG16_CONVOLUTIONS + (512 * 512 + 512) + (512 * 512 + 512) + (512 * 10 + 10)
    assert parameters(VGGClassifier(32, 10)) == count


@pytest.mark.parametrize(
    ("size", "widths", "count"),
    [
        pytest.param(
            32,
            (10, 10, 10),
            ((100 + 30) * 512 + 512)
            + (512 * 512 * 16 + 512 + 2 * 512)  # kernel and bias, then batch norm's scale and shift
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 256 * 16 + 256 + 2 * 256)
            + (256 * 128 * 16 + 128 + 2 * 128)
            + (128 * 3 * 16 + 3),
            id="32",
        ),
        pytest.param(
            64,
            (7, 2),
            ((100 + 9) * 512 + 512)
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 256 * 16 + 256 + 2 * 256)
            + (256 * 128 * 16 + 128 + 2 * 128)
            + (128 * 64 * 16 + 64 + 2 * 64)
            + (64 * 3 * 16 + 3),
            id="64",
        ),
        pytest.param(
            128,
            (7, 2),
            ((100 + 9) * 512 + 512)
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 512 * 16 + 512 + 2 * 512)
            + (512 * 256 * 16 + 256 + 2 * 256)
            + (256 * 128 * 16 + 128 + 2 * 128)
            + (128 * 64 * 16 + 64 + 2 * 64)
            + (64 * 3 * 16 + 3),
            id="128",
        ),
    ],
)
def test_decoder_size(size: int, widths: tuple[int, ...], count: int) -> None:
    assert parameters(Decoder(size, widths)) == count


# the image stream is the same at every size: it pools, and sums over space
IMAGE_STREAM = (
    (64 * 3 * 9 + 64 + 64 * 64 * 9 + 64 + 64 * 3 + 64)  # two 3×3 and the 1×1 shortcut
    + (8 * 64 + 8 * 64 + 32 * 64 + 64 * 32 + 1)  # attention: θ, φ, g, output, γ
    + (128 * 64 * 9 + 128 + 128 * 128 * 9 + 128 + 128 * 64 + 128)
    + (256 * 128 * 9 + 256 + 256 * 256 * 9 + 256 + 256 * 128 + 256)
    + (512 * 256 * 9 + 512 + 512 * 512 * 9 + 512 + 512 * 256 + 512)
    + (512 * 512 * 9 + 512 + 512 * 512 * 9 + 512 + 512 * 512 + 512)  # halves: shortcut though no channel changes
    + (512 * 512 * 9 + 512 + 512 * 512 * 9 + 512)  # does not: no shortcut
    + (512 + 1)  # S_x
)


@pytest.mark.parametrize(
    ("size", "widths", "count"),
    [
        pytest.param(
            32,
            (10, 10, 10),
            IMAGE_STREAM
            + ((100 * 512 + 512) + 4 * 2 * (512 * 512 + 512) + (512 + 1))  # y0
            + 3 * ((10 * 512 + 512) + 4 * 2 * (512 * 512 + 512) + (512 + 1))  # y1, y2, y3
            + ((512 * 5 * 1024 + 1024) + 4 * 2 * (1024 * 1024 + 1024) + (1024 + 1)),  # joint
            id="32",
        ),
        *[
            pytest.param(
                size,
                (7, 2),
                IMAGE_STREAM
                + ((100 * 512 + 512) + 4 * 2 * (512 * 512 + 512) + (512 + 1))
                + ((7 * 512 + 512) + 4 * 2 * (512 * 512 + 512) + (512 + 1))
                + ((2 * 512 + 512) + 4 * 2 * (512 * 512 + 512) + (512 + 1))
                + ((512 * 4 * 1024 + 1024) + 4 * 2 * (1024 * 1024 + 1024) + (1024 + 1)),
                id=str(size),
            )
            for size in (64, 128)
        ],
    ],
)
def test_discriminator_size(size: int, widths: tuple[int, ...], count: int) -> None:
    assert parameters(Discriminator(size, widths)) == count


def test_width_scales_every_channel_count_and_never_below_one() -> None:
    assert [scaled(512, width) for width in (1.0, 0.25, 1 / 16, 2.0, 1e-6)] == [512, 128, 32, 1024, 1]
    half = Encoder(32, (10,), 0.5, hidden=300)
    assert [m.out_channels for m in half.modules() if isinstance(m, nn.Conv2d)][::4] == [32, 128, 256, 256]
    assert half.trunk.features == 300  # the hidden layers have a size of their own
    assert half.mean.out_features == half.log_variance.out_features == LATENT
    assert half.labels.out_features == 10
    channels = [m.out_channels for m in Decoder(32, (10,), 0.25).modules() if isinstance(m, nn.ConvTranspose2d)]
    assert channels == [128, 128, 64, 32, 3]
    discriminator = Discriminator(32, (10,), 0.25)
    assert discriminator.joint.block.entry.in_features == 3 * 128
    assert discriminator.joint.block.entry.out_features == 256


@pytest.mark.parametrize("size", [0, 31, 48, 256])
def test_other_image_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} is not one of 32, 64, 128"):
        check_image_size(size)
    for build in (Encoder, Decoder, Discriminator):
        with pytest.raises(ValueError, match="not one of"):
            build(size, (10,), WIDTH)
