"""Pictures of three colours with labels to match, and weights under VGG-Face's names."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

CLASSES = ("neutral", "happy", "sad")
COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200))
LAYERS = [f"conv{block}_{place}" for block, many in enumerate((2, 2, 3, 3, 3), 1) for place in range(1, many + 1)]


def colour(number: int) -> tuple[int, float, np.ndarray[Any, Any]]:
    """Class, valence and picture of a sample: the class is the hue, the valence the brightness."""
    draw = np.random.default_rng(number)
    label, valence = number % 3, float(draw.uniform(-1, 1))
    pixels = np.array(COLOURS[label]) * (0.6 + 0.4 * valence) + draw.integers(-20, 20, (32, 32, 3))
    return label, valence, np.clip(pixels, 0, 255).astype(np.uint8)


def vgg_face(width: float = 1 / 16, name: Any = "{layer}.{kind}".format) -> dict[str, torch.Tensor]:
    """A state dict with VGG-Face's names, the fully connected layers included."""
    state, inputs = {}, 3
    for number, (layer, outputs) in enumerate(zip(LAYERS, (64, 64, 128, 128, *[256] * 3, *[512] * 6), strict=True)):
        outputs = max(1, round(outputs * width))
        state[name(layer=layer, kind="weight")] = torch.full((outputs, inputs, 3, 3), number + 0.5)
        state[name(layer=layer, kind="bias")] = torch.full((outputs,), -number - 0.5)
        inputs = outputs
    return {**state, "fc6.weight": torch.zeros(4, 4), "fc6.bias": torch.zeros(4)}


def torchvisions(layer: str, kind: str) -> str:
    place = LAYERS.index(layer)
    pools = sum(place >= first for first in (2, 4, 7, 10))
    return f"features.{2 * place + pools}.{kind}"
