"""Trunks by name: the paper's VGG-16, or any model of timm."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import UserError
from .encoder import Trunk, VGGTrunk

VGG = "vgg"
SMALLEST, LARGEST = 16, 1024


class TimmTrunk(Trunk):
    """A model of timm up to its pooled features; images are normalised as its published weights expect them.

    Args:
        name: of the model.
        size: S, pixels.
        small_stem: a first convolution of 3×3 and stride 1 and no pooling behind it, as He et al. (2016) and the
            literature on noisy labels have ResNets for 32 pixels.

    Raises:
        UserError: an unknown name, a size that the model cannot take, or no stem that could be made small.
    """

    def __init__(self, name: str, size: int, *, small_stem: bool = False) -> None:
        super().__init__()
        self.model = build_timm(name, 0, size)
        if small_stem:
            _make_stem_small(self.model, name)
        self.channels = self.model.num_features
        # some models have a layer between the pooled maps and the classifier
        self.features = getattr(self.model, "head_hidden_size", None) or self.channels
        self.name = name
        settings = timm_settings(name)
        mean, deviation = torch.tensor(settings.mean), torch.tensor(settings.std)
        self.scale: Tensor
        self.shift: Tensor
        # from [-1, 1] to [0, 1] and then to the model's own range; known from its name, so no part of the weights
        self.register_buffer("scale", (0.5 / deviation)[:, None, None], persistent=False)
        self.register_buffer("shift", ((0.5 - mean) / deviation)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images B×3×S×S in [-1, 1] to features B×F."""
        features: Tensor = self.model(images * self.scale + self.shift)
        return features

    def maps(self, images: Tensor) -> Tensor:
        """The model's last feature maps, B×C×H×W."""
        found: Tensor = self.model.forward_features(images * self.scale + self.shift)
        if found.dim() != 4 or found.shape[1] != self.channels:
            raise UserError(f"{self.name} has no feature maps with places; choose a convolutional --arch.")
        return found


def build_trunk(
    name: str,
    size: int,
    *,
    width: float,
    hidden: int,
    dropout: float = 0.5,
    by_inputs: bool = False,
    small_stem: bool = False,
) -> Trunk:
    """A trunk with fresh weights from torch's generator.

    Args:
        name: `vgg`, or a model of timm.
        size: S, pixels.
        width: multiplier of the channel counts (`vgg` only).
        hidden: units of the two hidden layers (`vgg` only).
        dropout: share of their units that a training step leaves out (`vgg` only).
        by_inputs: see `VGGTrunk` (`vgg` only).
        small_stem: see `TimmTrunk` (models of timm only).

    Raises:
        UserError: an unknown name, or a model that cannot be had like this.
    """
    if name == VGG:
        return VGGTrunk(size, width, hidden, dropout=dropout, by_inputs=by_inputs)
    return TimmTrunk(name, size, small_stem=small_stem)


def _make_stem_small(model: Any, name: str) -> None:
    first = getattr(model, "conv1", None)
    if not isinstance(first, nn.Conv2d) or not isinstance(getattr(model, "maxpool", None), nn.Module):
        raise UserError(f"{name} has no first convolution and pooling that stem=small could replace; use stem=model.")
    model.conv1 = nn.Conv2d(3, first.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")  # as timm starts the others
    model.maxpool = nn.Identity()


def timm_settings(name: str) -> Any:
    """What timm says about a model: `mean`, `std`, `classifier`, `fixed_input_size`.

    Raises:
        UserError: an unknown name; the nearest ones are told.
    """
    import timm

    if "/" in name or ":" in name or not timm.is_model(name):
        known = {entry.casefold(): entry for entry in [VGG, *timm.list_models()]}
        near = [known[entry] for entry in difflib.get_close_matches(name.casefold(), known, n=3, cutoff=0.5)]
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UserError(
            f"There is no architecture named '{name}'.{hint} Known: vgg, and the {len(known) - 1} models of timm that "
            "timm.list_models() names."
        )
    return timm.get_pretrained_cfg(name, allow_unregistered=False) or timm.get_pretrained_cfg("resnet18")


def build_timm(name: str, outputs: int, size: int) -> Any:
    """A model of timm with fresh weights; nothing is fetched.

    Raises:
        UserError: an unknown name, or a model that cannot take images of this size.
    """
    import timm

    settings = timm_settings(name)
    # models with a grid of patches have weights for its places; the others take any size
    sized: dict[str, Any] = {"img_size": size} if settings.fixed_input_size else {}
    try:
        body = timm.create_model(name, pretrained=False, num_classes=outputs, **sized)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"timm cannot build {name} for images of {size} pixels: {error}.") from error
    if not SMALLEST <= size <= LARGEST:
        raise UserError(f"The size is {size} pixels; {SMALLEST} to {LARGEST} were expected.")
    return body
