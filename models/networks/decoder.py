"""G_X: a latent vector and the noisy labels of every set to an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .convolution import ConvTranspose2d
from .encoder import LATENT
from .layers import check_image_size, normed_linear, scaled
from .shared import BatchNorm2d
from .spectral import spectral_norm

_CHANNELS = {
    32: (512, 512, 256, 128),
    64: (512, 512, 256, 128, 64),
    128: (512, 512, 512, 256, 128, 64),
}


class Decoder(nn.Module):
    """G_X (paper, Fig. S1b): linear, then transposed 4×4 convolutions of stride 2 from 1×1 to S×S, spectrally normed.

    Args:
        image_size: S, one of 32, 64, 128 pixels.
        label_widths: numbers that describe a label of each set: K (one-hot) for a categorical one, 2 for valence and
            arousal.
        width: multiplier of every channel count.
    """

    def __init__(self, image_size: int, label_widths: tuple[int, ...], width: float = 1.0) -> None:
        super().__init__()
        outputs = [scaled(channels, width) for channels in _CHANNELS[check_image_size(image_size)]]
        self.linear = normed_linear(LATENT + sum(label_widths), scaled(512, width))
        layers: list[nn.Module] = []
        channels = scaled(512, width)
        for count in outputs:
            layers += [_normed_upsampling(channels, count), BatchNorm2d(count), nn.ReLU(inplace=True)]
            channels = count
        layers += [_normed_upsampling(channels, 3), nn.Tanh()]
        self.upsampling = nn.Sequential(*layers)

    def forward(self, latent: Tensor, labels: tuple[Tensor, ...]) -> Tensor:
        """Draw images B×3×S×S in [-1, 1].

        Args:
            latent: ỹ0, B×100, standard normal.
            labels: ỹ1 … ỹT, each B×K one-hot or B×2.
        """
        code = functional.relu(self.linear(torch.cat([latent, *labels], dim=1)))
        images: Tensor = self.upsampling(code[:, :, None, None])
        return images


def _normed_upsampling(inputs: int, outputs: int) -> nn.Module:
    return spectral_norm(ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1))
