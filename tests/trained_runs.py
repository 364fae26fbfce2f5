"""A run that takes a moment, for what is done with runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from noisyfer.api import Run, bench

TINY = {"epochs": 1, "train_images": 64, "test_images": 40, "agreement_images": 40}


def tiny_run(manifest: Path, out: Path, method: str = "vgg-all", **more: Any) -> Run:
    """Train one method for one short epoch."""
    options = {**TINY, **more.pop("options", {})}
    (run,) = bench(method, manifest=manifest, preset="smoke", out=out, options=options, progress=False, **more)
    return run
