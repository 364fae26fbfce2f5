"""The commands that are killed, each on inputs that are the same every time: one line adds a command."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from steps import quickly

DIGITS = "data_manifests/digits.parquet"
LABELLED = "data_manifests/affectnet_by_raf.parquet"
QUICK = ("--preset", "smoke", "--set", "train_images=64", "--set", "test_images=32")

_SHARDS = ("--shard-rows", "10", "--batch", "5", "--save-faces")
RELABEL = ("relabel", "--source", "affectnet", "--model", "raf.ckpt", *_SHARDS)


@dataclass(frozen=True)
class Scene:
    """A command to be killed.

    Attributes:
        name: of the test.
        words: after `noisyfer`.
        needs: of the inputs.
        steps: whether it writes in its own process, so that it can be killed at a given step.
        long: whether it is left to the long form.
    """

    name: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    steps: bool = True
    long: bool = False


SCENES = (
    Scene("make-cifar", ("make-cifar", "--data", "digits", "--out", "made/digits.parquet")),
    Scene("relabel", RELABEL, ("datasets", "raf.ckpt")),
    Scene("relabel-ray", (*RELABEL, "--engine", "ray"), ("datasets", "raf.ckpt"), steps=False, long=True),
    Scene(
        "bench", ("bench", "--manifest", DIGITS, *QUICK, "--method", "vgg-all", "--epochs", "4"), ("data_manifests",)
    ),
    Scene(
        "sweep",
        ("sweep", "--manifest", DIGITS, *QUICK, "--method", "vgg-all", "--set", "gamma=1,0.9", "--epochs", "3"),
        ("data_manifests",),
        steps=False,
    ),
    Scene("report", ("report", "runs", "--out", "report.html"), ("data_manifests", "runs")),
    Scene("import", ("import", DIGITS, "labels.csv", "--as", "anna", "--overwrite"), ("data_manifests", "labels.csv")),
    Scene(
        "review",
        ("review", DIGITS, "--apply", "decisions.csv", "--out", "made/reviewed.parquet"),
        ("data_manifests", "decisions.csv"),
    ),
    Scene(
        "pretrain",
        ("pretrain", "--source", "raf", "--out", "again.ckpt", "--preset", "smoke"),
        ("datasets",),
        long=True,
    ),
    Scene(
        "bench-proposed",
        ("bench", "--manifest", DIGITS, *QUICK, "--method", "proposed", "--epochs", "2"),
        ("data_manifests",),
        long=True,
    ),
    Scene("make-faces", ("make-faces", "--out", "drawn", "--n", "20"), long=True),
)


def make_inputs(where: Path) -> None:
    """Everything that a scene needs, below a folder."""
    where.mkdir(parents=True)
    for line in (
        "make-cifar --data digits",
        "make-faces --out datasets --n 40",
        "pretrain --source raf --out raf.ckpt --preset smoke",
        f"bench --manifest {DIGITS} --preset smoke --method vgg-all",
    ):
        ended = quickly(where, *line.split())
        assert ended.code == 0, ended.told
    rows = [f"train_{row:05d},{row % 10}" for row in range(0, 1000, 2)]
    (where / "labels.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    lines = ["id,set,before,decision,class,time"]
    lines += [f"train_{row:05d},class_flip20,{row % 10},change,3,2026-03-01T12:00:00+00:00" for row in range(40)]
    (where / "decisions.csv").write_text("\n".join(lines) + "\n")


def stage(inputs: Path, where: Path, needs: tuple[str, ...]) -> Path:
    """A fresh folder with these inputs, as hard links: the commands replace files, and change none in place."""
    where.mkdir(parents=True)
    for name in needs:
        source = inputs / name
        if source.is_dir():
            shutil.copytree(source, where / name, copy_function=os.link)
        else:
            os.link(source, where / name)
    return where
