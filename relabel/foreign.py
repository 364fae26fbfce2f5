"""A teacher from elsewhere: a network run as it is, between what its sidecar says goes in and what comes out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.files import sha256_file
from ..core.schema import Task
from .sidecar import Sidecar

Run = Callable[[Tensor], Mapping[str, Tensor]]

CPU_PIXELS = 8 * 224**2
"""Pixels that go through a network at once on a CPU: eight images of 224 pixels, at which EfficientNet-B0 is far faster
than at thirty-two (docs/performance.md)."""

GREY_WEIGHTS = (19595, 38470, 7471)
"""Red, green and blue in brightness (ITU-R BT.601), times 2¹⁶."""


class ForeignTeacher:
    """A network behind a sidecar.

    Args:
        annotator: its name.
        sidecar: what it takes and what its outputs are.
        run: maps prepared pixels B×C×S×S (or B×S×S×C) to outputs B×W by name.
        architecture: in words.
        sha256: of network and sidecar.
        device: where the pixels are prepared.
    """

    def __init__(
        self, annotator: str, sidecar: Sidecar, run: Run, architecture: str, sha256: str, device: str = "cpu"
    ) -> None:
        self.annotator, self.sidecar, self.architecture, self.sha256 = annotator, sidecar, architecture, sha256
        self.size, self.align = sidecar.size, sidecar.align
        self.tasks: Mapping[str, Task] = sidecar.tasks
        self.figures: Mapping[str, Any] = {}
        self.origin: Mapping[str, Any] = {}
        self.run = run
        self.device = torch.device(device)

    @torch.inference_mode()
    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Label images; see `Teacher.predict`."""
        prepared = prepare(images.to(self.device), self.sidecar)
        return self.answers(in_pieces(self.run, prepared))

    def answers(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Probabilities and values by task from outputs B×W by name."""
        parts = {
            role: outputs[name][:, piece.first : piece.first + piece.width].float().cpu()
            for role, (name, piece) in self.sidecar.roles.items()
        }
        found = {}
        if "logits" in parts:
            found[self.sidecar.task] = torch.softmax(parts["logits"], dim=1)
        if "probabilities" in parts:
            found[self.sidecar.task] = parts["probabilities"]
        if "valence" in parts:
            found["va"] = torch.cat([parts["valence"], parts["arousal"]], dim=1)
        return found


def in_pieces(run: Run, images: Tensor) -> dict[str, Tensor]:
    """What a network answers to a batch; on a CPU it is given as many images at a time as its caches hold.

    Args:
        run: maps images, first dimension B, to outputs B×W by name.
        images: on the network's device.
    """
    pixels = max(1, images.numel() // (3 * len(images)))
    at_once = max(1, CPU_PIXELS // pixels) if images.device.type == "cpu" else len(images)
    parts = [run(piece) for piece in images.split(at_once)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def prepare(images: Tensor, sidecar: Sidecar) -> Tensor:
    """Images as a network wants them: channels, scale, mean and std, layout.

    Args:
        images: uint8 B×3×S×S.
        sidecar: what it wants.

    Returns:
        float32 B×C×S×S, or B×S×S×C for the layout NHWC.
    """
    if sidecar.color == "GREY":
        images = brightness(images)
    elif sidecar.color == "BGR":
        images = images.flip(1)
    factors = torch.tensor([sidecar.scale / (255 * deviation) for deviation in sidecar.std], device=images.device)
    shifts = [mean / deviation for mean, deviation in zip(sidecar.mean, sidecar.std, strict=True)]
    offsets = torch.tensor(shifts, device=images.device)
    pixels = images.to(torch.float32, memory_format=torch.channels_last)
    pixels = pixels * factors[:, None, None] - offsets[:, None, None]
    return pixels.permute(0, 2, 3, 1) if sidecar.layout == "NHWC" else pixels


def brightness(images: Tensor) -> Tensor:
    """uint8 B×3×S×S to grey B×1×S×S, to the last digit as Pillow's mode L."""
    weights = torch.tensor(GREY_WEIGHTS, device=images.device)[:, None, None]
    return ((images.int() * weights).sum(dim=1, keepdim=True).add(2**15) >> 16).to(torch.uint8)


def combined_hash(*parts: str | Path) -> str:
    """SHA-256 over texts and over the hashes of files."""
    told = [sha256_file(part) if isinstance(part, Path) else part for part in parts]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
