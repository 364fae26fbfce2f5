"""The paper's ablations of `proposed` (Table 3): without the joint score, the marginal scores, the decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core.config import option
from .base import METHODS, Synthesis
from .proposed import Proposed, ProposedConfig


@dataclass(frozen=True)
class NoJointConfig(ProposedConfig):
    """Options of `proposed` with the joint score's weight at 0."""

    weight_joint: float = option(0.0, "weight of the score S_joint", low=0)


@METHODS.register("proposed-no-joint")
class ProposedNoJoint(Proposed):
    """`proposed` with the marginal scores S_x, S_y0 … S_yT only, so that no score sees an image with its labels."""

    config_class = NoJointConfig


@dataclass(frozen=True)
class NoMarginalConfig(ProposedConfig):
    """Options of `proposed` with the marginal scores' weights at 0."""

    weight_image: float = option(0.0, "weight of the score S_x", low=0)
    weight_latent: float = option(0.0, "weight of the score S_y0", low=0)
    weight_labels: float = option(0.0, "weight of the scores S_y1 … S_yT", low=0)


@METHODS.register("proposed-no-marginal")
class ProposedNoMarginal(Proposed):
    """`proposed` with the joint score S_joint only."""

    config_class = NoMarginalConfig


@METHODS.register("proposed-no-decoder")
class ProposedNoDecoder(Proposed):
    """`proposed` without a decoder: D's second side is the real image with ỹ0 ~ N(0, I) and its noisy labels.

    s_dec = D(x, ỹ0, ỹ) then hangs on no parameter of the encoder, and the images tell the sides apart in nothing.
    """

    def _drawing_network(self) -> nn.Module | None:
        return None

    def _second_images(self, images: Tensor, latent: Tensor, given: tuple[Tensor, ...]) -> Tensor:
        return images

    def synthesise(self, rows: int, generator: torch.Generator) -> Synthesis | None:
        """Nothing is drawn."""
        return None
