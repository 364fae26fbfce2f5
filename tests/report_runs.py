"""Small finished runs to make reports of, everything in them named as someone would who wants a page to misbehave."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from noisyfer.benchmark.run import execute, plan_run
from noisyfer.manifest import Manifest, Task, write_manifest

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
