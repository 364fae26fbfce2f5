"""Writing and reading a manifest of 10⁷ rows, against pandas on the same table; and whether memory stays flat.

    python perf/manifest.py --rows 10000000 --repeats 3

The timed ways run in turn on the same rows, which are in memory before they are written. Peak memory is that of a
process of its own for each way, at a tenth of the rows and at all of them: there rows are made as they are written.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from measure import Table, compare, finish, in_own_process, json_option, peak_mb, rates, spread
from noisyfer.manifest import Dataset, Header, LabelSet, Manifest, Task, write_manifest
from random_rows import CLASSES, chunks

LABEL_SET = "expression_human"


def header() -> Header:
    """Two categorical label sets and one of valence and arousal."""
    label_sets = (
        LabelSet.categorical("expression", "human", "human", {}),
        LabelSet.categorical("expression", "raf", "model", {}),
        LabelSet.valence_arousal("raf", "model", {}),
    )
    tasks = {"expression": Task("expression", "categorical", CLASSES), "va": Task("va", "continuous")}
    return Header(Dataset("faces"), tasks, {label_set.name: label_set for label_set in label_sets})


def tables(rows: int) -> Iterator[pa.Table]:
    """So many random rows, a chunk at a time; every twentieth has no human label."""
    for draw, numbers, columns in chunks(rows):
        count = len(numbers)
        human = draw.integers(0, len(CLASSES), count, dtype=np.int16)
        columns |= {
            "split": pa.repeat("train", count),
            LABEL_SET: pa.array(human, mask=numbers % 20 == 0),
            "expression_raf": pa.array(draw.integers(0, len(CLASSES), count, dtype=np.int16)),
            "valence_raf": pa.array(draw.uniform(-1, 1, count).astype(np.float32)),
            "arousal_raf": pa.array(draw.uniform(-1, 1, count).astype(np.float32)),
        }
        yield pa.table(columns)


def read_batches(folder: Path) -> int:
    """Read all columns batch by batch, keeping none; returns the rows seen."""
    return sum(batch.num_rows for batch in Manifest.open(folder).batches())


def alone(way: str, rows: int, work: Path) -> dict[str, float]:
    """The peak memory of this process in MB before a way and after it."""
    import pandas as pd

    file, folder = work / f"{rows}.parquet", work / str(rows)
    ways: dict[str, Callable[[], object]] = {
        "write": lambda: write_manifest(folder, header(), tables(rows), folder=True),
        "read": lambda: read_batches(folder),
        "labels": lambda: Manifest.open(folder).labels(LABEL_SET),
        "write with pandas": lambda: pa.concat_tables(tables(rows)).to_pandas().to_parquet(file),
        "read with pandas": lambda: pd.read_parquet(folder),
        "labels with pandas": lambda: pd.read_parquet(folder, columns=[LABEL_SET]),
    }
    before = peak_mb()
    ways[way]()
    return {"before": before, "peak": peak_mb()}


def memory(rows: int, work: Path) -> Table:
    """How the peak grows from a tenth of the rows to all of them."""
    texts = {
        "write": "noisyfer: write shards as rows are made",
        "read": "noisyfer: read batches of all columns",
        "labels": "noisyfer: the labels of one set (9 bytes a row)",
        "write with pandas": "pandas: build the frame, `to_parquet`",
        "read with pandas": "pandas: `read_parquet`",
        "labels with pandas": "pandas: `read_parquet` of one column",
    }
    lines = []
    for way, text in texts.items():
        found = [in_own_process(__file__, "--alone", way, str(count), str(work)) for count in (rows // 10, rows)]
        few, many = (f"{entry['peak']:,.0f} MB" for entry in found)
        grown = found[1]["peak"] / found[0]["peak"]
        lines.append([text, f"{found[0]['before']:,.0f} MB", few, many, f"{grown:.2f}"])
    columns = ["way", "before", f"{rows // 10:,} rows", f"{rows:,} rows", "ratio"]
    return Table("Peak memory of a process of its own; before: when its libraries are loaded.", columns, lines)


def speed(rows: int, repeats: int, work: Path) -> Table:
    """Seconds of each way, in turn."""
    import pandas as pd

    folder, file = work / "manifest", work / "frame.parquet"
    made = list(tables(rows))
    frame = pa.concat_tables(made).to_pandas()
    ways: Mapping[str, Callable[[], object]] = {
        "noisyfer: write shards": lambda: write_manifest(folder, header(), made, folder=True),
        "pandas: `to_parquet`, zstd": lambda: frame.to_parquet(file, compression="zstd"),
        "noisyfer: read batches of all columns": lambda: read_batches(folder),
        "pandas: `read_parquet`": lambda: pd.read_parquet(file),
        "noisyfer: the labels of one set": lambda: Manifest.open(folder).labels(LABEL_SET),
        "pandas: `read_parquet` of one column": lambda: pd.read_parquet(file, columns=[LABEL_SET]),
    }
    seconds = compare(ways, repeats, warmups=0)
    lines = [[way, spread(found).text(2), f"{rates(rows / 1e6, found).median:.2f}"] for way, found in seconds.items()]
    title = f"{rows:,} rows, two categorical label sets and one of valence and arousal; {repeats} repeats."
    return Table(title, ["way", "seconds (quartiles)", "million rows/s"], lines)


@click.command()
@click.option("--rows", default=10_000_000, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--alone", "inner", nargs=3, hidden=True, help="WAY ROWS WORK: run one way in this process.")
@json_option
def main(rows: int, repeats: int, inner: tuple[str, str, str] | None, json_file: Path | None) -> None:
    """Print seconds and peak memory of each way."""
    if inner:
        print(json.dumps(alone(inner[0], int(inner[1]), Path(inner[2]))))
        return
    with tempfile.TemporaryDirectory() as name:
        found = [memory(rows, Path(name))]
        if repeats:
            found.insert(0, speed(rows, repeats, Path(name)))
    finish(json_file, *found)


if __name__ == "__main__":
    main()
