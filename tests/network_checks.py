"""Comparison of a network with its literal reference in `oracles.py`, in float64 at a tiny width."""

from __future__ import annotations

import math
from collections.abc import Callable

import oracles
import pytest
import torch
from torch import Tensor, nn

WIDTH = 1 / 16
LATENT = 100
CASES = [
    pytest.param(32, (10, 10, 10), id="32-three-sets"),
    pytest.param(32, (2,), id="32-va-alone"),
    pytest.param(64, (7, 2), id="64-expression-va"),
    pytest.param(128, (4, 3, 2), id="128-mixed"),
]


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
