"""The device that a command's `--device` means."""

from __future__ import annotations

import torch

from ..core.errors import UserError, unknown_name


def choose_device(name: str) -> str:
    """`cpu` or `cuda` for `auto`, `cpu` or `cuda`.

    Raises:
        UserError: an unknown name, or `cuda` where torch has none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise unknown_name("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA device here that torch can use; choose --device cpu.")
    return name


def default_preset(device: str) -> str:
    """The preset of a command that was given none: `paper` on a GPU, else `small`."""
    return "paper" if device == "cuda" else "small"
