"""What an installation has, and whether it works: versions, devices, threads, and a small job from end to end."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from .bench import plan_bench, run_bench
from .cifar import make_cifar

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "pyarrow", "onnxruntime", "facenet-pytorch")
SELF_CHECK = {"train_images": 64, "test_images": 32, "agreement_images": 32, "epochs": 1}


@dataclass(frozen=True)
class SelfCheck:
    """How the small job went.

    Attributes:
        seconds: how long it took.
        problem: the first thing that went wrong, as a sentence; empty where nothing did.
    """

    seconds: float
    problem: str


def versions() -> dict[str, str]:
    """The versions of Python, noisyfer and the packages that decide results; `not installed` where one is missing."""
    found = {"python": platform.python_version(), "noisyfer": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def devices() -> list[dict[str, Any]]:
    """The CPU and the CUDA devices that torch can use, with their memory in MiB where it is known."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0))
    found = [{"device": "cpu", "name": f"{cores} cores, {torch.get_num_threads()} threads", "mib": pages // 2**20}]
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        found.append({"device": f"cuda:{number}", "name": properties.name, "mib": properties.total_memory // 2**20})
    return found


def self_check(device: str) -> SelfCheck:
    """Make noisy digits in a temporary folder, train `proposed` on them for a moment and score it.

    Args:
        device: `cpu`, `cuda` or `auto`.
    """
    began = time.perf_counter()
    problem = ""
    try:
        with tempfile.TemporaryDirectory(prefix="noisyfer-") as folder:
            manifest = make_cifar((0.2, 0.4), data="digits", out=Path(folder) / "digits.parquet")
            plans = plan_bench(
                manifest, ["proposed"], preset="smoke", changes=SELF_CHECK, out=Path(folder) / "runs", device=device
            )
            run_bench(plans)
    except Exception as error:  # whatever is broken in an installation is what this is asked to tell
        problem = f"{type(error).__name__}: {error}"
    return SelfCheck(time.perf_counter() - began, problem)
