"""Convolutions on a few pixels and our spectral norm equal torch's, gradients included."""

from __future__ import annotations

import pytest
import torch
from noisyfer.models.networks.convolution import WIDE, Conv2d, ConvTranspose2d, Linear, convolve
from noisyfer.models.networks.spectral import spectral_norm
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

pytestmark = pytest.mark.usefixtures("seeded")

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def pair(*shape: int, layout: torch.memory_format = torch.contiguous_format) -> tuple[Tensor, Tensor]:
    values = torch.randn(*shape, dtype=torch.float64)
    values = values.contiguous(memory_format=layout) if len(shape) == 4 else values
    return values.clone().requires_grad_(True), values.clone().requires_grad_(True)


def same_slopes(found: Tensor, expected: Tensor, *pairs: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(found, expected)
    weighing = torch.randn_like(found)
    (found * weighing).sum().backward()
    (expected * weighing).sum().backward()
    for ours, theirs in pairs:
        assert theirs.grad.abs().max() > 0
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [(1, 3, 1), (2, 3, 1), (4, 3, 1), (2, 4, 2), (4, 4, 2), (8, 4, 2), (8, 3, 1), (4, 1, 1)],
)
def test_convolve_is_torchs(size: int, kernel: int, stride: int, layout: torch.memory_format) -> None:
    padding = kernel // 2 if kernel != 4 else 1
    images, weights, bias = pair(3, 5, size, size, layout=layout), pair(7, 5, kernel, kernel, layout=layout), pair(7)
    found = convolve(images[0], weights[0], bias[0], stride=stride, padding=padding)
    expected = functional.conv2d(images[1], weights[1], bias[1], stride, padding)
    same_slopes(found, expected, images, weights, bias)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_a_transposed_convolution_is_torchs(size: int, layout: torch.memory_format) -> None:
    images = pair(3, 5, size, size, layout=layout)
    ours, theirs = ConvTranspose2d(5, 6, 4, 2, 1).double(), nn.ConvTranspose2d(5, 6, 4, 2, 1).double()
    theirs.load_state_dict(ours.state_dict())
    ours.to(memory_format=layout)
    same_slopes(ours(images[0]), theirs(images[1]), images, (ours.weight, theirs.weight), (ours.bias, theirs.bias))


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (1, 4)])
def test_images_that_are_not_square_are_convolved_too(shape: tuple[int, int]) -> None:
    images, weights = pair(2, 3, *shape), pair(4, 3, 3, 3)
    found = convolve(images[0], weights[0], None, padding=1)
    same_slopes(found, functional.conv2d(images[1], weights[1], None, 1, 1), images, weights)
    layers = ConvTranspose2d(3, 4, 4, 2, 1).double(), nn.ConvTranspose2d(3, 4, 4, 2, 1).double()
    layers[1].load_state_dict(layers[0].state_dict())
    torch.testing.assert_close(layers[0](images[0]), layers[1](images[1]))


def test_convolutions_with_many_channels_are_torchs_on_four_pixels_too() -> None:
    images, weights = pair(2, WIDE, 4, 4, layout=torch.channels_last), pair(WIDE, WIDE, 3, 3)
    found = convolve(images[0], weights[0], None, padding=1)
    assert "_Convolution" in found.grad_fn.name()
    same_slopes(found, functional.conv2d(images[1], weights[1], None, 1, 1), images, weights)


@pytest.mark.parametrize(
    ("size", "channels", "small"), [(1, 5, True), (2, 5, True), (4, 5, False), (4, WIDE, True), (8, WIDE, False)]
)
def test_matrix_products_serve_where_images_are_small(size: int, channels: int, small: bool) -> None:
    images = torch.randn(1, channels, size, size)
    convolution = Conv2d(channels, channels, 3, padding=1, bias=False)
    transposed = ConvTranspose2d(channels, channels, 4, 2, 1, bias=False)
    assert (convolution(images).grad_fn.name() == "_ConvolutionBackward") == small
    assert (transposed(images).grad_fn.name() == "_TransposedBackward") == small


def layers(kind: str) -> tuple[nn.Module, nn.Module, Tensor]:
    """Ours and torch's under spectral norm, drawn from the same random numbers, and an input."""
    makers = {
        "linear": (Linear, nn.Linear, (6, 9), {}, (4, 6)),
        "linear-many": (Linear, nn.Linear, (6, 9), {}, (64, 6)),
        "convolution": (Conv2d, nn.Conv2d, (5, 7, 3), {"padding": 1}, (3, 5, 4, 4)),
        "large": (Conv2d, nn.Conv2d, (5, 7, 3), {"padding": 1}, (3, 5, 16, 16)),
        "transposed": (ConvTranspose2d, nn.ConvTranspose2d, (5, 7, 4), {"stride": 2, "padding": 1}, (3, 5, 2, 2)),
    }
    ours, theirs, arguments, keywords, shape = makers[kind]
    torch.manual_seed(7)
    first = spectral_norm(ours(*arguments, **keywords, dtype=torch.float64))
    torch.manual_seed(7)
    second = parametrizations.spectral_norm(theirs(*arguments, **keywords, dtype=torch.float64))
    return first, second, torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("kind", ["linear", "linear-many", "convolution", "large", "transposed"])
def test_spectral_norm_is_torchs_over_training_steps(kind: str, layout: torch.memory_format) -> None:
    ours, theirs, inputs = layers(kind)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    if inputs.dim() == 4:
        ours.to(memory_format=layout)
    for step in range(3):
        both = inputs.clone().requires_grad_(True), inputs.clone().requires_grad_(True)
        ours.zero_grad()
        theirs.zero_grad()
        if step == 2:
            ours.eval()
            theirs.eval()
        parameters = list(zip(ours.parameters(), theirs.parameters(), strict=True))
        same_slopes(ours(both[0]), theirs(both[1]), both, *parameters)
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value)
        with torch.no_grad():
            for mine, other in parameters:
                mine -= 0.1 * mine.grad
                other -= 0.1 * other.grad
        torch.testing.assert_close(ours.weight.detach(), theirs.weight.detach())


def test_two_passes_before_a_backward_keep_their_own_vectors() -> None:
    ours, theirs, inputs = layers("convolution")
    found, expected = (layer(inputs) + 2 * layer(inputs) for layer in (ours, theirs))
    found.sum().backward()
    expected.sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
