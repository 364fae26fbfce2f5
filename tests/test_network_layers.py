"""Fused convolution, attention and spectral norm equal their literal forms."""

from __future__ import annotations

import warnings

import oracles
import pytest
import torch
from network_checks import WIDTH, close, compare, draw, twins, unsettle
from noisyfer.models.networks import Decoder, Discriminator
from noisyfer.models.networks.layers import SelfAttention, conv3x3_then_average, normed_conv, normed_linear
from torch import nn

pytestmark = pytest.mark.usefixtures("seeded")


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
