"""`noisyfer export-labels`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.names import comma_list
from ..core.terminal import say
from .common import sentences


@click.command("export-labels")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The csv; for imagefolder the dataset's folder."
)
@click.option("--labels", metavar="SET,…", help="The label sets.  [default: all]")
@click.option("--split", metavar="SPLIT,…", help="Only samples of these splits.")
@click.option("--format", default="csv", show_default=True, help="csv, or imagefolder for the hub's metadata.csv.")
@click.option("--overwrite", is_flag=True, help="Replace the file where it is there already.")
@sentences
def command(manifest: Path, out: Path, labels: str | None, split: str | None, format: str, overwrite: bool) -> None:
    """Write label sets as a csv, with class names.

    \b
    Examples:
      noisyfer export-labels data_manifests/raf.parquet --out labels.csv
      noisyfer export-labels faces.parquet --labels expression_human --format imagefolder --out photos
    """
    from ..relabel.exporting import export_labels, export_path

    rows = export_labels(
        manifest,
        out,
        labels=comma_list(labels) or None,
        splits=comma_list(split) or None,
        format=format,
        overwrite=overwrite,
    )
    say(f"Written: {rows:,} rows to {export_path(out, format)}")
