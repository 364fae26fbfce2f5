"""D: scores for an image, a latent vector and labels, each alone and all together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .encoder import LATENT
from .layers import ResidualBlock, ResidualMLP, SelfAttention, check_image_size, normed_linear, scaled


class ImageStream(nn.Module):
    """Residual blocks with one attention block: image to 512 features (at width 1) and the marginal score S_x."""

    def __init__(self, image_size: int, width: float) -> None:
        super().__init__()
        self.pool_first = check_image_size(image_size) > 32
        self.features = scaled(512, width)
        first, *others = (scaled(channels, width) for channels in (64, 128, 256, 512, 512))
        blocks: list[nn.Module] = [ResidualBlock(3, first, activate_first=False, halve=True), SelfAttention(first)]
        channels = first
        for outputs in others:
            blocks.append(ResidualBlock(channels, outputs, activate_first=True, halve=True))
            channels = outputs
        blocks.append(ResidualBlock(channels, channels, activate_first=True, halve=False))
        self.blocks = nn.Sequential(*blocks)
        self.score = normed_linear(self.features, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images B×3×S×S in [-1, 1] to features B×512 and scores B×1."""
        if self.pool_first:
            images = functional.avg_pool2d(images, 2)
        features = functional.relu(self.blocks(images)).sum(dim=(2, 3))
        return features, self.score(features)


class VectorStream(nn.Module):
    """An MLP block with a linear score: for the latent vector, one label set, or all streams' features together."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = ResidualMLP(inputs, outputs)
        self.score = normed_linear(outputs, 1)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors B×inputs to features B×outputs and scores B×1."""
        features = self.block(vectors)
        return features, self.score(features)


class Discriminator(nn.Module):
    """D (paper, Fig. S1c): a stream for the image, the latent vector and each label set, and a joint stream.

    Args:
        image_size: S, one of 32, 64, 128 pixels; above 32 the image is first average-pooled by 2.
        label_widths: numbers that describe a label of each set: K for a categorical one, 2 for valence and arousal.
        width: multiplier of every channel count.
    """

    def __init__(self, image_size: int, label_widths: tuple[int, ...], width: float = 1.0) -> None:
        super().__init__()
        features = scaled(512, width)
        self.image = ImageStream(image_size, width)
        self.latent = VectorStream(LATENT, features)
        self.labels = nn.ModuleList(VectorStream(inputs, features) for inputs in label_widths)
        self.joint = VectorStream(features * (2 + len(label_widths)), scaled(1024, width))

    def forward(self, images: Tensor, latent: Tensor, labels: tuple[Tensor, ...], constant: int = 0) -> Tensor:
        """Scores B×(T+3), in the order S_x, S_y0, S_y1 … S_yT, S_joint.

        Args:
            images: B×3×S×S in [-1, 1].
            latent: y0, B×100.
            labels: y1 … yT, each B×K or B×2.
            constant: so many of the first images are not to be differentiated, nor the weights that see them: for the
                update of the generator, where real images depend on nothing that is trained.
        """
        image = self.image(images) if not constant else self._partly_constant(images, constant)
        streams = [image, self.latent(latent)]
        streams += [stream(label) for stream, label in zip(self.labels, labels, strict=True)]
        features = [feature for feature, _ in streams]
        scores = [score for _, score in streams]
        _, joint = self.joint(torch.cat(features, dim=1))
        return torch.cat([*scores, joint], dim=1)

    def _partly_constant(self, images: Tensor, constant: int) -> tuple[Tensor, Tensor]:
        training = self.training
        with torch.no_grad():
            fixed = self.image(images.detach()[:constant])
        # not another power iteration: both parts are to see the same weights, and nothing else in here has two modes
        self.image.eval()
        free = self.image(images[constant:])
        self.image.train(training)
        return torch.cat([fixed[0], free[0]]), torch.cat([fixed[1], free[1]])
