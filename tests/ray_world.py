"""What workers on a cluster import: teachers that are sent to them, and the path on which they find this file."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from noisyfer.core.cluster import cluster
from relabel_world import ByColour
from torch import Tensor

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Deadly(ByColour):
    """Kills its process at a batch, as often as there are files to take away."""

    lives: str = ""

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        for life in Path(self.lives).glob("life-*"):
            life.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(images)


@dataclass(frozen=True)
class Greedy(ByColour):
    """Finds the memory of its device too small."""

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        raise torch.OutOfMemoryError("tried to allocate 20 GiB")


def given(teachers: Sequence[ByColour], device: str) -> Sequence[ByColour]:
    """The teachers themselves, whatever the device."""
    return teachers


def loads(*teachers: ByColour) -> Callable[[str], Sequence[ByColour]]:
    """How workers come by these teachers."""
    return partial(given, teachers)


@contextmanager
def local_cluster() -> Iterator[None]:
    """Processes of this machine that can import the tests' files."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [before])])
    try:
        with cluster("local"):
            yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
