"""`eac`: Erasing Attention Consistency, a mirrored image's attention must be the mirrored attention."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core.config import option
from ..networks import Classifier, VGGTrunk
from ..networks.encoder import Trunk
from .base import METHODS, Batch, Uses, unit_images
from .classifier import ClassifierConfig, ClassifierMethod

SMALLEST_SHARE = 0.02
ASPECTS = (0.3, 10 / 3)
"""Of the erased rectangles, as Zhong et al. (AAAI 2020) have them."""


@dataclass(frozen=True)
class EACConfig(ClassifierConfig):
    """Options of Erasing Attention Consistency; defaults are the authors'."""

    hidden: int = 512  # no options here: vgg's hidden layers come after the maps
    dropout: float = 0.5
    consistency: float = option(5.0, "λ, weight of the attention maps' consistency", low=0)
    erase_share: float = option(0.5, "share of the images in which a rectangle is erased", low=0, high=1)
    erase_area: float = option(
        0.25, "largest area of an erased rectangle, as a share of the image", low=SMALLEST_SHARE, high=1
    )


class AttentionClassifier(Classifier):
    """Global average pooling of a trunk's last feature maps and one linear layer, with its class activation maps.

    Args:
        trunk: images to feature maps B×C×H×W.
        outputs: K, all tasks' together.
    """

    def __init__(self, trunk: Trunk, outputs: int) -> None:
        super().__init__(trunk, outputs)
        self.head = nn.Linear(trunk.channels, outputs)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Map images B×3×S×S in [-1, 1] to logits B×K and attention maps B×K×H×W.

        The map of class k is Σ_c W_kc·F_c (Zhou et al., CVPR 2016); no gradient flows through it to W, as in the
        authors' code.
        """
        maps = self.trunk.maps(images)
        attention = torch.einsum("kc,bchw->bkhw", self.head.weight.detach(), maps)
        return self.head(maps.mean(dim=(2, 3))), attention


@METHODS.register("eac")
class EAC(ClassifierMethod):
    """Cross entropy on images with erased rectangles, and consistency of their attention with the mirrored images'.

    L = L_cls(f(x)) + λ·mean (M(x) − flip(M(flip(x))))²

    with x an image with a random rectangle erased, M its class activation maps B×K×H×W and the mean over all their
    entries (the paper's total loss with λ = 5; the labels' loss sees x alone and not its mirror image, the paper's
    "imbalanced framework"). L_cls is the sum over tasks of the mean over sets of the cross entropy, or of
    `ClassifierMethod`'s loss for valence and arousal, which a mirror leaves as they are, too. Predictions are those of
    the image alone.

    Choices: rectangles are torchvision's `RandomErasing` as the authors' code has it (half of the images, 2 to 25 % of
    the area, aspect ratios 0.3 to 3.3), drawn for a batch at once and filled with mid-grey. On `vgg`, whose hidden
    layers follow the maps, the paper's head of global average pooling and one linear layer takes their place; its maps
    are 2×2 at 32 px, so that mirroring swaps two columns.
    """

    paper = "Zhang, Wang, Ling & Deng, ECCV 2022"
    uses = Uses(continuous=True, maps=True)
    config_class = EACConfig
    config: EACConfig

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of Adam; the images and their mirror images pass the network as one batch."""
        self.network.train()
        images = self._erased(unit_images(batch.images))
        outputs, attention = self.network(torch.cat([images, images.flip(3)]))
        loss, told = self.loss(self.by_task(outputs[: len(images)]), batch)
        straight, mirrored = attention.float().chunk(2)
        consistency = functional.mse_loss(straight, mirrored.flip(3))
        total = loss + self.config.consistency * consistency
        self.step(total)
        return {"loss": total.detach(), **told, "consistency": consistency.detach()}

    @torch.inference_mode()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """By task, class probabilities B×K or valence and arousal B×2."""
        self.network.eval()
        return self.probabilities(self.by_task(self.network(unit_images(images))[0]))

    def _erased(self, images: Tensor) -> Tensor:
        numbers = torch.rand(5, len(images), device=self.device)
        return erase(images, numbers, self.config.erase_share, self.config.erase_area)

    def _classifier(self) -> Classifier:
        trunk = self._trunk()
        if isinstance(trunk, VGGTrunk):
            trunk.hidden = nn.Sequential()  # these layers come after the maps
        found: Classifier = self._place(AttentionClassifier(trunk, sum(self.widths)))
        return found


def erase(images: Tensor, numbers: Tensor, share: float, largest: float) -> Tensor:
    """Fill one rectangle in some of the images with 0, the middle of their range.

    Args:
        images: B×3×S×S.
        numbers: 5×B, uniform in [0, 1): whether there is a rectangle, its area, its aspect ratio (on a logarithmic
            scale), how far down it is, how far to the right.
        share: of the images that have one.
        largest: area of a rectangle, as a share of the image's; the smallest is `SMALLEST_SHARE`.
    """
    chosen, area, aspect, down, right = numbers
    size = images.shape[3]
    narrow, wide = map(math.log, ASPECTS)
    area = (SMALLEST_SHARE + area * (largest - SMALLEST_SHARE)) * size**2
    aspect = torch.exp(narrow + aspect * (wide - narrow))
    heights = (area * aspect).sqrt().round().clamp(1, size)
    widths = (area / aspect).sqrt().round().clamp(1, size)
    rows = _span((down * (size - heights + 1)).floor(), heights, size)
    columns = _span((right * (size - widths + 1)).floor(), widths, size)
    erased = rows[:, :, None] & columns[:, None, :] & (chosen < share)[:, None, None]
    return images.masked_fill(erased[:, None], 0.0)


def _span(first: Tensor, length: Tensor, size: int) -> Tensor:
    """B×size, true from `first` on for `length` places."""
    places = torch.arange(size, device=first.device)
    return (places >= first[:, None]) & (places < (first + length)[:, None])
