"""Weights to start from: the convolutions of VGG-Face and the like, or a network's own published ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..core.errors import UserError
from ..models.networks.backbone import TimmTrunk
from ..models.networks.encoder import Trunk, VGGTrunk
from .weights import read_weights

_BLOCK_NAMES = re.compile(r"(?:^|\.)conv_?(\d)_(\d)\.(weight|bias)")
"""VGG-Face's `conv1_1` to `conv5_3`."""

_INDEX_NAMES = re.compile(r"(?:^|\.)(?:convolutions|features)\.(\d+)\.(weight|bias)")
"""Places in a sequence of convolutions, ReLUs and pools: ours, and torchvision's VGG-16."""

_OURS = "body."


def load_convolutions(trunk: VGGTrunk, file: Path) -> int:
    """Fill a trunk's thirteen convolutions from a file; its hidden layers stay as they are.

    Args:
        trunk: changed in place.
        file: a state dict with VGG-Face's names (`conv1_1` … `conv5_3`), a VGG-16 of torchvision, or a teacher of ours
            of the architecture `vgg`; `.pth` or safetensors.

    Returns:
        The number of layers taken, 13.

    Raises:
        UserError: the file cannot be read, lacks some of the layers, or has them at another width.
    """
    found = _convolutions(read_weights(file))
    layers = dict(_named_convolutions(trunk))
    missing = [name for name in layers if (name, "weight") not in found or (name, "bias") not in found]
    if missing:
        raise UserError(
            f"{file} has {len(layers) - len(missing)} of VGG-16's {len(layers)} convolutions ({missing[0]} is "
            "missing). Expected are the names conv1_1 to conv5_3 (VGG-Face), features.0 to features.28 (torchvision's "
            "vgg16), or a vgg teacher of 'noisyfer pretrain'."
        )
    for name, layer in layers.items():
        stored = found[name, "weight"]
        if stored.shape != layer.weight.shape:
            raise UserError(
                f"{name} in {file} is {_shape(stored)} and in the network {_shape(layer.weight)}: the widths differ. "
                "Choose the width that the file was made with; VGG-Face's and torchvision's is --width 1."
            )
    with torch.no_grad():
        for name, layer in layers.items():
            layer.weight.copy_(found[name, "weight"])
            if layer.bias is not None:
                layer.bias.copy_(found[name, "bias"])
    return len(layers)


def load_trunk(trunk: Trunk, file: Path) -> int:
    """Fill a trunk from a file: VGG-16's convolutions, or all of a model of timm but its last layer.

    Returns:
        The number of layers or tensors taken.

    Raises:
        UserError: the file cannot be read, or has weights of another network.
    """
    if isinstance(trunk, VGGTrunk):
        return load_convolutions(trunk, file)
    if isinstance(trunk, TimmTrunk):
        return load_body(trunk.model, (), file)[0]
    raise UserError(f"{type(trunk).__name__} takes no weights from a file; leave out --init.")


def load_body(body: nn.Module, classifier: Sequence[str], file: Path) -> tuple[int, int]:
    """Fill a network from published weights of the same architecture, its last layer only where that fits too.

    Args:
        body: changed in place.
        classifier: names of the modules that make the outputs, whose sizes may differ.
        file: `.pth` or safetensors, of the architecture or of a teacher of ours.

    Returns:
        The tensors taken, and all of them.

    Raises:
        UserError: the file cannot be read, or is of another architecture.
    """
    stored = {name.removeprefix(_OURS): tensor for name, tensor in read_weights(file).items()}
    expected = body.state_dict()
    fitting = {
        name: stored[name] for name, own in expected.items() if name in stored and stored[name].shape == own.shape
    }
    free = tuple(f"{name}." for name in classifier)
    lacking = [name for name in expected if name not in fitting and not name.startswith(free)]
    if lacking:
        name = lacking[0]
        found = f"is {_shape(stored[name])} instead of {_shape(expected[name])}" if name in stored else "is missing"
        more = f", and {len(lacking) - 1} more do not fit" if len(lacking) > 1 else ""
        raise UserError(
            f"{file} has weights of another network: {name} {found}{more}. --init takes weights of the architecture "
            "that --arch names."
        )
    body.load_state_dict({**expected, **fitting})
    return len(fitting), len(expected)


def _named_convolutions(trunk: VGGTrunk) -> list[tuple[str, nn.Conv2d]]:
    """The convolutions under VGG-Face's names, in order."""
    named, block, place = [], 1, 1
    for module in trunk.convolutions:
        if isinstance(module, nn.Conv2d):
            named.append((f"conv{block}_{place}", module))
            place += 1
        elif isinstance(module, nn.MaxPool2d):
            block, place = block + 1, 1
    return named


def _convolutions(tensors: Mapping[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    """Weights and biases by VGG-Face's name of the layer."""
    found: dict[tuple[str, str], Tensor] = {}
    by_index: dict[tuple[int, str], Tensor] = {}
    for name, tensor in tensors.items():
        if block := _BLOCK_NAMES.search(name):
            found[f"conv{block[1]}_{block[2]}", block[3]] = tensor
        elif index := _INDEX_NAMES.search(name):
            by_index[int(index[1]), index[2]] = tensor
    places = {place: name for name, place in zip(_names(), sorted({place for place, _ in by_index}), strict=False)}
    return found or {(places[place], kind): tensor for (place, kind), tensor in by_index.items() if place in places}


def _names() -> list[str]:
    return [
        f"conv{block}_{place}" for block, repeats in enumerate((2, 2, 3, 3, 3), 1) for place in range(1, repeats + 1)
    ]


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"
