"""Small finished runs to make reports of, everything in them named as someone would who wants a page to misbehave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from noisyfer.benchmark.run import execute, plan_run
from noisyfer.manifest import Manifest, Task, write_manifest
from PIL import Image

HOSTILE = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
ENDING = "</script><script>alert(3)</script>"
CLASSES = (HOSTILE, IMAGE, ENDING, "' onmouseover='alert(4)", "</title></style>", *(f"class {n}" for n in range(5, 10)))
MANIFEST = '"><img src=x onerror=alert(5)>.parquet'
FOLDER = "<script>alert(6)<script>"
SMALL = {"epochs": 2, "train_images": 40, "test_images": 40, "agreement_images": 20}


def make_hostile_runs(digits: Path, folder: Path) -> Path:
    """The folder of three runs on digits with hostile class names, and beside it their manifest."""
    manifest = hostile_manifest(digits, folder / MANIFEST)
    runs = folder / FOLDER
    for method, seed in (("proposed", 0), ("proposed", 1), ("vgg-all", 0)):
        execute(plan_run(manifest, method, preset="smoke", seed=seed, changes=SMALL, out=runs))
    return runs


def hostile_manifest(digits: Path, path: Path) -> Manifest:
    """The digits under hostile class names."""
    plain = Manifest.open(digits)
    header = replace(plain.header, tasks={"class": Task("class", "categorical", CLASSES)})
    return write_manifest(path, header, [pa.Table.from_batches([batch]) for batch in plain.batches()])


def folder(runs: Path, method: str, seed: int = 0) -> Path:
    return next(runs.glob(f"*-{method}-seed{seed}-*"))


def result_of(runs: Path, method: str, seed: int = 0) -> dict[str, Any]:
    return dict(json.loads((folder(runs, method, seed) / "result.json").read_text()))


def change(file: Path, how: Callable[[Any], Any]) -> None:
    stored = json.loads(file.read_text())
    how(stored)
    file.write_text(json.dumps(stored))


def many(runs: Path, number: int, epochs: int) -> None:
    """Copies of a run under other learning rates, with long curves."""
    original = folder(runs, "proposed")
    line = (original / "metrics.jsonl").read_text().splitlines()[-1]
    rows = [json.dumps({**json.loads(line), "epoch": epoch}) for epoch in range(1, epochs + 1)]
    noise = np.random.default_rng(0).integers(0, 256, (700, 800, 3), np.uint8)
    for place in range(number):
        copy = Path(shutil.copytree(original, runs / f"copy-{place}"))
        change(copy / "config.json", lambda stored, place=place: stored["run"]["options"].update(gamma=place))
        (copy / "metrics.jsonl").write_text("\n".join(rows) + "\n")
        if place < 2:
            Image.fromarray(noise).save(copy / "synthesis.png", compress_level=1)
