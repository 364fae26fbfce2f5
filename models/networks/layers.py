"""Layers that several networks share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from .convolution import Conv2d, Linear, convolve
from .spectral import parametrized, spectral_norm

IMAGE_SIZES = (32, 64, 128)


def scaled(channels: int, width: float) -> int:
    """A channel count of the paper times the width multiplier, at least 1.

    Args:
        channels: the count at width 1.
        width: multiplier, above 0; 1 is the paper's network.
    """
    return max(1, round(channels * width))


def check_image_size(size: int) -> int:
    """Return `size` if the networks are defined for it.

    Raises:
        ValueError: it is none of 32, 64, 128 pixels.
    """
    if size not in IMAGE_SIZES:
        raise ValueError(f"image size {size} is not one of {', '.join(map(str, IMAGE_SIZES))}")
    return size


def scale_by_inputs(network: nn.Module) -> None:
    """Draw all weights with the deviation sqrt(2 / inputs) of He et al. (2015).

    It keeps the size of the features from layer to layer. The paper's encoder, whose convolutions are scaled by their
    outputs, shrinks them whenever the channels double, as torch's own start of linear layers does; without batch norm
    such a network learns nothing but the frequencies of the classes for its first epochs.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def normed_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer under spectral norm (Miyato et al. 2018): one power iteration per training forward."""
    return spectral_norm(Linear(inputs, outputs))


def normed_conv(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> nn.Conv2d:
    """A stride-1 convolution that keeps height and width, under spectral norm."""
    return spectral_norm(Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias))


def conv3x3_then_average(convolution: nn.Conv2d, features: Tensor) -> Tensor:
    """A 3×3 convolution (padding 1) followed by 2×2 average pooling, as one 4×4 convolution of stride 2.

    Averaging the four outputs of a window is the same as convolving with the mean of the kernel's four shifts inside a
    4×4 kernel: a quarter of the output positions at 16/9 of the taps, so 2.25 times fewer multiplications.

    Args:
        convolution: the 3×3 layer; its (normed) weight is read once.
        features: B×C×H×W, H and W even.
    """
    if parametrize.is_parametrized(convolution):
        weight, norm = parametrized(convolution)
        scale = norm.scale(weight) / 4
    else:
        weight = convolution.weight
        scale = weight.new_tensor(0.25)
    kernel: Tensor = _Spread.apply(weight, scale)
    return convolve(features, kernel, convolution.bias, stride=2, padding=1)


class _Spread(torch.autograd.Function):
    """The sum of a 3×3 kernel's four shifts in a 4×4 kernel, rows first and columns then, times a number."""

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, scale: Tensor) -> Tensor:
        """O×I×3×3 to O×I×4×4, in channels_last."""
        ctx.save_for_backward(kernel, scale)
        outputs, inputs = kernel.shape[:2]
        scaled_kernel = kernel.permute(0, 2, 3, 1) * scale
        rows = functional.pad(scaled_kernel, (0, 0, 0, 0, 0, 1))
        rows[:, 1:].add_(scaled_kernel)
        spread = kernel.new_empty(outputs, 4, 4, inputs)
        spread[:, :, :3] = rows
        spread[:, :, 3] = 0
        spread[:, :, 1:].add_(rows)
        return spread.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the kernel (the sum of its four places, scaled) and of the number."""
        kernel, scale = ctx.saved_tensors
        slope = slopes[0].permute(0, 2, 3, 1)
        columns = slope[:, :, :3] + slope[:, :, 1:]
        total = columns[:, :3] + columns[:, 1:]
        of_scale = (total * kernel.permute(0, 2, 3, 1)).sum()
        return total.mul_(scale).permute(0, 3, 1, 2), of_scale


class ResidualBlock(nn.Module):
    """The discriminator's residual block (paper, Fig. S2a): 3×3, ReLU, 3×3, optional average pooling, plus a shortcut.

    The shortcut is a 1×1 convolution where the channels change or the block halves; it commutes with the pooling, which
    therefore comes first, at a quarter of the work.
    """

    def __init__(self, inputs: int, outputs: int, *, activate_first: bool, halve: bool) -> None:
        super().__init__()
        self.activate_first = activate_first
        self.halve = halve
        self.first = normed_conv(inputs, outputs, 3)
        self.second = normed_conv(outputs, outputs, 3)
        self.shortcut = normed_conv(inputs, outputs, 1) if halve or inputs != outputs else None

    def forward(self, features: Tensor) -> Tensor:
        """Map B×C×H×W to B×C'×H×W, or to half the height and width."""
        hidden = functional.relu(features) if self.activate_first else features
        hidden = self.first(hidden).relu_()
        hidden = conv3x3_then_average(self.second, hidden) if self.halve else self.second(hidden)
        passed: Tensor = functional.avg_pool2d(features, 2) if self.halve else features
        if self.shortcut is not None:
            passed = self.shortcut(passed)
        # a convolution's result is nobody's input yet, so it may be written over
        return hidden.add_(passed)


class SelfAttention(nn.Module):
    """Self-attention over positions (SAGAN, Zhang et al. 2019; paper, Fig. S2b); 1×1 convolutions without bias.

    Queries see every position, keys and values a 2×2 max-pooled quarter of them. The result is scaled by a learned
    gain that starts at 0 and added to the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        key_channels, value_channels = max(1, channels // 8), max(1, channels // 2)
        self.theta = normed_conv(channels, key_channels, 1, bias=False)
        self.phi = normed_conv(channels, key_channels, 1, bias=False)
        self.g = normed_conv(channels, value_channels, 1, bias=False)
        self.output = normed_conv(value_channels, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Map B×C×H×W to the same shape; H and W even."""
        batch, _, height, width = features.shape
        queries = self.theta(features).flatten(2).transpose(1, 2)  # B×HW×C/8
        keys = functional.max_pool2d(self.phi(features), 2).flatten(2)  # B×C/8×HW/4
        values = functional.max_pool2d(self.g(features), 2).flatten(2)  # B×C/2×HW/4
        attention = torch.softmax(queries @ keys, dim=-1)  # B×HW×HW/4
        mixed = (attention @ values.transpose(1, 2)).view(batch, height, width, -1)
        # mixed is stored as B×H×W×C, so the permuted view is a channels_last tensor already
        attended: Tensor = self.gain * self.output(mixed.permute(0, 3, 1, 2)) + features
        return attended


class ResidualMLP(nn.Module):
    """The discriminator's MLP block (paper, Fig. S2c): h = Linear(x) plus four two-layer branches of ReLU(h)."""

    BRANCHES = 4

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.entry = normed_linear(inputs, outputs)
        self.inner = nn.ModuleList(normed_linear(outputs, outputs) for _ in range(self.BRANCHES))
        self.outer = nn.ModuleList(normed_linear(outputs, outputs) for _ in range(self.BRANCHES))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map B×inputs to B×outputs."""
        hidden = self.entry(inputs)
        active = functional.relu(hidden)
        total: Tensor = hidden
        for inner, outer in zip(self.inner, self.outer, strict=True):
            total = total + outer(functional.relu(inner(active)))
        return total
