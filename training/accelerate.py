"""Faster arithmetic and compiled networks, for GPUs: options that change rounding and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..core.errors import UserError
from ..models.methods import Method

PRECISIONS = ("fp32", "tf32", "bf16")
COMPILED = ("no", "yes", "cuda-graphs")


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Compute inside the block as asked; losses, spectral norms, weights and optimizers stay in fp32.

    Args:
        precision: `fp32`; `tf32`, products of 10-bit mantissas on a GPU's tensor cores (on a CPU the same as fp32);
            or `bf16`, torch's autocast of networks.
        device: of the networks.
    """
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    # torch's default lets convolutions, but not matrix products, be TF32: here fp32 means both
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    try:
        # without the cache of cast weights: an update steps its weights and uses them again inside the block
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


def check_compiling(compiled: str, device: str, devices: int) -> None:
    """Refuse what cannot be compiled here.

    Raises:
        UserError: CUDA graphs on a CPU, several devices, or a CPU without a C++ compiler.
    """
    if compiled == "no":
        return
    if devices > 1:
        raise UserError(f"compile={compiled} is for one device; leave out --devices or the option.")
    if device == "cpu" and compiled == "cuda-graphs":
        raise UserError("compile=cuda-graphs needs a CUDA device; choose compile=no or compile=yes.")
    if device == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
        raise UserError("compile=yes needs a C++ compiler on a CPU and there is no g++ or clang++; choose compile=no.")


def compile_networks(method: Method, compiled: str, backend: str = "inductor") -> None:
    """Let torch compile a method's networks when they first run; parameters and their names stay.

    Args:
        method: its networks are compiled each on its own, so that the order of updates stays in the method's hands.
        compiled: `no`, `yes`, or `cuda-graphs`, which records a network's kernels and replays them at once.
        backend: of `torch.compile`.
    """
    if compiled == "no":
        return
    options = {"mode": "reduce-overhead"} if compiled == "cuda-graphs" else {}
    for network in method.networks.values():
        network.compile(backend=backend, **options)


def new_step(compiled: str) -> None:
    """Say that a step begins: recorded CUDA graphs may write over what the step before returned."""
    if compiled == "cuda-graphs":
        torch.compiler.cudagraph_mark_step_begin()
