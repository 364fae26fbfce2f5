"""`noisyfer import`."""

from __future__ import annotations

from pathlib import Path

import click

from ..core.terminal import say
from .common import sentences


@click.command("import")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE...")
@click.option("--as", "annotator", default="", metavar="NAME", help="Who labelled; in front where files name people.")
@click.option("--format", default="", metavar="NAME", help="The files' format.  [default: by a look at each file]")
@click.option("--task", default="", metavar="TASK", help="Only labels of this task: expression, va, class.")
@click.option("--out", type=click.Path(path_type=Path), help="The new manifest.  [default: <manifest>_with_<NAME>]")
@click.option("--by", default="auto", show_default=True, help="How rows are joined: auto, id, file, or position.")
@click.option("--split", default="", metavar="SPLIT", help="Only samples of this split.")
@click.option(
    "--columns", multiple=True, metavar="ROLE=COLUMN,…", help="Columns of a csv: image=FILE,expression=LABEL."
)
@click.option(
    "--ids", default="", metavar="ORDER", help="What numbers mean: manifest, raf, zero, affectnet, fer2013, ferplus."
)
@click.option(
    "--kind",
    default="",
    metavar="KIND",
    help="Of the label sets: imported, human, or model.  [default: human of --as human or clean, else imported]",
)
@click.option(
    "--duplicates", default="refuse", show_default=True, help="Of contradicting labels: refuse, first, or last."
)
@click.option("--max-unmatched", default=0.5, show_default=True, help="Share of a file's rows that may not be used.")
@click.option("--overwrite", is_flag=True, help="Replace the output where it is there already.")
@sentences
def command(
    manifest: Path,
    files: tuple[Path, ...],
    annotator: str,
    format: str,
    task: str,
    out: Path | None,
    by: str,
    split: str,
    columns: tuple[str, ...],
    ids: str,
    kind: str,
    duplicates: str,
    max_unmatched: float,
    overwrite: bool,
) -> None:
    """Add other people's labels to a manifest, as new label sets.

    Rows are joined to samples by id or file name, by position only where asked and for CIFAR-N, which is verified.
    What finds no sample is counted and named. The manifest is written anew; the old one stays.

    \b
    Examples:
      noisyfer import data_manifests/raf.parquet list_label_AffectnetModel.txt --as affectnet
      noisyfer import data_manifests/cifar10.parquet CIFAR-10_human.npy
      noisyfer import faces.parquet crowd.csv --format long --kind human
      noisyfer import faces.parquet labels.csv --as anna --columns image=FILE,expression=EMOTION
    """
    from ..relabel.importing import ImportOptions, import_labels
    from ..relabel.importing.options import parse_columns
    from ..relabel.importing.present import sentences as told

    options = ImportOptions(
        annotator=annotator,
        format=format,
        task=task,
        by=by,
        split=split,
        kind=kind,
        columns=parse_columns(columns),
        ids=ids,
        duplicates=duplicates,
        max_unmatched=max_unmatched,
        overwrite=overwrite,
    )
    for line in told(import_labels(manifest, files, out, options)):
        say(line)
