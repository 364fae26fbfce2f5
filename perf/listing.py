"""What listing a source and keeping its rows costs, a row: processor time and bytes, for plans on paper.

    python perf/listing.py --rows 200000

A manifest with seven classes, valence and arousal, and their teacher's probabilities is written and listed, shard by
shard, each shard pickled as Ray would carry it; then one shard is written as the job would write it. Times are of the
processor, so that other programs disturb them little.
"""

from __future__ import annotations

import pickle
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from measure import Table, finish, json_option
from noisyfer.core.schema import Dataset, Header, LabelSet, Task, arrow_schema
from noisyfer.manifest import write_manifest
from noisyfer.relabel.listing import Listing
from noisyfer.relabel.manifest_source import ManifestSource

CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")


def rows(header: Header, count: int) -> pa.Table:
    """Random labels for so many images."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(len(CLASSES)), count).astype(np.float32)
    columns = {
        "id": [f"{number:010d}" for number in range(count)],
        "split": ["train"] * count,
        "image": [f"{number // 1000:07d}/{number:010d}.jpg" for number in range(count)],
        "status": ["ok"] * count,
        "detail": [None] * count,
        "expression_teacher": probabilities.argmax(1),
        "expression_teacher_probs": list(probabilities),
        "valence_teacher": rng.uniform(-1, 1, count).astype(np.float32),
        "arousal_teacher": rng.uniform(-1, 1, count).astype(np.float32),
    }
    plain = [
        (field, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
        for field in arrow_schema(header)
    ]
    return pa.table({field.name: pa.array(columns[field.name], kind) for field, kind in plain})


@click.command()
@click.option("--rows", "count", default=200_000, show_default=True)
@click.option("--shard-rows", default=512, show_default=True)
@json_option
def main(count: int, shard_rows: int, json_file: Path | None) -> None:
    """Print the cost of a row, and of so many."""
    tasks = {"expression": Task("expression", "categorical", CLASSES), "va": Task("va", "continuous")}
    sets = [
        LabelSet.categorical("expression", "teacher", "model", {}, probs=True),
        LabelSet.valence_arousal("teacher", "model", {}),
    ]
    header = Header(Dataset("drawn"), tasks, {made.name: made for made in sets})
    with tempfile.TemporaryDirectory() as name:
        manifest = write_manifest(Path(name) / "m.parquet", header, [rows(header, count)])
        source = ManifestSource(manifest.path, Path(name))
        began, carried, shards = time.process_time(), 0, 0
        for _, samples in Listing(source, None, 0, shard_rows).shards():
            carried += len(pickle.dumps(samples))
            shards += 1
        seconds = time.process_time() - began
        stored = manifest.path.stat().st_size
    found = [
        ["listing a row and pickling it, processor µs", f"{1e6 * seconds / count:.1f}"],
        ["a row on the way to a worker, bytes", f"{carried / count:.0f}"],
        ["a row in the manifest, bytes", f"{stored / count:.0f}"],
        ["listing 10⁷ rows, processor minutes", f"{1e7 * seconds / count / 60:.1f}"],
        ["listing 10⁹ rows, processor hours", f"{1e9 * seconds / count / 3600:.1f}"],
    ]
    finish(json_file, Table(f"{count:,} rows in {shards:,} shards of {shard_rows}.", ["what", "cost"], found))


if __name__ == "__main__":
    main()
