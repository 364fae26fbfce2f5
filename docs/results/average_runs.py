"""Accuracy of single runs and of the mean of their probabilities: `python docs/results/average_runs.py RUN RUN …`.

RUN is the folder of a finished run; all were scored on the same test images.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--task", default="class", show_default=True, help="Of the predictions.")
def main(runs: tuple[Path, ...], task: str) -> None:
    """Print what each run has right, and what their mean has."""
    tables = [pq.read_table(run / "predictions.parquet") for run in runs]
    if any(table["id"] != tables[0]["id"] for table in tables):
        raise click.ClickException("The runs were scored on different images.")
    truth = tables[0][f"{task}_true"].to_numpy()
    said = [np.stack(table[f"{task}_probs"].to_numpy()) for table in tables]
    for name, probabilities in [*zip((run.name for run in runs), said, strict=True), ("mean", np.mean(said, axis=0))]:
        click.echo(f"{name}: {100 * (probabilities.argmax(axis=1) == truth).mean():.2f} %")


if __name__ == "__main__":
    main()
