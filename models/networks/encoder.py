"""The paper's trunk, and what stands on a trunk: G_Y, or a plain classifier."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from .convolution import Conv2d
from .layers import check_image_size, scale_by_inputs, scaled
from .shared import Dropout

LATENT = 100
"""Entries of the latent (non-emotion) vector y0; the same at every width."""

_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class Trunk(nn.Module, ABC):
    """A network from images to features, without the layers that read labels from them.

    Attributes:
        features: F, the numbers that describe an image.
        channels: C, of the feature maps.
    """

    features: int
    channels: int

    @abstractmethod
    def maps(self, images: Tensor) -> Tensor:
        """The last feature maps that still have places, B×C×H×W, of images B×3×S×S in [-1, 1]."""


class VGGTrunk(Trunk):
    """VGG-16's thirteen 3×3 convolutions and two hidden linear layers with dropout; no batch norm.

    Args:
        image_size: S, one of 32, 64, 128 pixels.
        width: multiplier of every convolution's channel count; 1 is the paper's.
        hidden: F, the units of the two hidden layers (paper: 512 for CIFAR-10, 500 for faces).
        dropout: share of the units of each that a training step leaves out; 0.5 is the paper's.
        by_inputs: draw all weights by their inputs (He et al. 2015), instead of the convolutions by their outputs, as
            the authors do, and the linear layers as torch does.
    """

    def __init__(
        self, image_size: int, width: float = 1.0, hidden: int = 512, *, dropout: float = 0.5, by_inputs: bool = False
    ) -> None:
        super().__init__()
        check_image_size(image_size)
        layers: list[nn.Module] = []
        channels = 3
        for outputs, repeats in _BLOCKS:
            for _ in range(repeats):
                layers += [Conv2d(channels, scaled(outputs, width), 3, padding=1), nn.ReLU(inplace=True)]
                channels = scaled(outputs, width)
            layers.append(nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*layers)
        self.features, self.channels = hidden, channels
        flat = channels * (image_size // 32) ** 2
        self.hidden = nn.Sequential(
            nn.Linear(flat, self.features),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(self.features, self.features),
            nn.ReLU(),
            Dropout(dropout),
        )
        if by_inputs:
            scale_by_inputs(self)
            return
        for module in self.convolutions:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / (9 * module.out_channels)))
                nn.init.zeros_(cast(Tensor, module.bias))

    def forward(self, images: Tensor) -> Tensor:
        """Map images B×3×S×S in [-1, 1] to features B×F."""
        features: Tensor = self.hidden(self.convolutions(images).flatten(1))
        return features

    def maps(self, images: Tensor) -> Tensor:
        """The last convolution's result before its pooling, B×C×S/16×S/16."""
        found: Tensor = self.convolutions[:-1](images)
        return found


class Classifier(nn.Module):
    """A trunk and one linear head; on VGG-16 what the paper calls VGGNet.

    Args:
        trunk: images to features B×F.
        outputs: of the head, all tasks' together.
    """

    def __init__(self, trunk: Trunk, outputs: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.features, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Map images B×3×S×S in [-1, 1] to logits B×K."""
        logits: Tensor = self.head(self.trunk(images))
        return logits


@dataclass(frozen=True)
class Encoding:
    """What the encoder says of a batch.

    Attributes:
        mean: B×100, μ of the latent vector.
        log_variance: B×100, log σ².
        outputs: for each label set B×K logits, or B×2 values for a valence/arousal set.
    """

    mean: Tensor
    log_variance: Tensor
    outputs: tuple[Tensor, ...]

    def sample(self, noise: Tensor) -> Tensor:
        """y0 = μ + σ·ε for standard normal noise ε, B×100."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise


class Encoder(nn.Module):
    """G_Y (paper, Fig. S1a): the trunk and three linear heads for mean, log-variance and all label sets' outputs.

    Args:
        trunk: images to features B×F; the paper's is `VGGTrunk`.
        label_widths: outputs of each label set: K for a categorical one, 2 for valence and arousal.
    """

    def __init__(self, trunk: Trunk, label_widths: tuple[int, ...]) -> None:
        super().__init__()
        self.label_widths = tuple(label_widths)
        self.trunk = trunk
        self.mean = nn.Linear(trunk.features, LATENT)
        self.log_variance = nn.Linear(trunk.features, LATENT)
        self.labels = nn.Linear(trunk.features, sum(self.label_widths))

    def forward(self, images: Tensor) -> Encoding:
        """Encode images B×3×S×S in [-1, 1]."""
        features = self.trunk(images)
        outputs = self.labels(features).split(self.label_widths, dim=1)
        return Encoding(self.mean(features), self.log_variance(features), outputs)

    def feature_slope(self, value: Tensor, encoding: Encoding) -> Tensor:
        """The detached gradient of a scalar with respect to the trunk's features, B×F; the scalar's graph is kept.

        Back through the three linear heads by hand, since a compiled encoder has its features inside.

        Args:
            value: what depends on the features through this encoding alone.
            encoding: of this encoder.
        """
        found = (encoding.mean, encoding.log_variance, *encoding.outputs)
        mean, log_variance, *outputs = torch.autograd.grad(value, found, retain_graph=True, materialize_grads=True)
        slopes = ((self.mean, mean), (self.log_variance, log_variance), (self.labels, torch.cat(outputs, dim=1)))
        return sum((slope @ head.weight.detach() for head, slope in slopes), torch.zeros((), device=value.device))
