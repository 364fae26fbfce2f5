"""Named random streams: adding one stream never changes what another one draws."""

from __future__ import annotations

import hashlib

import numpy as np


def stream_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream `names` of the experiment seed `seed`.

    The words are hashed, so `("flip", "flip20")` and `("flip", "flip30")` are unrelated, on every machine alike.
    """
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator (PCG64) for the stream `names` of `seed`, e.g. `rng(0, "flip", "flip20")`."""
    return np.random.Generator(np.random.PCG64(stream_seed(seed, *names)))
