"""Peak memory of commands on a manifest of 10⁷ rows.

    python perf/large_manifest.py --rows 10000000

The manifest is a folder of shards with a true label set and three noisy ones. Each command runs in a process of its
own; filtering reads the rows of one split, a batch at a time, and counts those that an annotator has wrong.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from measure import Table, finish, in_own_process, json_option, peak_mb
from noisyfer.manifest import Dataset, Header, LabelSet, Manifest, Task, write_manifest
from random_rows import CLASSES, chunks

RATES = {"flip10": 0.1, "flip20": 0.2, "flip30": 0.3}


def header() -> Header:
    """A true label set and three noisy ones."""
    sets = [LabelSet.categorical("expression", "human", "human", {})]
    sets += [LabelSet.categorical("expression", name, "synthetic", {"rate": rate}) for name, rate in RATES.items()]
    task = Task("expression", "categorical", CLASSES)
    return Header(Dataset("faces"), {"expression": task}, {label_set.name: label_set for label_set in sets})


def tables(rows: int) -> Iterator[pa.Table]:
    """So many random rows, a chunk at a time; every tenth is a test row."""
    for draw, numbers, columns in chunks(rows):
        count = len(numbers)
        true = draw.integers(0, len(CLASSES), count, dtype=np.int16)
        columns["split"] = pc.if_else(pa.array(numbers % 10 == 0), "test", "train")
        columns["expression_human"] = pa.array(true)
        for name, rate in RATES.items():
            wrong = draw.random(count) < rate
            other = (true + draw.integers(1, len(CLASSES), count)) % len(CLASSES)
            columns[f"expression_{name}"] = pa.array(np.where(wrong, other, true).astype(np.int16))
        yield pa.table(columns)


def filtered(folder: Path) -> int:
    """Rows of one split that an annotator has wrong."""
    columns = ["id", "expression_human", "expression_flip20"]
    view = Manifest.open(folder).select(splits=["train"])
    wrong = (
        batch.filter(pc.not_equal(batch["expression_human"], batch["expression_flip20"]))
        for batch in view.batches(columns)
    )
    return sum(batch.num_rows for batch in wrong)


def alone(way: str, folder: Path, work: Path) -> dict[str, float]:
    """Seconds and peak memory in MB of this process doing one thing."""
    from click.testing import CliRunner
    from noisyfer.cli import main as noisyfer

    lines = {
        "show": ["show", str(folder)],
        "check": ["show", str(folder), "--check"],
        "inspect": ["inspect", str(folder), "--out", str(work / "page.html")],
        "majority": ["aggregate", str(folder), "--method", "majority", "--out", str(work / "majority")],
        "dawid-skene": ["aggregate", str(folder), "--method", "dawid-skene", "--out", str(work / "dawid")],
    }
    began = time.perf_counter()
    if way == "filter":
        filtered(folder)
    else:
        done = CliRunner().invoke(noisyfer, lines[way])
        if done.exit_code:
            raise click.ClickException(done.output)
    return {"seconds": time.perf_counter() - began, "peak": peak_mb()}


TEXTS = {
    "show": "`show`",
    "check": "`show --check`",
    "filter": "rows of a split with a wrong label, in batches",
    "inspect": "`inspect`",
    "majority": "`aggregate --method majority`",
    "dawid-skene": "`aggregate --method dawid-skene`",
}


@click.command()
@click.option("--rows", default=10_000_000, show_default=True)
@click.option("--only", default=",".join(TEXTS), show_default=True, help="Which, commas between them.")
@click.option("--alone", "inner", nargs=3, hidden=True, help="WAY FOLDER WORK: run one in this process.")
@json_option
def main(rows: int, only: str, inner: tuple[str, str, str] | None, json_file: Path | None) -> None:
    """Print seconds and peak memory of each command."""
    if inner:
        print(json.dumps(alone(inner[0], Path(inner[1]), Path(inner[2]))))
        return
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "manifest"
        write_manifest(folder, header(), tables(rows), folder=True)
        for way in only.split(","):
            found = in_own_process(__file__, "--alone", way, str(folder), name)
            lines.append([TEXTS[way], f"{found['seconds']:.1f}", f"{found['peak']:,.0f} MB"])
            click.echo(f"{way}: {lines[-1][1]} s, {lines[-1][2]}", err=True)
    title = f"A manifest of {rows:,} rows, a true label set and three noisy ones; each in a process of its own."
    finish(json_file, Table(title, ["what", "seconds", "peak of the process"], lines))


if __name__ == "__main__":
    main()
