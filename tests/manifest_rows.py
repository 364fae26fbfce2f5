"""A small manifest of three label sets, whole or spoilt, and what tests ask of one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from noisyfer.core.errors import UserError
from noisyfer.core.schema import METADATA_KEY
from noisyfer.manifest import STATUS_OK, Dataset, Header, LabelSet, Manifest, Task, manifest_writer

CLASS = Task("class", "categorical", ("cat", "dog", "frog"))
FEELING = Task("va", "continuous")
CLEAN = LabelSet.categorical("class", "clean", "human", {"source": "the dataset"})
NET = LabelSet.categorical("class", "net", "model", {"sha256": "00ff", "rates": [0.25, None]}, probs=True)
AFFECT = LabelSet.valence_arousal("net", "model", {})
HEADER = Header(
    Dataset("animals", root="../animals", fingerprint="abc"),
    {"class": CLASS, "va": FEELING},
    {found.name: found for found in (CLEAN, NET, AFFECT)},
)
FLIP = LabelSet.categorical("class", "flip20", "synthetic", {"rate": 0.2})


def rows(count: int, first: int = 0) -> pa.Table:
    """Rows of `HEADER`, different ones for different numbers."""
    numbers = range(first, first + count)
    return pa.table(
        {
            "id": [f"train_{number:05d}" for number in numbers],
            "split": [("train", "test", "train", "val")[number % 4] for number in numbers],
            "image": [f"train/{number}.png" for number in numbers],
            "status": ["no_face" if number % 7 == 3 else STATUS_OK for number in numbers],
            "detail": pa.array(["two faces" if number % 7 == 3 else None for number in numbers], pa.string()),
            "class_clean": pa.array([number % 3 for number in numbers], pa.int16()),
            "class_net": pa.array([None if number % 5 == 0 else number % 2 for number in numbers], pa.int16()),
            "class_net_probs": pa.array(
                [None if number % 5 == 0 else [0.5, 0.25, 0.25] for number in numbers], pa.list_(pa.float32())
            ),
            "valence_net": pa.array([None if number % 4 == 0 else number % 9 / 8 for number in numbers], pa.float32()),
            "arousal_net": pa.array(
                [None if number % 6 == 0 else -(number % 5) / 4 for number in numbers], pa.float32()
            ),
        }
    )


def sharded(folder: Path, count: int = 20, shard_rows: int = 7) -> Manifest:
    with manifest_writer(folder, HEADER, folder=True, shard_rows=shard_rows) as write:
        write(rows(count))
    return Manifest.open(folder)


def sentence(path: Path, action: Callable[[], object]) -> str:
    """The message of the error that `action` raises: one line with a full stop that names the file."""
    with pytest.raises(UserError) as error:
        action()
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert str(path) in text
    return text


def everything(path: Path) -> None:
    """Open a manifest and read all of it."""
    opened = Manifest.open(path)
    opened.read()
    opened.validate()


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones included."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


CHILD = """
import os, signal, sys, time
from pathlib import Path
from noisyfer.core import files
from noisyfer.manifest import Manifest, manifest_writer
source, target, kind, moment = sys.argv[1:]
source, folder, counts = Manifest.open(source), kind == "folder", {"renames": 0}

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def dying(original, number):
    def rename(self, other):
        counts["renames"] += 1
        return die() if counts["renames"] == number else original(self, other)
    return rename

if moment == "flush":
    os.fsync = die
if moment in ("first rename", "second rename"):
    files._exchanged = lambda *_: False  # as where the system cannot exchange two names
    number = 1 if moment == "first rename" else 2
    Path.replace = dying(Path.replace, number)
    Path.rename = dying(Path.rename, number)
with manifest_writer(Path(target), source.header, folder=folder, shard_rows=7) as write:
    for batch in source.batches(batch_rows=5):
        write(batch)
        if moment == "rows":
            print("writing", flush=True)
            time.sleep(60)
"""


def child(source: Path, target: Path, kind: str, moment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CHILD, str(source), str(target), kind, moment]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": "7"})


def with_metadata(table: pa.Table, metadata: dict[bytes, bytes] | None, path: Path) -> Path:
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def with_column(name: str, values: pa.Array) -> Callable[[Path], object]:
    def build(path: Path) -> None:
        table = rows(len(values))
        table = table.set_column(table.column_names.index(name), name, values)
        with_metadata(table, {METADATA_KEY: HEADER.to_json().encode()}, path)

    return build
