"""A teacher's network: any body, its outputs cut into the parts of the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core.errors import UserError
from .backbone import VGG, build_timm, timm_settings
from .encoder import Classifier, VGGTrunk
from .layers import IMAGE_SIZES, scale_by_inputs

UNIT = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Mean and deviation of values in [0, 1] that bring them to [-1, 1]."""


@dataclass(frozen=True)
class Architecture:
    """What a network is built from.

    Attributes:
        name: `vgg`, or a model of timm.
        width: multiplier of the channel counts (`vgg` only).
        hidden: units of the two hidden layers (`vgg` only).
    """

    name: str
    width: float = 1.0
    hidden: int = 500

    def __str__(self) -> str:
        return f"vgg, width {self.width:g}, hidden {self.hidden}" if self.name == VGG else f"timm {self.name}"


class TeacherNetwork(nn.Module):
    """A body with its normalisation before it and one part of its outputs for each task behind it.

    Args:
        body: maps B×3×S×S floats to B×W, W the sum of the widths.
        widths: by task, K classes or 2 for valence and arousal; in the order of the outputs.
        mean: of red, green and blue in [0, 1].
        std: likewise.
    """

    def __init__(self, body: nn.Module, widths: Mapping[str, int], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.body = body
        self.widths = dict(widths)
        self.scale: Tensor
        self.shift: Tensor
        scale = torch.tensor([1 / (255 * deviation) for deviation in std])
        shift = torch.tensor([value / deviation for value, deviation in zip(mean, std, strict=True)])
        # known from the description, so no part of the weights
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.register_buffer("shift", shift[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map images B×3×S×S of 0 to 255, uint8 or float, to logits B×K and values B×2 by task."""
        pixels = images.to(torch.float32, memory_format=torch.channels_last)
        outputs: Tensor = self.body(pixels * self.scale - self.shift)
        return dict(zip(self.widths, outputs.split(list(self.widths.values()), dim=1), strict=True))


def build_teacher(
    architecture: Architecture, size: int, widths: Mapping[str, int], mean: Sequence[float], std: Sequence[float]
) -> TeacherNetwork:
    """A network with fresh weights from torch's generator.

    Args:
        architecture: what to build.
        size: S, pixels.
        widths: by task, outputs.
        mean: of red, green and blue in [0, 1].
        std: likewise.

    Raises:
        UserError: an unknown architecture, or one that cannot take this size.
    """
    outputs = sum(widths.values())
    if architecture.name == VGG:
        if size not in IMAGE_SIZES:
            sizes = ", ".join(map(str, IMAGE_SIZES))
            raise UserError(f"The size is {size} pixels; vgg is defined for {sizes}.")
        body: nn.Module = Classifier(VGGTrunk(size, architecture.width, architecture.hidden), outputs)
        scale_by_inputs(body)
    else:
        body = build_timm(architecture.name, outputs, size)
    return TeacherNetwork(body, widths, mean, std)


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the pixels, in [0, 1], that an architecture's published weights were trained with.

    Raises:
        UserError: an unknown architecture.
    """
    if name == VGG:
        return UNIT
    settings = timm_settings(name)
    return tuple(settings.mean), tuple(settings.std)
